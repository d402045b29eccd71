"""Screening data: how well each score finds planted samples, and how the scores are spread."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.forest import NOTE_PAD, plot_forest
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import PALETTE, TEXT, legend_below, panel_figure
from persona_interp.studies.screening.pair_effects import PAIR_DIFFERENCE, PAIR_SHARE
from persona_interp.studies.screening.planted import DIFFERENCE, reserved_threshold
from persona_interp.studies.screening.planted_effects import AUC, MIXED

_FOREST = ["trait", "series", "estimate", "low", "high"]
SIDES = {False: ("clean", PALETTE[0], "-"), True: ("planted", PALETTE[1], "--")}


def draw_planted(effects: DataFrame, samples: DataFrame, *, percentile: float) -> list[DrawnFigure]:
    """AUC of every score by trait and mixture, and the spread of the projection difference at level II.

    Call it in the style of papers.

    Args:
        effects: of planted samples; `samples`: as `planted_samples` gives them.
    """
    rows = keep(effects, "metric", AUC)
    traits, kinds = distinct(rows, "trait"), distinct(rows, "condition")
    kinds = sorted(kinds, key=lambda kind: (MIXED in kind, kind))
    detected, axes = panel_figure(1, len(traits), panel_height=2.8)
    for k, (ax, trait) in enumerate(zip(axes[0], traits, strict=True)):
        plot_detection(keep(rows, "trait", trait), ax, conditions=kinds).set_title(trait)
        if k:
            ax.set_yticklabels([])
    legend_below(detected)
    spread, axes = panel_figure(1, len(traits))
    shown = []
    for ax, trait in zip(axes[0], traits, strict=True):
        own = keep(keep(samples, "trait", trait), "level", "level_2")
        values = own[own["mixed"] & ~own["reserved"]]
        values = values.assign(value=values[DIFFERENCE])[["value", "planted", "trait", "source"]]
        limit = reserved_threshold(own, DIFFERENCE, percentile)
        plot_score_distributions(values, ax, threshold=limit, label="ΔP, residual units", n_bins=20)
        ax.set_title(trait, pad=NOTE_PAD)
        shown.append(values)
    legend_below(spread)
    return [
        DrawnFigure("detection_auc", detected, rows, "AUC of planted samples by score and mixture."),
        DrawnFigure("projection_difference", spread, pd.concat(shown), "ΔP of clean and planted samples."),
    ]


def draw_pairs(effects: DataFrame) -> DrawnFigure:
    """Preference pairs: the mean difference of chosen and rejected answers, and how often it is positive, by trait.

    Call it in the style of papers.

    Args:
        effects: with the metrics of `pair_effects`; a colour a layer.
    """
    several = effects.groupby("trait")["method"].nunique().max() > 1
    named = effects["trait"] + (" (" + effects["method"] + ")" if several else "")
    rows = effects.assign(trait=named, series="layer " + effects["layers"].astype(str))
    traits, layers = distinct(rows, "trait"), distinct(rows, "series")
    figure, axes = panel_figure(1, 2, panel_height=max(1.6, 0.35 * len(traits) + 0.9))
    measures = (
        (PAIR_DIFFERENCE, 0.0, "chosen minus rejected, residual units"),
        (PAIR_SHARE, 0.5, "share chosen higher"),
    )
    for ax, (metric, none, label) in zip(axes[0], measures, strict=True):
        own = keep(rows, "metric", metric)
        plot_forest(own[_FOREST], ax, traits=traits, names=layers, chance=none, label=label)
    axes[0][0].set_title(f"n = {int(rows['n'].max()):,} pairs, {int(rows['n_cluster'].max()):,} prompts", fontsize=6.5)
    axes[0][1].set_yticklabels([])
    if len(layers) > 1:
        legend_below(figure)
    return DrawnFigure("preference_pairs", figure, rows, "What chosen answers have more of than rejected ones.")


def plot_detection(
    frame: DataFrame,
    ax: Axes,
    *,
    scores: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
    chance: float = 0.5,
    label: str = "AUC, planted above clean",
) -> Axes:
    """AUC (or precision) of every score (rows, top to bottom) on every mixture (colours), with its interval.

    The dashed line is what a score that knows nothing gets.

    Args:
        frame: effects of one measure; the score is in `method`, the mixture in `condition`.
        scores: the rows, in order.
        conditions: the mixtures, in the order of the colours.
        chance: one half for an AUC, the share of planted samples for a precision.
        label: of the horizontal axis: the measure.
    """
    columns = {"method": "trait", "condition": "series"}
    plot_forest(
        frame[[*columns, "estimate", "low", "high"]].rename(columns=columns),
        ax,
        traits=distinct(frame, "method") if scores is None else scores,
        names=distinct(frame, "condition") if conditions is None else conditions,
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
