"""Shares of hits with intervals that stay within 0 and 1, whether trials are independent or come in clusters."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import beta, binom
from scipy.stats import t as student

from persona_interp.errors import AlignmentError
from persona_interp.statistics.levels import CONFIDENCE, POWER
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
    low, high = _bounds(share, _trials(hits, codes, level), level)
    return Interval(share, low, high, len(hits), n, level)


def share_difference(
    a: Bool[np.ndarray, " _"],
    b: Bool[np.ndarray, " _"],
    clusters_a: Labels,
    clusters_b: Labels,
    *,
    level: float = CONFIDENCE,
) -> Interval:
    """The share of hits among `a` minus that among `b`, with an interval that has a width where both are 0 or 1.

    The distance of each bound from the difference is the root of the summed squares of those of the two shares
    (`clustered_share`). Rows of both sides that share clusters usually go together, so that it is wide rather than
    narrow for them. NaN bounds with one cluster. Measured coverage: tests/golden/levels/intervals.csv.

    Source: Zou and Donner 2008, Construction of Confidence Limits about Effect Measures; Newcombe 1998.
    """
    first, second = clustered_share(a, clusters_a, level=level), clustered_share(b, clusters_b, level=level)
    estimate = first.estimate - second.estimate
    low = estimate - np.hypot(first.estimate - first.low, second.high - second.estimate)
    high = estimate + np.hypot(first.high - first.estimate, second.estimate - second.low)
    n_clusters = len(np.union1d(clusters_a.astype(str), clusters_b.astype(str)))
    return Interval(estimate, float(low), float(high), len(a) + len(b), n_clusters, level)


def detectable_rise(
    a: Bool[np.ndarray, " _"],
    b: Bool[np.ndarray, " _"],
    clusters_a: Labels,
    clusters_b: Labels,
    *,
    level: float = CONFIDENCE,
) -> float:
    """The least rise above the share of hits among `b` that `share_difference` puts above zero in 80 % of repetitions.

    Of independent trials of the two sides, as many as the intervals of their shares count, the share of `b` being true;
    NaN where no share is large enough, or with one cluster.
    """
    check_level(level)
    sides = [(hits, cluster_codes((hits.astype(float), labels))) for hits, labels in ((a, clusters_a), (b, clusters_b))]
    if any(codes.max() < 1 for _, codes in sides):
        return float("nan")
    n, m = (max(1, round(_trials(hits, codes, level))) for hits, codes in sides)
    known = float(np.mean(b))
    (low, _), (_, high) = (_all_bounds(size, level) for size in (n, m))
    p, q = np.arange(n + 1)[:, None] / n, np.arange(m + 1) / m
    found = p - q > np.hypot(p - low[:, None], high - q)
    of_b = binom.pmf(np.arange(m + 1), m, known)
    shares = np.linspace(known, 1, 401)[1:]
    power = binom.pmf(np.arange(n + 1), n, shares[:, None]) @ (found @ of_b)
    enough = np.flatnonzero(power >= POWER)
    return float(shares[enough[0]] - known) if len(enough) else float("nan")


def _trials(hits: Bool[np.ndarray, " _"], codes: Int[np.ndarray, " _"], level: float) -> float:
    """Independent trials that say as much as rows in clusters."""
    n, share = int(codes.max()) + 1, float(np.mean(hits))
    sums = np.bincount(codes, (hits - share) / len(hits), n)
    variance = float((sums**2).sum()) * n / (n - 1)
    trials = share * (1 - share) / variance if variance > 0 else float(n)
    tail = (1 + level) / 2
    trials *= (student.ppf(tail, max(1, len(hits) - 1)) / student.ppf(tail, n - 1)) ** 2
    return float(min(trials, len(hits)))


def _all_bounds(n: int, level: float) -> tuple[Float[np.ndarray, " hits"], Float[np.ndarray, " hits"]]:
    """The exact bounds of every number of hits among n."""
    low, high = np.transpose([_bounds(hits / n, float(n), level) for hits in range(n + 1)])
    return low, high


def _bounds(share: float, n: float, level: float) -> tuple[float, float]:
    tail, hits = (1 - level) / 2, share * n
    low = 0.0 if share == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if share == 1 else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high
