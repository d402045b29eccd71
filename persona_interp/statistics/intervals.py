"""Intervals of correlations, slopes and effect sizes over clusters, or over two crossed factors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import gamma
from scipy.stats import t as student

from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.statistics.auc_interval import auc_intervals
from persona_interp.statistics.effects import cliffs_delta, cohens_d, pearson, spearman
from persona_interp.statistics.levels import CONFIDENCE, N_RESAMPLES
from persona_interp.statistics.resampling import Interval, Resampling
from persona_interp.statistics.rows import Labels, Vector, cluster_codes
from persona_interp.statistics.smooth import smooth_interval
from persona_interp.statistics.smooth_functions import CorrelationOf, HedgesG, SlopeOf, StandardisedChange

Correlation = Literal["pearson", "spearman"]
Weights = Float[np.ndarray, "draw _"]
Draws = Float[np.ndarray, " draw"]
MAX_ELEMENTS = 4_000_000
"""Largest array of row weights at once: 32 MB in float64."""


def correlation_interval(
    x: Vector,
    y: Vector,
    clusters: Labels,
    *,
    kind: Correlation = "pearson",
    also: Labels | None = None,
    n_resamples: int = N_RESAMPLES,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Correlation of two columns over all rows, -1 to 1, with its interval over clusters.

    Pearson: symmetric bootstrap-t on Fisher's scale, or with two factors Satterthwaite's t; NaN where a column is
    constant, NaN bounds where r is exactly 1 or -1. Spearman: stretched percentiles of a cluster bootstrap. Measured
    coverage: tests/golden/levels/intervals.csv.

    Args:
        also: a second factor that crosses the clusters, such as the system prompt or the seed of each row. The
            interval then holds for new levels of it too.

    Source: `smooth_interval`.
    """
    cluster_codes((x, clusters), (y, clusters))
    resampling = Resampling.of((x, clusters, also), n_resamples=n_resamples, seed=seed)
    if kind == "pearson":
        smooth = CorrelationOf(x, y, np.zeros(len(x), dtype=int))
        return smooth_interval(smooth, pearson(x, y), resampling, level=level)
    draws = _by_chunk(resampling, lambda weights: _ranked(weights, x, y))
    return resampling.interval(spearman(x, y), draws, level, bounds=(-1.0, 1.0))


def spearman_p(found: Interval) -> float:
    """Two-sided p of a Spearman correlation of zero, by Student's t of its bootstrap error over clusters.

    At 1 or -1, where no draw differs, it is the chance 2 / n! that n clusters are in one order. NaN where the error is
    not known. Measured level: tests/golden/levels/others.csv.
    """
    if abs(found.estimate) == 1 and found.n_clusters > 1:
        return float(2 / gamma(found.n_clusters + 1))
    if np.isnan(found.error) or found.error <= 0:
        return float("nan")
    return float(2 * student.sf(abs(found.estimate) / found.error, found.freedom))


def slope_interval(
    x: Vector,
    y: Vector,
    clusters: Labels,
    *,
    n_resamples: int = N_RESAMPLES,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """The slope of the least-squares line of `y` on `x`, in units of `y` a unit of `x`, with its interval.

    Symmetric bootstrap-t over clusters; NaN where `x` is constant. Measured coverage:
    tests/golden/levels/intervals.csv.

    Source: `smooth_interval`.
    """
    cluster_codes((x, clusters), (y, clusters))
    resampling = Resampling.of((x, clusters, None), n_resamples=n_resamples, seed=seed)
    smooth = SlopeOf(x, y)
    with np.errstate(all="ignore"):
        estimate = float(smooth.value(smooth.columns.sum(axis=0, keepdims=True))[0])
    return smooth_interval(smooth, estimate, resampling, level=level)


def within_condition_correlation(
    x: Vector,
    y: Vector,
    conditions: Labels,
    *,
    clusters: Labels,
    min_sd: float = 1.0,
    also: Labels | None = None,
    n_resamples: int = N_RESAMPLES,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Pearson correlation of `x` and `y` after each condition's own means are taken off, pooled over conditions.

    What is left of a correlation when the differences between conditions (system prompts, numbers of shots) do not
    count. Clusters (questions) may have rows in several conditions. Draws demean anew. `n` counts the rows used.

    Args:
        min_sd: conditions whose standard deviation of `y` (n - 1) is below it, in the units of `y`, are left out, once
            and for all draws; so are conditions of one row. For expression scores 0..100 the paper uses 1.
        also: a second factor that crosses the clusters; the conditions themselves, for an interval over new ones.

    Raises:
        EmptySelectionError: no condition is left.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), table 2, where correlations drop such conditions;
    `smooth_interval`.
    """
    if len(conditions) != len(x):
        raise AlignmentError(f"every row must have one condition, got {len(x)} rows and {len(conditions)} conditions.")
    cluster_codes((x, clusters), (y, clusters))
    kept = varied_conditions(y, conditions, min_sd=min_sd)
    if not kept.any():
        raise EmptySelectionError(
            f"no condition has a standard deviation of at least {min_sd:g}.",
            "Within such conditions there is nothing to correlate with; report the overall correlation alone.",
        )
    x, y, codes = x[kept], y[kept], np.unique(conditions[kept].astype(str), return_inverse=True)[1]
    second = None if also is None else also[kept]
    resampling = Resampling.of((x, clusters[kept], second), n_resamples=n_resamples, seed=seed)
    smooth = CorrelationOf(x, y, codes)
    with np.errstate(all="ignore"):
        estimate = float(np.tanh(smooth.value(smooth.columns.sum(axis=0, keepdims=True))[0]))
    return smooth_interval(smooth, estimate, resampling, level=level)


def varied_conditions(y: Vector, conditions: Labels, *, min_sd: float) -> Bool[np.ndarray, " _"]:
    """Which rows are in a condition whose standard deviation of `y` (n - 1) is at least `min_sd` and above 0."""
    kept = np.zeros(len(y), dtype=bool)
    for condition in np.unique(conditions.astype(str)):
        here = conditions.astype(str) == condition
        kept |= here & (here.sum() > 1 and np.ptp(y[here]) > 0 and np.std(y[here], ddof=1) >= min_sd)
    return kept


def hedges_g_interval(
    positive: Vector,
    negative: Vector,
    clusters_positive: Labels,
    clusters_negative: Labels,
    *,
    n_resamples: int = N_RESAMPLES,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Hedges' g: mean difference over pooled standard deviation, small-sample bias removed, with its interval.

    Above 0 where positives are larger. Symmetric bootstrap-t; a draw takes the same clusters on both sides. Measured
    coverage: tests/golden/levels/intervals.csv.
    """
    sides = (positive, clusters_positive, None), (negative, clusters_negative, None)
    resampling = Resampling.of(*sides, n_resamples=n_resamples, seed=seed)
    estimate = cohens_d(positive, negative, hedges_correction=True)
    return smooth_interval(HedgesG(positive, negative), estimate, resampling, level=level)


def standardised_change(
    treated: Float[np.ndarray, "treated judge"],
    untreated: Float[np.ndarray, "untreated judge"],
    clusters_treated: Labels,
    clusters_untreated: Labels,
    *,
    least: float = 0.0,
    n_resamples: int = N_RESAMPLES,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Mean over judges of the mean change in standard deviations of the untreated rows, with its interval.

    Above 0 where treated rows are rated higher. Symmetric bootstrap-t on the scale asinh(d / 2), where its error hardly
    depends on d. Every draw takes the same clusters on both sides, and standardises on
    its own untreated rows, so that the interval holds no standard fixed. Measured coverage:
    tests/golden/levels/intervals.csv.

    Args:
        least: a deviation counts as at least this much, so that a judge that rates all untreated rows alike counts.

    Source: Glass 1976, Primary, Secondary, and Meta-Analysis of Research (delta by the control group's deviation);
    Hedges and Olkin 1985, Statistical Methods for Meta-Analysis (the scale); `smooth_interval`.
    """
    sides = (treated[:, 0], clusters_treated, None), (untreated[:, 0], clusters_untreated, None)
    resampling = Resampling.of(*sides, n_resamples=n_resamples, seed=seed)
    smooth = StandardisedChange(treated.astype(float), untreated.astype(float), least=least)
    with np.errstate(all="ignore"):
        estimate = smooth.back(float(smooth.value(smooth.columns.sum(axis=0, keepdims=True))[0]))
    return smooth_interval(smooth, estimate, resampling, level=level)


def cliffs_delta_interval(
    positive: Vector,
    negative: Vector,
    clusters_positive: Labels,
    clusters_negative: Labels,
    *,
    level: float = CONFIDENCE,
) -> Interval:
    """Cliff's delta, 2 AUC - 1, with the interval of the AUC (`auc_intervals`)."""
    columns = positive[:, None], negative[:, None]
    (of_auc,) = auc_intervals(*columns, clusters_positive, clusters_negative, level=level)
    low, high = (2 * bound - 1 for bound in (of_auc.low, of_auc.high))
    return replace(of_auc, estimate=cliffs_delta(positive, negative), low=low, high=high)


def _by_chunk(
    resampling: Resampling, statistic: Callable[[Weights], Float[np.ndarray, " draw"]]
) -> Float[np.ndarray, " all"]:
    """The statistic of the row weights of all draws, some draws at a time."""
    n_draws, size = len(resampling.counts), max(1, MAX_ELEMENTS // len(resampling.codes))
    starts = range(0, n_draws, size)
    return np.concatenate([statistic(resampling.weights(slice(start, start + size))) for start in starts])


def _ranked(weights: Weights, x: Vector, y: Vector) -> Draws:
    """Weighted Spearman correlation of every draw: each is ranked anew, ties (and copies of a row) at their mean."""
    total = weights.sum(axis=1, keepdims=True)
    a, b = (_weighted_ranks(weights, column) - (total + 1) / 2 for column in (x, y))
    moments = ((weights * first * second).sum(axis=1) for first, second in ((a, b), (a, a), (b, b)))
    return _correlation(*moments, floors=(0.1, 0.1))  # where ranks differ at all, their squares sum to 0.5 or more


def _weighted_ranks(weights: Weights, values: Vector) -> Weights:
    """Rank of every row in every draw, as if each row were there as often as its weight says."""
    groups = np.unique(values, return_inverse=True)[1]
    sizes = np.zeros((len(weights), int(groups.max()) + 1))
    np.add.at(sizes.T, groups, weights.T)
    return (np.cumsum(sizes, axis=1) - (sizes - 1) / 2)[:, groups]


def _correlation(xy: Draws, xx: Draws, yy: Draws, *, floors: tuple[float, float]) -> Draws:
    """Ratio xy / sqrt(xx yy); NaN where a column does not vary."""
    varies = (xx > floors[0]) & (yy > floors[1])
    below = np.sqrt(np.where(varies, xx * yy, 1.0))
    return np.where(varies, np.clip(xy / below, -1, 1), np.nan)
