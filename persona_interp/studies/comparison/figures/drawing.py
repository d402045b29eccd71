"""Every figure of a comparison of families, from its effects."""

from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.studies.comparison.figures.axes import draw_axes
from persona_interp.studies.comparison.figures.strength import draw_strength


def draw_comparison(effects: DataFrame) -> list[DrawnFigure]:
    """Angles, layers, stability, the frontier and off-target movement of every trait; call it in `paper_style`."""
    drawn = []
    for trait, rows in effects.groupby("trait", sort=False):
        drawn += [*draw_axes(str(trait), rows), *draw_strength(str(trait), rows)]
    return drawn
