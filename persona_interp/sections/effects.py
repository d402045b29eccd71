"""The section of a study, drawn from its rows of the tables of effects and claims."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas import DataFrame

from persona_interp.effects import saved_claims, saved_effects
from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import paper_style
from persona_interp.sections.section import (
    Column,
    Section,
    SectionTable,
    count,
    estimate,
    read_provenance,
    spread,
    table,
    text,
    value,
)
from persona_interp.tables import rows_of

MOST_ROWS = 200
"""Rows of a table on the page; the file has the others."""

_NAMED = (
    *("trait", "method", "data", "condition", "layers", "place", "stream", "pooling", "strength", "strength_unit"),
    *("metric", "unit", "reference", "judge", "judge_validity", "human_raters", "model", "test", "cluster"),
)
_NUMBERS = {"strength": 3, "judge_validity": 2}
_ALWAYS = ("trait",)
_KINDS = ("strength_unit", "stream", "pooling", "reference", "judge_validity", "human_raters", "test", "cluster")
"""Columns that say of what kind the rows are which have them; others speak of every row."""


@dataclass(frozen=True)
class Shown:
    """A table of the page: the effects with these metrics, in these families where any are named.

    Args:
        rows: which of them, from all with these metrics; default: all.
        best: whether only the row with the estimate of largest size of each group that differ in `layers` is shown.
        digits: after the decimal point, of estimates and intervals.
    """

    title: str
    metrics: tuple[str, ...]
    note: str = ""
    families: tuple[str, ...] = ()
    rows: Callable[[DataFrame], DataFrame] | None = None
    best: bool = False
    digits: int = 2
    sign: bool = False


def effects_section(
    folder: Path,
    study: str,
    *,
    title: Callable[[DataFrame], str],
    notes: Sequence[str],
    shown: Sequence[Shown],
    draw: Callable[[DataFrame], Sequence[DrawnFigure]],
) -> Section | None:
    """What a study found in a folder: its claims in sentences, figures, and tables; None where it has no effects there.

    Args:
        study: its name in the tables.
        title: from the effects.
        notes: what the numbers are and are not.
        shown: the tables; one without a row is left out.
        draw: the figures, from the effects; it is called in the style of papers.

    Raises:
        ArtefactError: a file is damaged.
    """
    effects = saved_effects(folder, study)
    if effects is None or effects.empty:
        return None
    claims = saved_claims(folder, study)
    with paper_style():
        figures = tuple(draw(effects))
    tables = [made for one in shown if (made := effects_section_table(effects, one)) is not None]
    return Section(
        key=study,
        title=title(effects),
        sentences=() if claims is None else tuple(f"{row['sentence']}" for row in rows_of(claims)),
        notes=tuple(notes),
        figures=figures,
        tables=tuple(tables),
        provenance=read_provenance(folder, study),
    )


def plain_section(folder: Path, study: str) -> Section | None:
    """A study that has no section of its own: its claims, and a table of each metric.

    Raises:
        ArtefactError: a file is damaged.
    """
    effects = saved_effects(folder, study)
    metrics = [] if effects is None else distinct(effects, "metric")
    return effects_section(
        folder,
        study,
        title=lambda _: study.replace("_", " ").capitalize(),
        notes=(),
        shown=[Shown(f"{metric[:1].upper()}{metric[1:]}", (metric,)) for metric in metrics],
        draw=lambda _: (),
    )


def effects_section_table(effects: DataFrame, one: Shown) -> SectionTable | None:
    """The rows of a table on the page: what differs between them is in columns, what they share is in its note."""
    rows = keep(effects, "metric", *one.metrics)
    rows = keep(rows, "family", *one.families) if one.families else rows
    rows = rows if one.rows is None else one.rows(rows)
    if rows.empty:
        return None
    if one.best:
        apart = ["trait", "method", "data", "condition", "role", "reference", "judge", "strength", "pooling"]
        size = rows.assign(size=rows["estimate"].abs()).groupby(apart, dropna=False, sort=False)["size"]
        rows = rows.loc[size.idxmax().dropna()]
    rows = rows.reset_index(drop=True)
    named = [name for name in _NAMED if name in rows and (name != "test" or rows["p"].notna().any())]
    differing = [name for name in named if name in _ALWAYS or rows[name].nunique(dropna=name in _KINDS) > 1]
    shared = {name: distinct(rows, name) for name in named if name not in differing}
    said = "; ".join(f"{name.replace('_', ' ')}: {_short(values[0])}" for name, values in shared.items() if values)
    left = "" if len(rows) <= MOST_ROWS else f" The first {MOST_ROWS} of {len(rows):,} rows; effects.parquet has all."
    note = " ".join(part for part in (one.note, f"{said}." if said else "") if part) + left
    columns = [_named(name) for name in differing if rows[name].notna().any()]
    columns += _found(rows, one)
    return table(one.title, note, rows.head(MOST_ROWS), columns)


def _named(name: str) -> Column:
    heading = name.replace("_", " ")
    return value(name, heading, digits=_NUMBERS[name]) if name in _NUMBERS else text(name, heading)


def _found(rows: DataFrame, one: Shown) -> list[Column]:
    """Estimate with its interval, null, test, power and counts, those that any row has."""
    has = {name for name in rows.columns if rows[name].notna().any()}
    shown = estimate if "low" in has else value
    columns = [shown("estimate", "estimate", digits=one.digits, sign=one.sign)]
    if "null_high" in has:
        columns.append(Column("null, middle 95 %", lambda row: _null(row, one.digits)))
    for name, heading, digits in (("p", "p", 3), ("q", "q", 3), ("detectable", "found in 80 %", one.digits)):
        columns += [value(name, heading, digits=digits)] if name in has else []
    columns += [text("coherent")] if "coherent" in has else []
    return columns + [count(name, heading) for name, heading in (("n", "n"), ("n_cluster", "clusters")) if name in has]


def _null(row: Mapping[str, Any], digits: int) -> str:
    if row["null_high"] != row["null_high"]:
        return "—"
    if row["null_low"] != row["null_low"]:
        return f"up to {row['null_high']:.{digits}f}"
    return spread(row["null_low"], row["null_low"], row["null_high"], digits=digits).partition(" ")[2]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
