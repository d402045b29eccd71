"""Bootstrap intervals of correlations and effect sizes; every draw is computed from row weights, none copies rows."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.statistics.effects import cliffs_delta, cohens_d, pearson, spearman
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import Interval, Resampling, bootstrap_auc_by_layer, ratio
from persona_interp.statistics.rows import Labels, Vector, cluster_codes

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
    n_resamples: int = 2000,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Correlation of two columns over all rows, -1 to 1, with a cluster bootstrap.

    Equal to `bootstrap_statistic(pearson or spearman, ...)`, draw by draw, but faster. NaN where a column is constant.
    At level 0.95 the measured coverage with clusters of four rows is 0.92 for Pearson and 0.95 for Spearman with 20
    clusters, 0.93 and 0.94 with 40 (1,000 simulated sets each).

    Args:
        also: a second, crossed factor of each row, such as its seed.
    """
    cluster_codes((x, clusters), (y, clusters))
    resampling = Resampling.of((x, clusters, also), n_resamples=n_resamples, seed=seed)
    if kind == "pearson":
        draws = _by_chunk(resampling, lambda weights: _pooled(weights, x, y, np.zeros(len(x), dtype=int)))
        return resampling.interval(pearson(x, y), draws, level)
    draws = _by_chunk(resampling, lambda weights: _ranked(weights, x, y))
    return resampling.interval(spearman(x, y), draws, level)


def within_condition_correlation(
    x: Vector,
    y: Vector,
    conditions: Labels,
    *,
    clusters: Labels,
    min_sd: float = 1.0,
    also: Labels | None = None,
    n_resamples: int = 2000,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Pearson correlation of `x` and `y` after each condition's own means are taken off, pooled over conditions.

    What is left of a correlation when the differences between conditions (system prompts, numbers of shots) do not
    count. Clusters (questions) may have rows in several conditions. Draws demean anew. `n` counts the rows used.
    Measured coverage at level 0.95: 0.91 with 20 questions in 8 conditions (1,000 simulated sets).

    Args:
        min_sd: conditions whose standard deviation of `y` (n - 1) is below it, in the units of `y`, are left out, once
            and for all draws; so are conditions of one row. For expression scores 0..100 the paper uses 1.

    Raises:
        EmptySelectionError: no condition is left.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), table 2, where correlations drop such conditions.
    """
    if len(conditions) != len(x):
        raise AlignmentError(f"{len(x)} rows came with {len(conditions)} conditions.", "Every row needs its own.")
    cluster_codes((x, clusters), (y, clusters))
    kept = varied_conditions(y, conditions, min_sd=min_sd)
    if not kept.any():
        raise EmptySelectionError(
            f"no condition has a standard deviation of at least {min_sd:g}.",
            "Within such conditions there is nothing to correlate with; report the overall correlation alone.",
        )
    x, y, codes = x[kept], y[kept], np.unique(conditions[kept].astype(str), return_inverse=True)[1]
    seeds = None if also is None else also[kept]
    resampling = Resampling.of((x, clusters[kept], seeds), n_resamples=n_resamples, seed=seed)
    estimate = _pooled(np.ones((1, len(x))), x, y, codes)[0]
    draws = _by_chunk(resampling, lambda weights: _pooled(weights, x, y, codes))
    return resampling.interval(float(estimate), draws, level)


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
    n_resamples: int = 2000,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Hedges' g: mean difference over pooled standard deviation, small-sample bias removed, with a cluster bootstrap.

    Above 0 where positives are larger. A draw takes the same clusters on both sides. Measured coverage at level 0.95
    for g = 0.8: 0.88, 0.93 and 0.93 with 10, 20 and 40 clusters of two rows a side (1,000 simulated sets each).
    """
    n_positive, sides = len(positive), ((positive, clusters_positive, None), (negative, clusters_negative, None))
    resampling = Resampling.of(*sides, n_resamples=n_resamples, seed=seed)
    centre = float(np.mean(np.concatenate([positive, negative])))
    sizes, means, squares = [], [], []
    for side, rows in ((positive - centre, slice(n_positive)), (negative - centre, slice(n_positive, None))):
        sizes.append(resampling.sums(np.ones(len(side)), rows))
        means.append(resampling.means(side, rows))
        squares.append(resampling.sums(side**2, rows) - sizes[-1] * means[-1] ** 2)
    freedom = sizes[0] + sizes[1] - 2
    spread = np.sqrt(np.maximum(ratio(squares[0] + squares[1], freedom), 0))
    draws = (1 - 3 / (4 * np.maximum(freedom, 1) - 1)) * (means[0] - means[1])
    floor = 1e-9 * np.std(np.concatenate([positive, negative]))  # a draw of equal rows has rounding error as spread
    draws = np.divide(draws, spread, out=np.full_like(draws, np.nan), where=spread > floor)
    return resampling.interval(cohens_d(positive, negative, hedges_correction=True), draws, level)


def cliffs_delta_interval(
    positive: Vector,
    negative: Vector,
    clusters_positive: Labels,
    clusters_negative: Labels,
    *,
    n_resamples: int = 2000,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Cliff's delta, 2 AUC - 1, with the cluster bootstrap of the AUC.

    Measured coverage at level 0.95, as in `hedges_g_interval`: 0.90, 0.94 and 0.94.
    """
    columns, options = (positive[:, None], negative[:, None]), {"level": level, "seed": seed}
    of_auc = bootstrap_auc_by_layer(*columns, clusters_positive, clusters_negative, n_resamples=n_resamples, **options)
    low, high = (2 * bound - 1 for bound in (of_auc[0].low, of_auc[0].high))
    return Interval(cliffs_delta(positive, negative), low, high, of_auc[0].n, of_auc[0].n_clusters, level)


def _by_chunk(
    resampling: Resampling, statistic: Callable[[Weights], Float[np.ndarray, " draw"]]
) -> Float[np.ndarray, " all"]:
    """The statistic of the row weights of all draws, some draws at a time."""
    n_draws, size = len(resampling.counts), max(1, MAX_ELEMENTS // len(resampling.codes))
    starts = range(0, n_draws, size)
    return np.concatenate([statistic(resampling.weights(slice(start, start + size))) for start in starts])


def _pooled(weights: Weights, x: Vector, y: Vector, conditions: Int[np.ndarray, " _"]) -> Draws:
    """Weighted correlation of every draw within conditions, from weighted sums; NaN where nothing varies."""
    member = np.eye(int(conditions.max()) + 1)[conditions]
    a, b = (column - member @ (member.T @ column / member.sum(axis=0)) for column in (x, y))
    sizes = weights @ member
    shares = np.divide(1, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    sums_a, sums_b = weights @ (member * a[:, None]), weights @ (member * b[:, None])
    moments = (
        weights @ (first * second) - (sums * others * shares).sum(axis=1)
        for first, second, sums, others in ((a, b, sums_a, sums_b), (a, a, sums_a, sums_a), (b, b, sums_b, sums_b))
    )
    return _correlation(*moments, floors=(_rounding(a, x), _rounding(b, y)))


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


def _rounding(centred: Vector, column: Vector) -> float:
    """Sums of squares up to this are rounding error."""
    return float(max(1e-12 * (centred @ centred), 1e-28 * (column @ column), 1e-300))


def _correlation(xy: Draws, xx: Draws, yy: Draws, *, floors: tuple[float, float]) -> Draws:
    """Ratio xy / sqrt(xx yy); NaN where a column does not vary."""
    varies = (xx > floors[0]) & (yy > floors[1])
    below = np.sqrt(np.where(varies, xx * yy, 1.0))
    return np.where(varies, np.clip(xy / below, -1, 1), np.nan)
