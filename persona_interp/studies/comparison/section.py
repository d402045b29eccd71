"""The report's section on families: on the same axes, and at the same strength."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.figures.frames import distinct, keep
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section, read_provenance
from persona_interp.studies.comparison.axes_effects import COSINE, PROJECTIONS, STABILITY, VARIANCE
from persona_interp.studies.comparison.config import EFFORTS
from persona_interp.studies.comparison.effects import STUDY
from persona_interp.studies.comparison.figures.drawing import draw_comparison
from persona_interp.studies.comparison.off_target_effects import RELIABILITY, SLOPE
from persona_interp.studies.comparison.strength_effects import (
    ACCURACY,
    AREA,
    CHANGE,
    COEFFICIENT,
    COHERENCE,
    COHERENT,
    KL,
    LOSS,
    OVER,
    OVER_PERSONA,
    PROMPT_OVER,
)
from persona_interp.studies.sizes import cut_notes

NOTES = (
    "A cosine without scatter is that between halves of the questions which share none, over the root of both"
    " reliabilities: two estimates of one direction reach 1 however few answers they are made from, and two that are"
    " made from the same answers are not alike for that alone. It may lie beyond 1, being a ratio of estimates.",
    "Angles leave out the dimensions that are ten times the median one or more, which hardly depend on what is said.",
    "All families are steered to the same mean KL from the unsteered model over its own answers to neutral prompts;"
    " a prompt has no coefficient and stands where its own KL is. Perplexity and accuracy are not measured under"
    " prompts.",
    "The area is the mean change of expression over strengths from 0 to the largest target.",
    "Off-target traits are rated by the embedding judge; their vectors are made from written texts. Evaluation, Potency"
    " and Activity are axes of antonyms, in sentence embeddings for answers and in residuals for directions.",
)


def _named(rows: DataFrame) -> DataFrame:
    return keep(rows, "place", "named")


SHOWN = (
    Shown("Cosines without scatter", (COSINE,), rows=_named),
    Shown("Stability", (STABILITY,)),
    Shown("Projections of the same answers", (PROJECTIONS,)),
    Shown("Share of variance", (VARIANCE,), digits=4),
    Shown("Area under expression and KL", (AREA,), digits=1, sign=True),
    Shown("Over random directions", (OVER,), digits=1, sign=True),
    Shown("Over the persona vector", (OVER_PERSONA, PROMPT_OVER), digits=1, sign=True),
    Shown("Expression at each strength", (CHANGE,), digits=1, sign=True),
    Shown("Coherence", (COHERENCE, COHERENT), sign=True),
    Shown("What the model still can do", (LOSS, ACCURACY), digits=3, sign=True),
    Shown("Strengths", (COEFFICIENT, KL), digits=3),
    Shown("Off-target movement", (SLOPE,), sign=True),
    Shown("Axes of meaning", (RELIABILITY,)),
)


def comparison_section(folder: Path) -> Section | None:
    """Families of directions; None where the folder has no effects of any.

    Raises:
        ArtefactError: a file is damaged.
    """
    return effects_section(
        folder,
        STUDY,
        title=lambda effects: f"Ways to a direction: {', '.join(map(str, distinct(effects, 'trait')))}",
        notes=(*cut_notes(folder, STUDY, EFFORTS), *_left_out(folder), *NOTES),
        shown=SHOWN,
        draw=draw_comparison,
    )


def _left_out(folder: Path) -> tuple[str, ...]:
    """Which families were left out, and why."""
    by_trait = read_provenance(folder, STUDY).get("left_out", {})
    said = dict.fromkeys(f"{name} ({why})" for missing in by_trait.values() for name, why in missing.items())
    return (f"Left out: {'; '.join(said)}.",) if said else ()
