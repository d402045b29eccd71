"""The report's section on repetition."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.figures.frames import keep
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.repetition.config import EFFORTS
from persona_interp.studies.repetition.effects import AGREEMENT, ATTRIBUTION, CHANGE, GAIN, OVER, SLOPE, STUDY
from persona_interp.studies.repetition.figures import draw_repetition
from persona_interp.studies.sizes import cut_notes

NOTES = (
    "Every topic is used with both of its opinions as the user's, so that a liking for one of them cancels; every"
    " prompt has four sentences, and fillers have as many tokens as the statements in whose place they are.",
    "Where a neutral sentence is repeated instead, the opinion is stated once: what that gains is repetition as such.",
    "Massive positions (ten times the median norm) are left out of what heads look at: heads rest there at no purpose.",
    "Heads are chosen on other topics than those on which their ablation is tried. There is no judge: agreement is a"
    " difference of log-probabilities.",
)


def _ablated(rows: DataFrame) -> DataFrame:
    return keep(rows, "role", "treatment")


SHOWN = (
    Shown("Repetition beyond a repeated neutral sentence", (OVER,), digits=3, sign=True),
    Shown("Agreement", (AGREEMENT,), digits=3, sign=True),
    Shown("Slopes and gains", (SLOPE, GAIN), digits=3, sign=True),
    Shown("Heads that are ablated", (ATTRIBUTION,), rows=_ablated, digits=3, sign=True),
    Shown("Ablation", (CHANGE,), digits=3, sign=True),
    Shown("Perplexity", ("perplexity of neutral texts",)),
)


def repetition_section(folder: Path) -> Section | None:
    """Repetition; None where the folder has no effects of it.

    Raises:
        ArtefactError: a file is damaged.
    """
    return effects_section(
        folder,
        STUDY,
        title=lambda _: "Repetition and agreement",
        notes=(*cut_notes(folder, STUDY, EFFORTS), *NOTES),
        shown=SHOWN,
        draw=draw_repetition,
    )
