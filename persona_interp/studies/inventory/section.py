"""The report's section on inventories: scores, what moves them, how reliable they are, and types."""

from pathlib import Path

from persona_interp.figures.frames import distinct, keep
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.inventory.effects import AGREEING, AGREEING_CHANGE, CHANGE, PROBABILITY, SCORE, STUDY
from persona_interp.studies.inventory.effort import EFFORTS
from persona_interp.studies.inventory.figures import draw_inventory
from persona_interp.studies.inventory.reliability import MASS, METRICS
from persona_interp.studies.sizes import cut_notes

NOTES = (
    "Answers are log-probabilities of the options; nothing is sampled and there is no judge. An inventory made for"
    " people asks a model what it says of itself, which need not be what it does.",
    "Intervals are over items and wordings. Items keyed both ways and both orders of the options cancel yes-saying and"
    " a liking for a place in the list; how much there was to cancel is in the tables of yes-saying and reliability.",
    "The type is not a validated one. A dichotomy is undecided (X) where neither pole has 95 % of the draws.",
)
_SHOWN = (
    Shown("Scores", (SCORE,)),
    Shown("Yes-saying", (AGREEING,), "The mean answer over items keyed both ways, as given."),
    Shown("Dichotomies", (PROBABILITY,), "The share of the first pole itself is in the table of scores."),
    Shown("What moves them", (CHANGE,), "Paired item by item; formats after the first are exploratory.", sign=True),
    Shown("What moves yes-saying", (AGREEING_CHANGE,), sign=True),
    Shown(
        "Reliability",
        METRICS,
        "Of the first condition. The reference says over what it is: items, or rows of answers to all of them.",
        rows=lambda effects: keep(effects, "condition", *distinct(effects, "condition")[:1]),
    ),
    Shown("Mass of the options", (MASS,), "Their probability together, as an answer.", digits=4),
)


def inventory_section(folder: Path) -> Section | None:
    """Administered inventories; None where the folder has no effects of any.

    Raises:
        ArtefactError: a file is damaged.
    """
    return effects_section(
        folder,
        STUDY,
        title=lambda effects: f"Inventories: {', '.join(map(str, distinct(effects, 'data')))}",
        notes=(*cut_notes(folder, STUDY, EFFORTS), *NOTES),
        shown=_SHOWN,
        draw=draw_inventory,
    )
