"""Agreement between raters."""

import numpy as np
from jaxtyping import Num

from persona_interp.statistics.levels import CONFIDENCE, N_RESAMPLES
from persona_interp.statistics.resampling import Interval, Resampling
from persona_interp.statistics.rows import Labels


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


def alpha_interval(
    ratings: Num[np.ndarray, "rater item"],
    clusters: Labels,
    *,
    n_resamples: int = N_RESAMPLES,
    level: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """`krippendorff_alpha_interval` with the stretched percentile interval of a bootstrap over clusters of items.

    NaN bounds with one cluster. The raters are held fixed. `n` counts the items with two ratings or more. Measured
    coverage: tests/golden/levels/intervals.csv.

    Args:
        clusters: one label an item: its own, or the question where answers to one question resemble each other.
    """
    paired = np.sum(~np.isnan(ratings), axis=0) > 1
    ratings, clusters = ratings[:, paired], clusters[paired]
    resampling = Resampling.of((np.zeros(len(clusters)), clusters, None), n_resamples=n_resamples, seed=seed)
    counts = np.sum(~np.isnan(ratings), axis=0)
    centred = ratings - np.nanmean(ratings)
    within = np.nansum((ratings - np.nanmean(ratings, axis=0)) ** 2, axis=0) * counts / (counts - 1)
    columns = counts, np.nansum(centred, axis=0), np.nansum(centred**2, axis=0), within
    n, total, squares, observed = (resampling.sums(column) for column in columns)
    expected = (squares - total**2 / n) / (n - 1)
    varied = expected > 1e-12 * float(np.nanmean(centred**2))
    draws = 1 - np.divide(observed / n, expected, out=np.full_like(n, np.nan), where=varied)
    return resampling.interval(krippendorff_alpha_interval(ratings), draws, level, bounds=(-np.inf, 1.0))
