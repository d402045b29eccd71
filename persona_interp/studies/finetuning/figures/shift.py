"""Finetuning: shift and expression of many runs, what foretells them, and how specifically."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.geometry import COLORMAP
from persona_interp.figures.heat_map import frame_same, name_cells
from persona_interp.figures.style import GREY, TEXT, category
from persona_interp.studies.finetuning.effects import OF_DATA, VECTOR

MARKERS = ("o", "^", "s", "D", "v", "P")


def plot_shift_and_expression(
    frame: DataFrame,
    ax: Axes,
    *,
    families: Sequence[str] | None = None,
    levels: Sequence[str] | None = None,
    correlation: tuple[float, float, float] | None = None,
) -> Axes:
    """Change of trait expression against finetuning shift, a point a run, for one measured trait, judge and layer.

    The colour is the family of the data, the marker their level. The lines are the model before training.

    Args:
        frame: `trait_of_data, level, shift, expression` of every run, as `Grid.points` gives them.
        families: every value of `trait_of_data` in the order of the colours; give all where panels differ.
        levels: every value of `level` in the order of the markers.
        correlation: r with its bounds, written above the panel with the number of runs; a title needs `pad=NOTE_PAD`.
    """
    families = distinct(frame, "trait_of_data") if families is None else families
    levels = distinct(frame, "level") if levels is None else levels
    for line in (ax.axhline, ax.axvline):
        line(0, color=GREY, linewidth=0.7, zorder=1)
    for i, family in enumerate(families):
        for level, marker in zip(levels, _markers(levels), strict=True):
            rows = keep(keep(frame, "trait_of_data", family), "level", level)
            ax.plot(
                rows["shift"], rows["expression"], marker, color=category(i)[0], markersize=4.5, alpha=0.8, mew=0.5,
                mec="white", gid="run", zorder=2,
            )  # fmt: skip
        ax.plot([], [], "s", color=category(i)[0], markersize=5, mew=0, label=f"data: {family}")
    for level, marker in zip(levels, _markers(levels), strict=True):
        ax.plot([], [], marker, color="#555555", markersize=4.5, mfc="none", label=str(level).replace("_", " "))
    if correlation is not None:
        n = int(frame[["shift", "expression"]].notna().all(axis=1).sum())
        text = "r = {:z.2f} [{:z.2f}, {:z.2f}], n = {}".format(*correlation, n).replace("-", "−")
        ax.text(0, 1.02, text, fontsize=6.5, transform=ax.transAxes, va="bottom", gid="correlation")
    ax.set_xlabel("finetuning shift (residual units)")
    ax.set_ylabel("change of expression\n(points of 100)")
    return ax


def plot_correlation_matrix(effects: DataFrame, ax: Axes, *, traits: Sequence[str]) -> Axes:
    """Pearson r of the shift along one trait's direction with the expression of another, as a heat map from -1 to 1.

    A row a direction, a column an outcome, the interval under each number that has one; a trait's own direction is
    framed. Pairs without a correlation stay blank.

    Args:
        effects: those of `shift_effects` in the families `OWN` and `OTHERS` by one judge.
    """
    values, size = np.full((len(traits), len(traits)), np.nan), 5.2
    for row in records(effects):
        direction = row["trait"] if row["method"] == VECTOR else row["method"].removeprefix(f"{VECTOR} of ")
        a, b = traits.index(direction), traits.index(row["trait"])
        values[a, b] = row["estimate"]
        if np.isnan(values[a, b]):
            continue
        whole = np.isfinite([row["low"], row["high"]]).all()
        text = f"{values[a, b]:+z.2f}" + ("\n[{low:z.2f}, {high:z.2f}]".format_map(row) if whole else "")
        color = "white" if abs(values[a, b]) > 0.6 else TEXT
        ax.text(b, a, text.replace("-", "−"), ha="center", va="center", color=color, fontsize=size)
    ax.imshow(np.ma.masked_invalid(values), cmap=mpl.colormaps[COLORMAP], vmin=-1, vmax=1)
    frame_same(ax, traits, traits)
    name_cells(ax, traits, traits, rotation=30)
    ax.set_xlabel("expression of")
    ax.set_ylabel("shift along")
    return ax


def plot_predictors(effects: DataFrame, ax: Axes) -> Axes:
    """Pearson r over data sets of what is known before training (rows), a colour a thing foretold, for one trait.

    Args:
        effects: those of `shift_effects` on what the data say, of one trait, and of one judge where it is expression
            that follows.
    """
    split = effects["condition"].str.split(OF_DATA, n=1, expand=True)
    rows = effects[["estimate", "low", "high"]].assign(trait=split[0], series=split[1])
    names = distinct(rows, "series")
    plot_forest(rows, ax, traits=distinct(rows, "trait"), names=names, chance=0.0, label="Pearson r")
    ax.set_xlim(-1.04, 1.04)
    return ax


def _markers(levels: Sequence[str]) -> list[str]:
    return [MARKERS[i % len(MARKERS)] for i in range(len(levels))]
