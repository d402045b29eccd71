"""The report's section of screened data: samples of data sets, and preference pairs."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.effects import saved_effects
from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.screening.effects import STUDY
from persona_interp.studies.screening.figures import draw_pairs
from persona_interp.studies.screening.pair_effects import PAIR_DIFFERENCE, PAIR_SHARE

PAIR_NOTES = (
    "A preference pair is two answers to one prompt; its difference is the mean projection of the chosen answer's"
    " tokens minus that of the rejected one's. Who is trained to prefer the chosen answers is moved that way. Prompts"
    " are the unit: pairs of one prompt are drawn together. Residual units differ between layers: compare traits at one"
    " layer. Answers that were chosen may also be longer or differ otherwise: pairs.parquet has the tokens of both.",
)
_SHOWN = {
    PAIR_DIFFERENCE: Shown("What the chosen answers have more of", (PAIR_DIFFERENCE,), digits=3),
    PAIR_SHARE: Shown("Pairs in which the chosen answer has more", (PAIR_SHARE,)),
}


def screening_section(folder: Path) -> Section | None:
    """Screened data; None where the folder has none.

    Raises:
        ArtefactError: a file is damaged.
    """
    effects = saved_effects(folder, STUDY)
    metrics = [] if effects is None else distinct(effects, "metric")
    return effects_section(
        folder,
        STUDY,
        title=lambda _: "Screening",
        notes=PAIR_NOTES if PAIR_DIFFERENCE in metrics else (),
        shown=[_SHOWN.get(metric) or Shown(f"{metric[:1].upper()}{metric[1:]}", (metric,)) for metric in metrics],
        draw=_draw,
    )


def _draw(effects: DataFrame) -> list[DrawnFigure]:
    pairs = keep(effects, "metric", PAIR_DIFFERENCE, PAIR_SHARE)
    return [] if pairs.empty else [draw_pairs(pairs)]
