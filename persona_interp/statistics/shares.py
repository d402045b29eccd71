"""Shares of hits with intervals that stay within 0 and 1, whether trials are independent or come in clusters."""

import numpy as np
from jaxtyping import Bool
from scipy.stats import beta
from scipy.stats import t as student

from persona_interp.errors import AlignmentError
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import Interval, check_level
from persona_interp.statistics.rows import Labels, cluster_codes


def exact_share(hits: int, n: int, *, level: float = CONFIDENCE) -> Interval:
    """The share hits / n with the exact binomial interval, which covers at least at its level whatever n.

    Raises:
        AlignmentError: more hits than trials, or no trial.

    Source: Clopper and Pearson 1934, The Use of Confidence or Fiducial Limits.
    """
    check_level(level)
    if not 0 <= hits <= n or n < 1:
        raise AlignmentError(f"a share must have 0 <= hits <= n and n >= 1, got {hits} of {n}.")
    low, high = _bounds(hits / n, float(n), level)
    return Interval(hits / n, low, high, n, n, level, over="row")


def clustered_share(hits: Bool[np.ndarray, " _"], clusters: Labels, *, level: float = CONFIDENCE) -> Interval:
    """The share of hits among rows that come in clusters; NaN bounds with one cluster.

    The exact interval of as many trials as have the variance found between clusters, fewer for its degrees of freedom;
    where every row is a hit or none is, of one trial a cluster. Measured coverage at level 0.95:
    tests/golden/levels/intervals.csv.

    Source: Korn and Graubard 1998, Confidence Intervals for Proportions with Small Expected Number of Positive Counts.
    """
    check_level(level)
    codes = cluster_codes((hits.astype(float), clusters))
    n, share = int(codes.max()) + 1, float(np.mean(hits))
    if n < 2:
        return Interval(share, float("nan"), float("nan"), len(hits), n, level)
    sums = np.bincount(codes, (hits - share) / len(hits), n)
    variance = float((sums**2).sum()) * n / (n - 1)
    trials = share * (1 - share) / variance if variance > 0 else float(n)
    tail = (1 + level) / 2
    trials *= (student.ppf(tail, max(1, len(hits) - 1)) / student.ppf(tail, n - 1)) ** 2
    low, high = _bounds(share, float(min(trials, len(hits))), level)
    return Interval(share, low, high, len(hits), n, level)


def _bounds(share: float, n: float, level: float) -> tuple[float, float]:
    tail, hits = (1 - level) / 2, share * n
    low = 0.0 if share == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if share == 1 else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high
