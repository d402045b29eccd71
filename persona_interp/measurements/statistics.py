"""Intervals, tests and agreement for clustered measurements; numpy only, every seed explicit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num, Shaped
from scipy.stats import rankdata

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError

Vector = Num[np.ndarray, " _"]
Labels = Shaped[np.ndarray, " _"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds, in the units of what was estimated; NaN bounds where none can be given."""

    estimate: float
    low: float
    high: float
    n: int
    n_clusters: int
    level: float = 0.95

    def __str__(self) -> str:
        """`0.42 [0.31, 0.53] (n = 40, 20 questions)`."""
        questions = f"{self.n_clusters} question{'' if self.n_clusters == 1 else 's'}"
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}] (n = {self.n}, {questions})"


def bootstrap_mean(
    values: Vector, clusters: Labels, *, n_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of all rows, with the percentile interval of a cluster bootstrap.

    Whole clusters are drawn with replacement and bring all their rows. With one cluster the bounds are NaN.
    Few clusters give too narrow an interval: at level 0.95 the measured coverage is 0.89, 0.93, 0.93 and 0.94 with
    8, 20, 40 and 100 clusters of two rows whose effects are normal, and 0.86, 0.90, 0.92 and 0.94 where they are
    exponential (3,000 simulated sets each; the golden tests repeat 20 clusters).
    """
    codes = _codes((values, clusters))
    counts = _cluster_counts(codes, n_resamples, seed)
    draws = _resampled_means(values, codes, counts)
    return _interval(float(np.mean(values)), draws, codes, level)


def bootstrap_difference(
    a: Vector,
    b: Vector,
    clusters_a: Labels,
    clusters_b: Labels,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean of `a` minus mean of `b`, with a cluster bootstrap that is paired over shared clusters.

    Each draw resamples the union of the clusters once, for both sides. Draws in which a side has no row are
    dropped. Undercovers as `bootstrap_mean` does.
    """
    codes = _codes((a, clusters_a), (b, clusters_b))
    counts = _cluster_counts(codes, n_resamples, seed)
    draws = _resampled_means(a, codes[: len(a)], counts) - _resampled_means(b, codes[len(a) :], counts)
    return _interval(float(np.mean(a) - np.mean(b)), draws, codes, level)


def bootstrap_statistic(
    statistic: Callable[..., float],
    columns: tuple[Vector, ...],
    clusters: Labels,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """`statistic(*columns)` with the percentile interval of a cluster bootstrap over the rows.

    For statistics that are not a mean, such as `spearman`. Draws where the statistic is NaN (a constant column)
    are dropped; where that is more than half of them the bounds are NaN.
    """
    codes = [_codes((column, clusters)) for column in columns][0]
    rows, counts = np.arange(len(codes)), _cluster_counts(codes, n_resamples, seed).astype(int)
    drawn = (np.repeat(rows, count[codes]) for count in counts)
    draws = np.array([statistic(*(column[chosen] for column in columns)) for chosen in drawn], dtype=float)
    return _interval(float(statistic(*columns)), draws, codes, level)


def pearson(x: Vector, y: Vector) -> float:
    """Pearson correlation, -1 to 1; NaN where a column is constant or has one row."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - np.mean(x), y - np.mean(y)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def spearman(x: Vector, y: Vector) -> float:
    """Spearman rank correlation, -1 to 1, ties at their mean rank; NaN where a column is constant."""
    return pearson(rankdata(x), rankdata(y))


def auc(positive: Vector, negative: Vector) -> float:
    """P(positive > negative) + P(positive = negative) / 2, the Mann-Whitney statistic over all pairs, 0 to 1."""
    return float(auc_by_layer(positive[:, None], negative[:, None])[0])


def auc_by_layer(
    positive: Num[np.ndarray, "positive layer"], negative: Num[np.ndarray, "negative layer"]
) -> Float[np.ndarray, " layer"]:
    """The AUC of every layer (any second axis will do), from rank sums; ties count one half."""
    _check_rows(positive, negative)
    n_positive, n_negative = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]), axis=0)
    smallest = n_positive * (n_positive + 1) / 2
    return (ranks[:n_positive].sum(axis=0) - smallest) / (n_positive * n_negative)


def bootstrap_auc_by_layer(
    positive: Num[np.ndarray, "positive layer"],
    negative: Num[np.ndarray, "negative layer"],
    clusters_positive: Labels,
    clusters_negative: Labels,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """The AUC of every layer with a cluster bootstrap; a draw takes the same clusters on both sides and all layers.

    A draw is a quadratic form of its cluster counts in the matrix of won comparisons; no row is copied.
    """
    estimates = auc_by_layer(positive, negative)
    codes = _codes((positive, clusters_positive), (negative, clusters_negative))
    counts = _cluster_counts(codes, n_resamples, seed)
    member = np.eye(counts.shape[1])[codes]
    of_positive, of_negative = member[: len(positive)], member[len(positive) :]
    pairs = (counts @ of_positive.sum(axis=0)) * (counts @ of_negative.sum(axis=0))
    intervals = []
    for layer, estimate in enumerate(estimates):
        ours, theirs = positive[:, layer, None], negative[None, :, layer]
        wins = of_positive.T @ ((ours > theirs) + 0.5 * (ours == theirs)) @ of_negative
        draws = _ratio(((counts @ wins) * counts).sum(axis=1), pairs)
        intervals.append(_interval(float(estimate), draws, codes, level))
    return intervals


def permutation_p_value(observed: float, null: Vector) -> float:
    """(1 + #{null >= observed}) / (1 + n): one-sided, never zero; NaN if anything is NaN."""
    if np.isnan(observed) or np.isnan(null).any():
        return float("nan")
    return float((1 + np.sum(null >= observed)) / (1 + len(null)))


def benjamini_hochberg(p_values: Vector) -> Float[np.ndarray, " _"]:
    """Adjusted p-values: reject where q <= rate to hold the false discovery rate. NaN stays NaN, uncounted.

    Source: Benjamini and Hochberg 1995, Controlling the False Discovery Rate.
    """
    q_values = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested])[::-1]]
    raw = p_values[order] * len(order) / np.arange(len(order), 0, -1)
    q_values[order] = np.minimum.accumulate(np.minimum(raw, 1.0))
    return q_values


def cohens_d(positive: Vector, negative: Vector, *, hedges_correction: bool = False) -> float:
    """(mean of positive - mean of negative) / pooled standard deviation; NaN where that is zero or unknown.

    Args:
        hedges_correction: multiply by 1 - 3 / (4 (n - 2) - 1), which removes the upward bias of small samples.
    """
    _check_rows(positive, negative)
    freedom = len(positive) + len(negative) - 2
    squares = sum(float(np.sum((side - np.mean(side)) ** 2)) for side in (positive, negative))
    if freedom < 1 or squares == 0:
        return float("nan")
    d = float(np.mean(positive) - np.mean(negative)) / np.sqrt(squares / freedom)
    return float(d * (1 - 3 / (4 * freedom - 1)) if hedges_correction else d)


def krippendorff_alpha_interval(ratings: Num[np.ndarray, "rater item"]) -> float:
    """1 - observed / expected disagreement with squared differences: 1 perfect, 0 chance; NaN ratings are missing.

    Items with fewer than two ratings do not count. NaN where all ratings are equal or none can be paired.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    raters = np.sum(~np.isnan(ratings), axis=0)
    ratings, raters = ratings[:, raters > 1], raters[raters > 1]
    values = ratings[~np.isnan(ratings)]
    if len(values) == 0 or np.ptp(values) == 0:
        return float("nan")
    within = np.nansum((ratings - np.nanmean(ratings, axis=0)) ** 2, axis=0)
    observed = np.sum(within * raters / (raters - 1)) / len(values)
    return float(1 - observed / np.var(values, ddof=1))


def _check_rows(*columns: Num[np.ndarray, "..."]) -> None:
    if any(len(column) == 0 for column in columns):
        came = " and ".join(str(len(column)) for column in columns)
        raise EmptySelectionError(f"a statistic was asked of no rows ({came} came).", "Look at what was filtered out.")


def _codes(*sides: tuple[Num[np.ndarray, "..."], Labels]) -> Int[np.ndarray, " _"]:
    """Clusters as 0, 1, ... over the rows of all sides, after checking rows, labels and values."""
    _check_rows(*(values for values, _ in sides))
    for values, clusters in sides:
        if len(clusters) != len(values):
            raise AlignmentError(
                f"{len(values)} rows came with {len(clusters)} cluster labels.", "Every row needs its own label."
            )
        if bad := int(np.sum(~np.isfinite(values))):
            raise AlignmentError(f"{bad} of {values.size} values are not finite.", "Leave those rows out first.")
    labels = np.concatenate([clusters for _, clusters in sides])
    return np.unique(labels.astype(str), return_inverse=True)[1]


def _cluster_counts(codes: Int[np.ndarray, " _"], n_resamples: int, seed: int) -> Float[np.ndarray, "draw cluster"]:
    """How often each draw contains each cluster: multinomial, so a row sums to the number of clusters."""
    if n_resamples < 1:
        raise ConfigError(f"a bootstrap cannot have {n_resamples} resamples.", "Use 1000 or more.")
    n_clusters = int(codes.max()) + 1
    shares = np.full(n_clusters, 1 / n_clusters)
    return np.random.default_rng(seed).multinomial(n_clusters, shares, size=n_resamples).astype(float)


def _resampled_means(
    values: Vector, codes: Int[np.ndarray, " _"], counts: Float[np.ndarray, "draw cluster"]
) -> Float[np.ndarray, " draw"]:
    """The mean of every draw, from the sum and the size of each cluster; NaN where a draw has no row."""
    sums, sizes = (np.bincount(codes, weights=x, minlength=counts.shape[1]) for x in (values, np.ones(len(values))))
    return _ratio(counts @ sums, counts @ sizes)


def _ratio(above: Float[np.ndarray, " draw"], below: Float[np.ndarray, " draw"]) -> Float[np.ndarray, " draw"]:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _interval(
    estimate: float, draws: Float[np.ndarray, " draw"], codes: Int[np.ndarray, " _"], level: float
) -> Interval:
    if not 0 < level < 1:
        raise ConfigError(f"an interval cannot have level {level}.", "Expected a number between 0 and 1, such as 0.95.")
    n_clusters, kept = int(codes.max()) + 1, draws[~np.isnan(draws)]
    low, high = float("nan"), float("nan")
    if n_clusters > 1 and 2 * len(kept) >= len(draws):
        low, high = (float(bound) for bound in np.quantile(kept, [(1 - level) / 2, (1 + level) / 2]))
    return Interval(estimate, low, high, len(codes), n_clusters, level)
