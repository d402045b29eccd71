"""What human raters say of a judge, to stand beside every number that it gives; or that none validated it."""

from collections.abc import Sequence
from typing import Any

from pandas import DataFrame

from persona_interp.sections.words import equal, interval, whole
from persona_interp.studies.persona.rows import ALPHA_RATERS, RHO_RATERS
from persona_interp.tables import rows_of

COLUMN = "human_raters"
NONE, NOT_RATED = "none", "not enough ratings"
NO_RATER = "no human rater validated it"
NO_RATERS = (
    "No human rater has validated the judges of this run. `persona-interp judge --export-sheet` writes a sheet of its"
    " answers to rate."
)

Row = dict[str, Any]


def with_raters(effects: DataFrame, raters: DataFrame | None) -> DataFrame:
    """The effects with `human_raters`: the agreement of each row's judge with human raters, in a few words.

    Args:
        raters: effects of the study "raters"; None where no sheet was imported.
    """
    found = {key: f"rho {_size(row)}" for key, row in _by_judge(raters).items() if row["estimate"] is not None}
    missing = NONE if raters is None else NOT_RATED
    keys = zip(effects["trait"], effects["judge"], strict=True)
    said = [None if not isinstance(judge, str) else found.get((trait, judge), missing) for trait, judge in keys]
    return effects.assign(**{COLUMN: said})


def rater_clause(raters: DataFrame | None, trait: str, judge: str | None) -> str:
    """How the judge of a trait agrees with human raters, to stand in a sentence beside its name."""
    if raters is None:
        return NO_RATER
    row = _by_judge(raters).get((trait, judge))
    if row is None or row["estimate"] is None:
        return "human raters rated too few of its answers"
    return f"Spearman's rho {_size(row)} with {row['reference']}, {equal('n', whole(row['n']))}"


def raters_in_short(raters: DataFrame | None, traits: Sequence[str]) -> str:
    """One sentence for the head of the page on who validated the judges."""
    if raters is None:
        return NO_RATERS
    said = []
    for row in (row for row in rows_of(raters) if row["metric"] == ALPHA_RATERS and row["trait"] in traits):
        agreed = f"agree with alpha {_size(row)}" if row["estimate"] is not None else "cannot be compared"
        said.append(f"{row['trait']}: {row['reference']}" + ("" if row["reference"].startswith("1 ") else f" {agreed}"))
    return f"Judges were compared with human ratings of answers of this run ({'; '.join(said)}); section Human raters."


def _by_judge(raters: DataFrame | None) -> dict[tuple[str, str | None], Row]:
    rows = [] if raters is None else rows_of(raters)
    return {(row["trait"], row["judge"]): row for row in rows if row["metric"] == RHO_RATERS}


def _size(row: Row) -> str:
    return interval(row["estimate"], row["low"], row["high"])
