"""The report's section on human raters of a run."""

from pathlib import Path

from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import legend_below, panel_figure
from persona_interp.sections.effects import Shown, effects_section
from persona_interp.sections.section import Section
from persona_interp.studies.persona.rows import ALPHA_RATERS, AUC_RATERS, RATERS, RHO_RATERS

NOTES = (
    "People rated a blind, shuffled sheet of answers of this run: unsteered, steered to either side, and to system"
    " prompts for and against the trait. A judge is compared with the mean of the ratings of each answer, over all"
    " kinds of answers together. The rank correlation asks for an equal order, not for an equal scale.",
    "Intervals are over questions and hold the raters fixed: they say nothing of other raters. Krippendorff's alpha of"
    " the raters (interval metric) says how well people agree with each other: 1 is perfect, 0 is chance. A judge can"
    " hardly agree with them better than they do.",
)
_SHOWN = (
    Shown("Human raters among themselves", (ALPHA_RATERS,)),
    Shown("Judges and human raters: order of the answers", (RHO_RATERS,)),
    Shown("Judges and human raters: the upper half of the scale against the lower", (AUC_RATERS,)),
)


def raters_section(folder: Path) -> Section | None:
    """What human raters say of a run's judges; None where no sheet was imported.

    Raises:
        ArtefactError: a file is damaged.
    """
    return effects_section(folder, RATERS, title=lambda _: "Human raters", notes=NOTES, shown=_SHOWN, draw=_draw)


def _draw(effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", RHO_RATERS)
    rows = rows[rows["estimate"].notna()]
    if rows.empty:
        return []
    traits, judges = distinct(rows, "trait"), distinct(rows, "judge")
    frame = rows[["trait", "judge", "estimate", "low", "high", "n"]].rename(columns={"judge": "series"})
    figure, panels = panel_figure(1, 1, panel_height=0.5 + 0.22 * len(traits) * len(judges), page_wide=True)
    label = "rank correlation with the mean human rating"
    plot_forest(frame, panels[0][0], traits=traits, names=judges, chance=0.0, label=label)
    legend_below(figure, columns=2)
    caption = (
        "Rank correlation of every judge with the mean rating of human raters, with its interval over questions. The"
        " dashed line is no relation."
    )
    return [DrawnFigure("human_raters", figure, frame, caption)]
