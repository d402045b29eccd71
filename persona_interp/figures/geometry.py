"""Angles between the persona vectors of different traits."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from pandas import DataFrame

from persona_interp.figures.frames import records
from persona_interp.figures.heat_map import name_cells
from persona_interp.figures.style import LIGHT_GREY, TEXT

COLORMAP = "PuOr_r"


def plot_geometry(frame: DataFrame, ax: Axes, *, traits: Sequence[str]) -> Axes:
    """Cosine between persona vectors of one layer as a heat map, cells within the null greyed.

    A cell is grey where |cosine| is at most the 95th percentile of |cosine| of covariance-matched random
    pairs. The diagonal is left blank. The colour scale runs from -1 to 1.

    Args:
        frame: `trait_a, trait_b, estimate, null_high` of one layer; each pair once or twice.
    """
    size = len(traits)
    cosine, null = np.full((size, size), np.nan), np.full((size, size), np.nan)
    place = {trait: index for index, trait in enumerate(traits)}
    for row in records(frame):
        a, b = place[row["trait_a"]], place[row["trait_b"]]
        if a != b:
            cosine[a, b] = cosine[b, a] = row["estimate"]
            null[a, b] = null[b, a] = row["null_high"]
    ax.imshow(np.ma.masked_invalid(cosine), cmap=mpl.colormaps[COLORMAP], vmin=-1, vmax=1)
    for a, b in np.argwhere(~np.isnan(cosine)).tolist():
        _label_cell(ax, a, b, float(cosine[a, b]), within_null=bool(abs(cosine[a, b]) <= null[a, b]))
    name_cells(ax, traits, traits, rotation=45)
    return ax


def _label_cell(ax: Axes, a: int, b: int, value: float, *, within_null: bool) -> None:
    """The number of one cell, and a grey cover if it is within the null."""
    if within_null:
        ax.add_patch(Rectangle((b - 0.5, a - 0.5), 1, 1, facecolor=LIGHT_GREY, edgecolor="white", gid="within-null"))
    color = "#777777" if within_null else "white" if abs(value) > 0.6 else TEXT
    text = f"{value:+.2f}".replace("-", "−")
    ax.text(b, a, text, ha="center", va="center", color=color, fontsize=6.5)
