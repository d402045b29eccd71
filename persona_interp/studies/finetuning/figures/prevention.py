"""Prevention and correction: what each method leaves of a trait, and what it costs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import GREY, PALETTE, TEXT, category
from persona_interp.studies.finetuning.arm_effects import BASE, PLAIN

REFERENCES = {BASE: "*", PLAIN: "X"}
SMALLEST, LARGEST = 3.2, 6.8
COSTS = {
    ("loss", "held-out answers of the task"): ("task loss, nats a token", "left"),
    ("loss", "neutral texts"): ("neutral-text loss, nats", "left"),
    ("accuracy", "four-option questions"): ("four-option accuracy", "right"),
}
"""By metric and data of a cost: how its axis is named, and where little is paid."""
_ARM = ["method", "condition", "strength"]


def frontier(effects: DataFrame, trait: str, judge: str) -> DataFrame:
    """One row an arm and cost: a trait's expression beside what was paid for it, in the columns of `plot_frontier`.

    Args:
        effects: those of `prevention_effects`.
    """
    own = effects[(effects["metric"] == "expression") & (effects["trait"] == trait) & (effects["judge"] == judge)]
    ends = ["estimate", "low", "high"]
    left = own[[*_ARM, "coherent", *ends]].rename(columns=_prefixed("expression"))
    costs = keep(effects, "metric", *(metric for metric, _ in COSTS))
    right = costs[["condition", "metric", "data", *ends]].rename(columns=_prefixed("cost"))
    return left.merge(right, on="condition")


def _prefixed(name: str) -> dict[str, str]:
    return {"estimate": name, "low": f"{name}_low", "high": f"{name}_high"}


def plot_frontier(
    frame: DataFrame, ax: Axes, *, label: str, names: Sequence[str] | None = None, better: str = "left"
) -> Axes:
    """Trait expression against cost, a point a method and strength, with the intervals of both.

    A line joins the strengths of a method, and its points grow with them. The black star is the base model, the black
    cross plain finetuning; dotted lines go through both. Hollow points fail the coherence gate: give the legend
    `incoherent_handle()`.

    Args:
        frame: `method, strength, cost, cost_low, cost_high, expression, expression_low, expression_high` of one trait
            and judge, and `coherent` where there is a gate. The methods called `base` and `plain finetuning` are the
            references. Bounds may be missing.
        label: of the horizontal axis: what the cost is, and its units.
        names: the other methods, in the order of the colours; give all where panels differ.
        better: `left` or `right`, where little is paid; written below the axis.
    """
    others = [name for name in distinct(frame, "method") if name not in REFERENCES]
    for i, name in enumerate(others if names is None else names):
        color, style = _method(i)
        rows = keep(frame, "method", name).sort_values("strength", kind="stable")
        if rows.empty:
            continue
        _bars(rows, ax, color)
        ax.plot(rows["cost"], rows["expression"], color=color, linestyle=style, linewidth=1.0, zorder=2)
        ax.plot([], [], color=color, linestyle=style, linewidth=1.0, marker="o", markersize=4.2, label=name)
        _points(rows, ax, color)
    for name, marker in REFERENCES.items():
        rows = keep(frame, "method", name)
        _bars(rows, ax, TEXT)
        for cost, expression in zip(rows["cost"], rows["expression"], strict=True):
            ax.axhline(expression, color=GREY, linestyle=":", linewidth=0.8, zorder=1)
            ax.axvline(cost, color=GREY, linestyle=":", linewidth=0.8, zorder=1)
            size = 9 if marker == "*" else 6.5
            ax.plot(cost, expression, marker, color="black", markersize=size, mec="white", mew=0.6, ls="none",
                    label=name, zorder=3)  # fmt: skip
    arrow = {"left": "← better", "right": "better →"}[better]
    ax.set_xlabel(f"{label}\n{arrow}")
    ax.set_ylabel("trait expression (0–100)")
    return ax


def _method(index: int) -> tuple[str, str]:
    """Colour and line style of a method; black is for the references."""
    free = [k for k in range(index + 1 + len(PALETTE)) if category(k)[0] != "#000000"]
    return category(free[index])


def _bars(rows: DataFrame, ax: Axes, color: str) -> None:
    """The intervals of both axes, thin, under the points."""
    x, y = rows["cost"].to_numpy(), rows["expression"].to_numpy()
    ax.hlines(y, rows["cost_low"], rows["cost_high"], color=color, linewidth=0.7, alpha=0.6, zorder=1.8)
    ax.vlines(x, rows["expression_low"], rows["expression_high"], color=color, linewidth=0.7, alpha=0.6, zorder=1.8)


def _points(rows: DataFrame, ax: Axes, color: str) -> None:
    """One marker a strength, larger for a stronger one, hollow where the gate fails."""
    sizes = np.linspace(SMALLEST, LARGEST, len(rows)) if len(rows) > 1 else [0.5 * (SMALLEST + LARGEST)]
    coherent = rows["coherent"].to_numpy(dtype=bool) if "coherent" in rows else np.ones(len(rows), dtype=bool)
    for cost, expression, size, whole in zip(rows["cost"], rows["expression"], sizes, coherent, strict=True):
        fill, gid = (color, "strength") if whole else ("white", "incoherent")
        ax.plot(cost, expression, "o", mfc=fill, mec=color, markersize=size, mew=0.9, gid=gid, zorder=2.4)
