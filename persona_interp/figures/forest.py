"""Estimates with their intervals, a row a trait and a colour a model: the figure of a table of claims."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.frames import keep, records
from persona_interp.figures.style import GREY, LIGHT_GREY, category

NOTE_PAD = 13
"""Points between a panel and its title that leave room for a line of numbers between them."""


def plot_forest(
    frame: DataFrame, ax: Axes, *, traits: Sequence[str], names: Sequence[str], chance: float, label: str
) -> Axes:
    """Estimate and interval of every trait (rows, top to bottom) for every series (colours).

    The grey bar behind an estimate is what its null gives, from no effect on where only its upper end is known; the
    dashed line is no effect. An estimate whose bounds
    are missing is drawn without a bar.

    Args:
        frame: `trait, series, estimate, low, high`, and `null_low, null_high` where there is a null.
        chance: value of no effect, on the horizontal axis.
        label: of the horizontal axis.
    """
    step = 0.7 / max(1, len(names))
    ax.axvline(chance, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
    for index, name in enumerate(names):
        color, _ = category(index)
        for row in records(keep(frame, "series", name)):
            height = traits.index(row["trait"]) + (index - (len(names) - 1) / 2) * step
            if "null_high" in row and row["null_high"] == row["null_high"]:
                bar = (row["null_low"] if row["null_low"] == row["null_low"] else chance, row["null_high"])
                ax.plot(bar, (height, height), color=LIGHT_GREY, linewidth=5, solid_capstyle="butt", zorder=1.5)
            ax.plot((row["low"], row["high"]), (height, height), color=color, linewidth=1.1, zorder=2)
            ax.plot(row["estimate"], height, "o", color=color, markersize=4, label=name, zorder=2.2)
    ax.set_yticks(range(len(traits)), list(traits))
    ax.set_ylim(len(traits) - 0.45, -0.55)
    ax.set_xlabel(label)
    ax.grid(visible=False, axis="y")
    return ax
