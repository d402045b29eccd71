"""Agreement of two judges on the same answers."""

from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, wrap

CONDITIONS = {
    "negative prompt": (PALETTE[0], "v"),
    "steered": (PALETTE[2], "o"),
    "positive prompt": (PALETTE[1], "^"),
}


def plot_agreement(frame: DataFrame, ax: Axes, *, judge_a: str, judge_b: str) -> Axes:
    """Score of one judge against the score of another, a point an answer, for one trait.

    The diagonal is equality; a rank correlation does not ask for it.

    Args:
        frame: `condition, value_a, value_b` of one trait and pair of judges.
    """
    ax.plot([0, 100], [0, 100], color=LIGHT_GREY, linewidth=1, zorder=1)
    for condition in [*CONDITIONS, *sorted(set(distinct(frame, "condition")) - set(CONDITIONS))]:
        rows = keep(frame, "condition", condition)
        color, marker = CONDITIONS.get(condition, (GREY, "s"))
        if not rows.empty:
            ax.scatter(
                rows["value_a"],
                rows["value_b"],
                s=10,
                color=color,
                marker=marker,
                alpha=0.55,
                linewidths=0,
                label=condition,
            )
    ax.set(xlim=(-3, 103), ylim=(-3, 103), xticks=range(0, 101, 25), yticks=range(0, 101, 25))
    ax.set_aspect("equal")
    ax.set_xlabel(f"{wrap(judge_a)}\n(0–100)")
    ax.set_ylabel(f"{wrap(judge_b)}\n(0–100)")
    return ax
