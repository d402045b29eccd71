"""Screening data: how well each score finds planted samples, and how the scores are spread."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.forest import NOTE_PAD, plot_forest
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import PALETTE, TEXT

__all__ = ["NOTE_PAD", "plot_detection", "plot_score_distributions"]

SIDES = {False: ("clean", PALETTE[0], "-"), True: ("planted", PALETTE[1], "--")}


def plot_detection(
    frame: DataFrame,
    ax: Axes,
    *,
    scores: Sequence[str] | None = None,
    data: Sequence[str] | None = None,
    chance: float = 0.5,
    label: str = "AUC, planted above clean",
) -> Axes:
    """AUC (or precision) of every score (rows, top to bottom) on every mixture (colours), with its interval.

    The dashed line is what a score that knows nothing gets.

    Args:
        frame: `score, data, estimate, low, high` of one measure.
        scores: the rows, in order.
        data: the mixtures, in the order of the colours.
        chance: one half for an AUC, the share of planted samples for a precision.
        label: of the horizontal axis: the measure.
    """
    plot_forest(
        frame[["score", "data", "estimate", "low", "high"]].rename(columns={"score": "trait", "data": "series"}),
        ax,
        traits=distinct(frame, "score") if scores is None else scores,
        names=distinct(frame, "data") if data is None else data,
        chance=chance,
        label=label,
    )
    lowest = np.nanmin([chance, *frame["estimate"], *frame["low"]])
    ax.set_xlim(-0.02 if lowest < 0.4 else 0.38, 1.02)
    return ax


def plot_score_distributions(
    frame: DataFrame, ax: Axes, *, threshold: float | None = None, label: str = "score", n_bins: int = 30
) -> Axes:
    """Density of a score over clean and over planted samples; each area is one, whatever their numbers.

    Samples beyond the vertical line are flagged. Their numbers stand above the panel; a title needs `pad=NOTE_PAD`.

    Args:
        frame: `value, planted` of every sample, for one score.
        threshold: set on clean data that are not shown here.
        label: of the horizontal axis: the score, and its units.
    """
    values = frame["value"].to_numpy(dtype=float)
    edges = np.histogram_bin_edges(values[np.isfinite(values)], bins=n_bins)
    counts = []
    for planted, (name, color, line) in SIDES.items():
        side = keep(frame, "planted", planted)["value"].dropna().to_numpy(dtype=float)
        if not len(side):
            continue
        counts.append(f"{len(side):,} {name}")
        ax.hist(side, bins=list(edges), density=True, color=color, alpha=0.22, histtype="stepfilled", zorder=2)
        ax.hist(side, bins=list(edges), density=True, color=color, linestyle=line, linewidth=1.1, histtype="step",
                zorder=2.2, gid="outline")  # fmt: skip
        ax.plot([], [], color=color, linestyle=line, linewidth=1.1, label=name)
    ax.text(0, 1.02, f"n = {', '.join(counts) or 0}", fontsize=6.5, transform=ax.transAxes, va="bottom", gid="n")
    if threshold is not None:
        ax.axvline(threshold, color=TEXT, linestyle=":", linewidth=1.1, label="threshold", zorder=2.5)
    ax.set_xlabel(label)
    ax.set_ylabel("density")
    ax.set_ylim(bottom=0)
    return ax
