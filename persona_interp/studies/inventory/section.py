"""The report's section on inventories: scores, what moves them, how reliable they are, and types."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import paper_style
from persona_interp.sections.section import (
    Section,
    SectionTable,
    count,
    estimate,
    read_provenance,
    save,
    saved_table,
    spread,
    table,
    text,
    value,
)
from persona_interp.sections.words import number
from persona_interp.studies.inventory import forms
from persona_interp.studies.inventory.figures import (
    draw_inventory_reliability,
    draw_inventory_scores,
    draw_inventory_types,
)

NOTES = (
    "Answers are log-probabilities of the options; nothing is sampled and there is no judge. An inventory made for"
    " people asks a model what it says of itself, which need not be what it does.",
    "Intervals are over items and wordings. Items keyed both ways and both orders of the options cancel yes-saying and"
    " a liking for a place in the list; how much there was to cancel is in the table of reliability.",
    "The type is not a validated one. A dichotomy is undecided (X) where neither pole has 95 % of the draws.",
)


def inventory_section(folder: Path) -> Section | None:
    """Administered inventories; None where the folder has no scores.

    Raises:
        ArtefactError: a table is not in the expected form.
    """
    scores = saved_table(folder, forms.INVENTORY_SCORES)
    if scores is None:
        return None
    reliability = saved_table(folder, forms.INVENTORY_RELIABILITY)
    types = saved_table(folder, forms.INVENTORY_TYPES)
    changes = saved_table(folder, forms.INVENTORY_CHANGES)
    said, tables = _score_sentences(scores), [_scores(scores)]
    drawn: list[DrawnFigure] = []
    with paper_style():
        drawn += draw_inventory_scores(scores)
        if types is not None:
            said += _type_sentences(types)
            tables.append(_types(types))
            drawn += draw_inventory_types(types)
        if changes is not None:
            tables.append(_changes(changes))
        if reliability is not None:
            tables.append(_reliability(reliability))
            drawn += draw_inventory_reliability(reliability)
        figures = save(drawn, folder)
    return Section(
        key="inventories",
        title=f"Inventories: {', '.join(map(str, distinct(scores, 'inventory')))}",
        sentences=tuple(said),
        notes=NOTES,
        figures=figures,
        tables=tuple(tables),
        provenance=read_provenance(folder, "inventory"),
    )


def _score_sentences(scores: DataFrame) -> list[str]:
    """Of every condition of a rated inventory, which scales leave the midpoint out of their interval."""
    rated = scores[scores["maximum"] > 1]
    sentences = []
    for (condition, inventory, form), group in rated.groupby(["condition", "inventory", "format"], sort=False):
        off = [
            f"{row['scale']} {spread(row['estimate'], row['low'], row['high'])}"
            for row in records(group)
            if not row["low"] <= row["midpoint"] <= row["high"]
        ]
        answers = f"{condition}, {inventory} ({form})"
        said = f"off the midpoint are {', '.join(off)}" if off else "no scale is off the midpoint"
        least = group["detectable"].dropna()
        if len(off) < len(group) and len(least):
            said += f"; {number(least.max())} points off would be found on every scale in 80 % of repetitions"
        yes = records(group)[0]
        sentences.append(f"{answers}: {said} (from {number(yes['minimum'])} to {number(yes['maximum'])}).")
    return sentences


def _type_sentences(types: DataFrame) -> list[str]:
    sentences = []
    for (condition, inventory), group in types.groupby(["condition", "inventory"], sort=False):
        row = records(group)[0]
        listed = str(row["credible"]).split()
        shown = ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
        sentences.append(
            f"{condition}: the type by {inventory} is {row['type']}; most probable {row['modal']}"
            f" ({number(row['modal_probability'], 2)} of the draws), and 95 % of them are among {shown}."
        )
    return sentences


def _scores(scores: DataFrame) -> SectionTable:
    columns = [
        *(text("condition"), text("inventory"), text("format"), text("scale"), estimate("estimate", "score")),
        count("n", "items"),
        estimate("acquiescence", "yes-saying", low="acquiescence_low", high="acquiescence_high"),
        value("mass", "mass of the options"),
    ]
    return table("Scores", "Yes-saying is the mean answer over items keyed both ways, as given.", scores, columns)


def _types(types: DataFrame) -> SectionTable:
    columns = [
        *(text("condition"), text("inventory"), text("scale"), text("first"), text("second")),
        estimate("estimate", "share of the first"),
        *(count("n", "items"), text("letter"), text("decided")),
    ]
    return table("Dichotomies", "", types, columns)


def _changes(changes: DataFrame) -> SectionTable:
    columns = [
        *(text("condition"), text("compared_with", "against"), text("inventory"), text("format"), text("measure")),
        *(text("scale"), estimate("estimate", "change", sign=True), count("n", "items")),
        *(value("p", digits=3), value("q", digits=3), text("declared"), value("detectable", "found in 80 %")),
    ]
    note = "Paired item by item; q corrects over the scales in the first format, and apart from them over the others."
    return table("What moves them", note, changes, columns)


def _reliability(reliability: DataFrame) -> SectionTable:
    columns = [
        *(text("condition"), text("inventory"), text("format"), text("scale"), text("metric"), text("over")),
        *(estimate("estimate", "value"), estimate("null_low", "null, middle 95 %", low="null_low", high="null_high")),
        count("n"),
    ]
    shown = reliability[reliability["estimate"].notna()].reset_index(drop=True)
    shown = keep(shown, "condition", distinct(shown, "condition")[0]) if len(shown) else shown
    return table("Reliability", "Of the first condition; the table file has the others.", shown, columns)
