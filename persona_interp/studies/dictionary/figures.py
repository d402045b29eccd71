"""A dictionary: its loss while it was trained, and how often its latents fire."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.directions.sae.quality import DENSITY_EDGES
from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.style import GREY, PALETTE, panel_figure

NAME = "dictionary"


def draw_dictionary(losses: DataFrame, densities: DataFrame) -> Sequence[DrawnFigure]:
    """Both panels; call it in `paper_style`."""
    if losses.empty or densities.empty:
        return []
    figure, panels = panel_figure(1, 2, panel_height=2.0)
    plot_losses(losses, panels[0][0])
    plot_densities(densities, panels[0][1])
    caption = (
        "Left: fraction of variance unexplained in the batches that the dictionary was trained on. Right: on what share"
        " of held-out tokens each latent fires; the grey bar counts those that never do."
    )
    frame = densities.join(losses, how="outer")
    return [DrawnFigure(NAME, figure, frame, caption)]


def plot_losses(losses: DataFrame, ax: Axes) -> Axes:
    """Variance that is left in batches, over tokens."""
    ax.plot(losses["tokens"] / 1000, losses["fvu"], color=PALETTE[0])
    ax.set_ylim(0, min(1.05, 1.05 * float(losses["fvu"].max())))
    ax.set_xlim(left=0)
    ax.set_xlabel("thousand tokens")
    ax.set_ylabel("variance unexplained")
    ax.set_title("Training batches")
    return ax


def plot_densities(densities: DataFrame, ax: Axes) -> Axes:
    """How many latents fire on what share of tokens, by halves of powers of ten; left, grey: those that never fire."""
    fire = densities.loc[densities["density"] > 0, "density"]
    lowest = int(np.floor(np.log10(fire.min()))) if len(fire) else -1
    edges = [edge for edge in DENSITY_EDGES if edge >= lowest]
    ax.hist(np.log10(fire), bins=edges, color=PALETTE[0])
    ax.bar(lowest - 1, int((densities["density"] == 0).sum()), width=0.5, color=GREY)
    decades = range(lowest, 1)
    ax.set_xticks([lowest - 1, *decades], ["never", *(f"{10.0**decade * 100:g} %" for decade in decades)])
    ax.grid(visible=False, axis="x")
    ax.set_xlabel("of held-out tokens")
    ax.set_ylabel("latents")
    ax.set_title("Density")
    return ax
