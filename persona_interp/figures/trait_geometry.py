"""Cosines between traits in several models, and how alike they are by depth."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from pandas import DataFrame

from persona_interp.figures.frames import records
from persona_interp.figures.geometry import COLORMAP
from persona_interp.figures.heat_map import name_cells
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, TEXT


def plot_cosine_map(frame: DataFrame, ax: Axes, *, traits: Sequence[str]) -> AxesImage:
    """Cosine between the vectors of every pair of traits as a heat map from -1 to 1, in hundredths, diagonal blank.

    Args:
        frame: `trait_a, trait_b, cosine` of one model and depth; each pair once or twice.
    """
    size = len(traits)
    cosine = np.full((size, size), np.nan)
    place = {trait: index for index, trait in enumerate(traits)}
    for row in records(frame):
        a, b = place[row["trait_a"]], place[row["trait_b"]]
        if a != b:
            cosine[a, b] = cosine[b, a] = row["cosine"]
    image = ax.imshow(np.ma.masked_invalid(cosine), cmap=mpl.colormaps[COLORMAP], vmin=-1, vmax=1)
    for a, b in np.argwhere(~np.isnan(cosine)).tolist():
        value = float(cosine[a, b])
        text = f"{round(100 * value)}".replace("-", "−")
        ax.text(b, a, text, ha="center", va="center", color="white" if abs(value) > 0.6 else TEXT, fontsize=5.5)
    name_cells(ax, traits, traits, rotation=45)
    return image


def plot_similarity_by_depth(frame: DataFrame, ax: Axes) -> Axes:
    """Correlation of two models' cosines against depth (`depth_of`), with its interval and the null of renamed traits.

    Grey: below the 95th percentile of the null at that depth. Dashed: the 95th percentile of the null's maximum over
    depths. The coloured band is the interval from leaving out one trait at a time.

    Args:
        frame: `depth, estimate, low, high, null_95, null_max_95` of one pair of models, by depth.
    """
    depth = frame["depth"].to_numpy()
    ax.fill_between(depth, -1, frame["null_95"].to_numpy(), color=LIGHT_GREY, linewidth=0, label="null, 95 %")
    ax.plot(depth, frame["null_max_95"], "--", color=GREY, linewidth=1, label="null, maximum over depths, 95 %")
    low, high = frame["low"].to_numpy(), frame["high"].to_numpy()
    ax.fill_between(depth, low, high, color=PALETTE[0], alpha=0.22, linewidth=0, label="95 % interval (jackknife)")
    ax.plot(depth, frame["estimate"], "-o", color=PALETTE[0], markersize=2.5, label="correlation over pairs of traits")
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.set(xlim=(0, 1), ylim=(-1, 1.03), xlabel="depth, (layer + 1) / layers")
    return ax
