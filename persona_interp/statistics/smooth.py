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
from persona_interp.statistics.rows import Vector

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


class MeanOf:
    """The mean of all rows."""

    skewed = True

    def __init__(self, values: Vector) -> None:
        self.columns = np.stack([np.ones(len(values)), values], axis=1).astype(float)

    def value(self, sums: Sums) -> Draws:
        """The mean."""
        return sums[:, 1] / sums[:, 0]

    def gradient(self, sums: Sums) -> Sums:
        """By count and sum."""
        return np.stack([-sums[:, 1] / sums[:, 0] ** 2, 1 / sums[:, 0]], axis=1)

    def back(self, value: float) -> float:
        """Its own units."""
        return value


class DifferenceOf:
    """Mean of `a` minus mean of `b`, over the rows of `a` and then those of `b`."""

    skewed = True

    def __init__(self, a: Vector, b: Vector) -> None:
        self.columns = _sides(a, b, 1)

    def value(self, sums: Sums) -> Draws:
        """The difference."""
        return sums[:, 1] / sums[:, 0] - sums[:, 3] / sums[:, 2]

    def gradient(self, sums: Sums) -> Sums:
        """By count and sum of either side."""
        n, of_a, m, of_b = sums.T
        return np.stack([-of_a / n**2, 1 / n, of_b / m**2, -1 / m], axis=1)

    def back(self, value: float) -> float:
        """Its own units."""
        return value


class HedgesG:
    """Difference of means over the pooled standard deviation, corrected for its small-sample bias.

    The rows of `positive` come first.
    """

    skewed = False

    def __init__(self, positive: Vector, negative: Vector) -> None:
        both = np.concatenate([positive, negative])
        self.columns = _sides(positive - float(np.mean(both)), negative - float(np.mean(both)), 2)
        self._least = 1e-18 * float(np.var(both))

    def value(self, sums: Sums) -> Draws:
        """The effect size."""
        difference, spread, correction = self._parts(sums)
        return correction * difference / np.sqrt(spread)

    def gradient(self, sums: Sums) -> Sums:
        """By count, sum and sum of squares of either side; the correction's own change with the counts is left out."""
        n, a, _, m, b, _ = sums.T
        difference, spread, correction = self._parts(sums)
        freedom = n + m - 2
        by_difference = correction / np.sqrt(spread)
        by_squares = -correction * difference / (2 * spread**1.5) / freedom
        by_size = -by_squares * spread
        return np.stack(
            [
                -by_difference * a / n**2 + by_squares * (a / n) ** 2 + by_size,
                by_difference / n - 2 * by_squares * a / n,
                by_squares,
                by_difference * b / m**2 + by_squares * (b / m) ** 2 + by_size,
                -by_difference / m - 2 * by_squares * b / m,
                by_squares,
            ],
            axis=1,
        )

    def back(self, value: float) -> float:
        """Its own units."""
        return value

    def _parts(self, sums: Sums) -> tuple[Draws, Draws, Draws]:
        n, a, aa, m, b, bb = sums.T
        freedom = n + m - 2
        spread = (aa - a**2 / n + bb - b**2 / m) / freedom
        return a / n - b / m, np.where(spread > self._least, spread, np.nan), 1 - 3 / (4 * freedom - 1)


class CorrelationOf:
    """Pearson's r after each condition's means are taken off, on Fisher's scale; one condition gives the plain r."""

    skewed = False

    def __init__(self, x: Vector, y: Vector, conditions: Int[np.ndarray, " _"]) -> None:
        member = np.eye(int(conditions.max()) + 1)[conditions]
        a, b = (
            column - member @ (member.T @ column / member.sum(axis=0)) for column in (x.astype(float), y.astype(float))
        )
        self._least = rounding(a, x), rounding(b, y)
        products = np.stack([a * b, a * a, b * b], axis=1)
        self.columns = np.concatenate([products, member, member * a[:, None], member * b[:, None]], axis=1)

    def value(self, sums: Sums) -> Draws:
        """Fisher's z."""
        xy, xx, yy, *_ = self._parts(sums)
        return np.arctanh(np.clip(xy / np.sqrt(xx * yy), -1, 1))

    def gradient(self, sums: Sums) -> Sums:
        """By the three sums of products, and each condition's count and sums."""
        xy, xx, yy, of_a, of_b, share = self._parts(sums)
        r = np.clip(xy / np.sqrt(xx * yy), -1, 1)
        by_xy, by_xx, by_yy = (
            (factor / (1 - r**2))[:, None] for factor in (1 / np.sqrt(xx * yy), -r / (2 * xx), -r / (2 * yy))
        )
        means_a, means_b = of_a * share, of_b * share
        by_size = by_xy * means_a * means_b + by_xx * means_a**2 + by_yy * means_b**2
        by_a, by_b = -by_xy * means_b - 2 * by_xx * means_a, -by_xy * means_a - 2 * by_yy * means_b
        return np.concatenate([by_xy, by_xx, by_yy, by_size, by_a, by_b], axis=1)

    def back(self, value: float) -> float:
        """Fisher's z as r."""
        return float(np.tanh(value))

    def _parts(self, sums: Sums) -> tuple[Draws, Draws, Draws, Parts, Parts, Parts]:
        sizes, of_a, of_b = np.split(sums[:, 3:], 3, axis=1)
        share = np.divide(1, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        xy, xx, yy = (
            sums[:, k] - (first * second * share).sum(axis=1)
            for k, (first, second) in enumerate(((of_a, of_b), (of_a, of_a), (of_b, of_b)))
        )
        least_x, least_y = self._least
        return xy, np.where(xx > least_x, xx, np.nan), np.where(yy > least_y, yy, np.nan), of_a, of_b, share


def rounding(centred: Vector, column: Vector) -> float:
    """Sums of squares up to this are rounding error."""
    return float(max(1e-12 * (centred @ centred), 1e-28 * (column @ column), 1e-300))


def _sides(first: Vector, second: Vector, powers: int) -> Float[np.ndarray, "_ column"]:
    """Powers 0, 1, ... of the values of each side, zero on the rows of the other."""
    of_first, of_second = (
        np.stack([side.astype(float) ** k for k in range(powers + 1)], axis=1) for side in (first, second)
    )
    return np.block([[of_first, np.zeros_like(of_first)], [np.zeros_like(of_second), of_second]])
