"""Size of the difference of means by layer."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.frames import keep
from persona_interp.figures.style import category


def plot_relative_norm(frame: DataFrame, ax: Axes, *, traits: Sequence[str]) -> Axes:
    """Norm of the difference of means over the mean residual norm, against layer: a line a trait.

    Args:
        frame: `rows.norms` of one pooling.
        traits: every trait of the figure, so that colours are the same in all panels.
    """
    for index, trait in enumerate(traits):
        rows = keep(frame, "trait", trait).sort_values("layer")
        color, style = category(index)
        ax.plot(rows["layer"], rows["estimate"], color=color, linestyle=style, marker="o", markersize=2.5, label=trait)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("layer (0-based block)")
    ax.set_ylabel("norm of the difference /\nmean residual norm")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    return ax
