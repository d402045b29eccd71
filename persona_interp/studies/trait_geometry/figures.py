"""Cosines between traits in several models, and how alike they are by depth."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.geometry import COLORMAP
from persona_interp.figures.heat_map import name_cells
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, TEXT, legend_below, panel_figure
from persona_interp.studies.trait_geometry.effects import AT_DEPTH, LARGEST


def draw_trait_geometry(effects: DataFrame, cosines: DataFrame, *, mid_depth: float) -> list[DrawnFigure]:
    """Heat maps of every model's cosines at a depth, and the first correlation against depth for every pair of models.

    Call it in the style of papers.

    Args:
        effects: of the study.
        cosines: `model, depth, trait_a, trait_b, cosine`.
    """
    middle = keep(cosines, "depth", mid_depth)
    names, first = distinct(cosines, "model"), keep(effects, "metric", distinct(effects, "metric")[0])
    traits = list(dict.fromkeys([*distinct(cosines, "trait_a"), *distinct(cosines, "trait_b")]))
    maps, axes = panel_figure(1, len(names), panel_height=2.1, page_wide=True, share_y="all", square=True)
    images = [
        plot_cosine_map(keep(middle, "model", name), ax, traits=traits) for ax, name in zip(axes[0], names, strict=True)
    ]
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name)
    bar = maps.colorbar(images[-1], ax=axes[0], shrink=0.8, aspect=25)
    bar.set_label(f"cosine (cells: × 100), depth {mid_depth:g}")
    bar.outline.set_visible(False)  # pyright: ignore
    pairs = distinct(first, "data")
    curves, axes = panel_figure(1, len(pairs), panel_height=2.0, page_wide=True, share_y="all")
    for ax, pair in zip(axes[0], pairs, strict=True):
        plot_similarity_by_depth(keep(first, "data", pair), ax)
        ax.set_title(pair.replace(" and ", "\nand "))
    axes[0][0].set_ylabel(f"{distinct(first, 'metric')[0].removesuffix(' of cosines')}, {first['n'].iloc[0]} pairs")
    legend_below(curves, columns=2)
    return [
        DrawnFigure("trait_cosines", maps, middle, "Cosines between the vectors of every pair of traits."),
        DrawnFigure("geometry_by_depth", curves, first, "Likeness of two models' cosines by depth."),
    ]


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
        frame: effects of one pair of models and one correlation.
    """
    rows, largest = (keep(frame, "test", test) for test in (AT_DEPTH, LARGEST))
    rows = rows.sort_values("depth")
    depth = rows["depth"].to_numpy()
    ax.fill_between(depth, -1, rows["null_high"].to_numpy(), color=LIGHT_GREY, linewidth=0, label="null, 95 %")
    for limit in largest["null_high"]:
        label = "null, maximum over depths, 95 %"
        ax.plot(depth, np.full(len(depth), limit), "--", color=GREY, linewidth=1, label=label)
    low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
    ax.fill_between(depth, low, high, color=PALETTE[0], alpha=0.22, linewidth=0, label="95 % interval (jackknife)")
    ax.plot(depth, rows["estimate"], "-o", color=PALETTE[0], markersize=2.5, label="correlation over pairs of traits")
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.set(xlim=(0, 1), ylim=(-1, 1.03), xlabel="depth, (layer + 1) / layers")
    return ax
