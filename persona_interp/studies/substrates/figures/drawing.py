"""Every figure of a study of substrates, from its effects."""

from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.studies.substrates.figures.latents import draw_latents
from persona_interp.studies.substrates.figures.units import draw_units


def draw_substrates(effects: DataFrame) -> list[DrawnFigure]:
    """Writers, probes, ablations and latents of every trait; call it in `paper_style`."""
    drawn = []
    for trait, rows in effects.groupby("trait", sort=False):
        drawn += [*draw_units(str(trait), rows), *draw_latents(str(trait), rows)]
    return drawn
