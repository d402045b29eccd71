"""Intervals of smooth functions of sums: symmetric bootstrap-t over clusters, Satterthwaite's t over crossed factors.

Mean, difference, correlation and effect size are functions of weighted sums of columns. Their gradient gives the share
that every cluster has in the error, hence a standard error, of the estimate and of every draw alike.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t as student

from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import Interval, Resampling, check_level

Sums = Float[np.ndarray, "draw column"]
Draws = Float[np.ndarray, " draw"]
Parts = Float[np.ndarray, "draw condition"]

SMALLEST_ERROR = 0.2
"""A draw's standard error counts as at least this share of the estimate's: draws of equal clusters have none."""

WIDEST = 2.0
"""The bootstrap's quantile lies between Student's and this many times it."""

_ELEMENTS_AT_ONCE = 4_000_000


@runtime_checkable
class Smooth(Protocol):
    """A function of weighted column sums on the scale where its errors are nearest to symmetric; NaN where undefined.

    It does not change when all sums are multiplied by one number. `skewed` says whether its errors may still be skewed,
    as those of a mean of skewed rows are.
    """

    columns: Float[np.ndarray, "_ column"]
    skewed: bool

    def value(self, sums: Sums) -> Draws:
        """The function of the sums of each draw."""
        ...

    def gradient(self, sums: Sums) -> Sums:
        """Its derivatives by the sums."""
        ...

    def back(self, value: float) -> float:
        """From that scale to the units of the estimate, rising."""
        ...


def smooth_interval(
    smooth: Smooth, estimate: float, resampling: Resampling, *, level: float, bounds: tuple[float, float] | None = None
) -> Interval:
    """The estimate with its interval; NaN bounds with one cluster, one level of the second factor, or no value.

    One factor: estimate +- q SE, where q is the quantile of |draw - estimate| / SE(draw) over bootstrap draws of
    clusters (between 1 and 2 times Student's, SE(draw) at least a fifth of SE), and where errors may be skewed no less
    than the farther of the two quantiles that leave out half as much at either end. Two crossed factors: the variance
    is that of the first, plus that of the second, minus that of their cells, q is Student's with Satterthwaite's
    degrees of freedom, and the interval is no narrower than that of the first alone. Whatever is not resampled is held
    fixed.

    Source: Hall 1988, On Symmetric Bootstrap Confidence Intervals; Cameron, Gelbach and Miller 2011, Robust Inference
    with Multiway Clustering; Satterthwaite 1946.
    """
    check_level(level)
    n_clusters = resampling.counts.shape[1]
    n_also = resampling.also_counts.shape[1] if resampling.crossed else None
    low, high, error, freedom = [float("nan")] * 4
    if n_clusters > 1 and n_also != 1:
        sums = smooth.columns.sum(axis=0, keepdims=True)
        with np.errstate(all="ignore"):
            centre, shares = float(smooth.value(sums)[0]), smooth.columns @ smooth.gradient(sums)[0]
        if np.isfinite(centre) and np.isfinite(shares).all():
            error, freedom = _error(resampling, shares), n_clusters - 1.0
            half = _bootstrap_t(smooth, resampling, centre, error, level)
            if n_also is not None:
                crossed = _crossed(smooth, resampling, shares)
                half = max(half, _half(*crossed, level))
                error, freedom = max((error, freedom), crossed, key=lambda known: _half(*known, CONFIDENCE))
            low, high = smooth.back(centre - half), smooth.back(centre + half)
            if bounds is not None:
                low, high = max(low, bounds[0]), min(high, bounds[1])
    counts = len(resampling.codes), n_clusters
    return Interval(estimate, float(low), float(high), *counts, level, n_also, error=error, freedom=freedom)


def _error(resampling: Resampling, shares: Float[np.ndarray, " _"]) -> float:
    """Standard error over clusters, from the share that every row has in it."""
    n = resampling.counts.shape[1]
    return float(np.sqrt(n / (n - 1) * (np.bincount(resampling.codes, shares, n) ** 2).sum()))


def _half(error: float, freedom: float, level: float) -> float:
    """Half the width of Student's t interval."""
    return float(student.ppf((1 + level) / 2, freedom)) * error


def _bootstrap_t(smooth: Smooth, resampling: Resampling, centre: float, error: float, level: float) -> float:
    """Half the width of the symmetric bootstrap-t interval; NaN where more than half of the draws have no value."""
    n = resampling.counts.shape[1]
    totals = np.zeros((n, smooth.columns.shape[1]))
    np.add.at(totals, resampling.codes, smooth.columns)
    quantile = float(student.ppf((1 + level) / 2, n - 1))
    if error <= 1e-12 * max(1.0, abs(centre)):
        return 0.0
    found = np.concatenate([_studentised(smooth, counts, totals, centre, error) for counts in _blocks(resampling)])
    kept = found[np.isfinite(found)]
    if 2 * len(kept) < len(found):
        return float("nan")
    return float(np.clip(reach(kept, level, skewed=smooth.skewed), quantile, WIDEST * quantile) * error)


def reach(ratios: Float[np.ndarray, " draw *_"], level: float, *, skewed: bool) -> Float[np.ndarray, "*_"]:
    """How many standard errors an interval extends to either side, from those of the draws.

    Without skew the quantile of their size; with it no less than the farther of the two quantiles that leave out half
    as much at either end: a symmetric interval that is long enough for its longer tail.
    """
    found = np.asarray(np.quantile(np.abs(ratios), level, axis=0))
    if not skewed:
        return found
    tails = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(np.maximum(found, np.abs(tails).max(axis=0)))


def _studentised(
    smooth: Smooth,
    counts: Float[np.ndarray, "draw cluster"],
    totals: Float[np.ndarray, "cluster column"],
    centre: float,
    error: float,
) -> Draws:
    sums = counts @ totals
    with np.errstate(all="ignore"):
        values, shares = smooth.value(sums), smooth.gradient(sums) @ totals.T
        errors = np.sqrt(len(totals) / (len(totals) - 1) * (counts * shares**2).sum(axis=1))
        return (values - centre) / np.maximum(errors, SMALLEST_ERROR * error)


def _blocks(resampling: Resampling) -> Iterator[Float[np.ndarray, "draw cluster"]]:
    size = max(1, _ELEMENTS_AT_ONCE // resampling.counts.shape[1])
    for start in range(0, len(resampling.counts), size):
        yield resampling.counts[start : start + size]


def _crossed(smooth: Smooth, resampling: Resampling, shares: Float[np.ndarray, " _"]) -> tuple[float, float]:
    """Standard error over two crossed factors, and Satterthwaite's degrees of freedom."""
    n, m = resampling.counts.shape[1], resampling.also_counts.shape[1]
    of_first, of_second = (_jackknife(smooth, codes) for codes in (resampling.codes, resampling.also_codes))
    cells = np.bincount(resampling.codes * m + resampling.also_codes, shares)
    if not np.isfinite(of_first + of_second):
        return float("nan"), 1.0
    variance = max(of_first + of_second - (cells**2).sum(), of_first, of_second)
    if variance <= 0:
        return 0.0, 1.0
    freedom = variance**2 / (of_first**2 / (n - 1) + of_second**2 / (m - 1))
    return float(np.sqrt(variance)), float(np.clip(freedom, min(n, m) - 1, n + m - 2))


def _jackknife(smooth: Smooth, codes: Int[np.ndarray, " _"]) -> float:
    """Variance from leaving out each cluster in turn."""
    totals = np.zeros((int(codes.max()) + 1, smooth.columns.shape[1]))
    np.add.at(totals, codes, smooth.columns)
    with np.errstate(all="ignore"):
        without = smooth.value(totals.sum(axis=0) - totals)
        return float((len(totals) - 1) / len(totals) * ((without - without.mean()) ** 2).sum())
