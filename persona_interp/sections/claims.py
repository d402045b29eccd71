"""The head of the report: every claim of the folder's studies, with its verdict and what could have been found.

What was found in words is in the section of each study.
"""

from pathlib import Path
from typing import Any

from persona_interp.effects import VERDICTS, saved_claims
from persona_interp.sections.section import Section, SectionTable
from persona_interp.sections.words import number, plain
from persona_interp.tables import rows_of

NOTES = (
    "A claim holds where its rule says so. It does not where the interval lies on the other side, which is by each"
    " interval alone, without a correction. It is undecided otherwise: not shown at this size, or not tested; the last"
    " column is the least effect that would be found in 80 % of repetitions, where that is known.",
)


def claims_section(folder: Path) -> Section | None:
    """All claims, those that hold first; None where the folder has none.

    Raises:
        ArtefactError: claims.parquet is damaged.
    """
    claims = saved_claims(folder)
    if claims is None:
        return None
    rows = rows_of(claims)
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    said = ", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count)
    ordered = sorted(rows, key=lambda row: VERDICTS.index(row["verdict"]))
    rules = tuple(dict.fromkeys(f"{row['study']}, rule: {row['rule']}." for row in rows))
    headings = ("study", "trait", "claim", "verdict", "found in 80 %")
    return Section(
        key="claims",
        title="What is claimed",
        sentences=(f"{len(rows)} claims, named beforehand; {said}.",),
        notes=(*NOTES, *rules),
        figures=(),
        tables=(
            SectionTable(
                title="Claims",
                note="",
                headings=tuple((heading, False) for heading in headings),
                rows=tuple(tuple(map(plain, _cells(row))) for row in ordered),
            ),
        ),
        provenance={},
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    least = "" if row["detectable"] is None else f"{number(row['detectable'])} {row['unit'] or ''}".strip()
    return row["study"], row["trait"] or "", row["claim"], row["verdict"], least
