"""Mean, difference, effect sizes, correlation and slope as functions of weighted column sums, for `smooth_interval`."""

import numpy as np
from jaxtyping import Float, Int

from persona_interp.statistics.rows import Vector
from persona_interp.statistics.smooth import Draws, Parts, Sums

Column = Float[np.ndarray, "draw 1"]


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


class RatioOf:
    """The sum of `a` over the sum of `b`, over rows that have both."""

    skewed = True

    def __init__(self, a: Vector, b: Vector) -> None:
        self.columns = np.stack([a, b], axis=1).astype(float)

    def value(self, sums: Sums) -> Draws:
        """The ratio; NaN where `b` sums to nothing."""
        return sums[:, 0] / np.where(sums[:, 1] != 0, sums[:, 1], np.nan)

    def gradient(self, sums: Sums) -> Sums:
        """By both sums."""
        below = np.where(sums[:, 1] != 0, sums[:, 1], np.nan)
        return np.stack([1 / below, -sums[:, 0] / below**2], axis=1)

    def back(self, value: float) -> float:
        """Its own units."""
        return value


class DifferenceOf:
    """Mean of `a` minus mean of `b`, over the rows of `a`, then those of `b`."""

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


class StandardisedChange:
    """Mean over columns of (mean of `a` - mean of `b`) / deviation of `b`, over the rows of `a`, then those of `b`.

    On the scale asinh(d / 2), because the error of the deviation grows with d: the sign of a large change is as sure as
    it is before it is divided by anything.

    Args:
        least: a deviation counts as at least this much.

    Source: Hedges and Olkin 1985, Statistical Methods for Meta-Analysis, chapter 5 (the stabilised effect size).
    """

    skewed = True

    def __init__(self, a: Float[np.ndarray, "_ judge"], b: Float[np.ndarray, "other judge"], *, least: float) -> None:
        centre, self._n = b.mean(axis=0), a.shape[1]
        a, b = a - centre, b - centre
        of_a = np.concatenate([np.ones((len(a), 1)), a], axis=1)
        of_b = np.concatenate([np.ones((len(b), 1)), b, b**2], axis=1)
        above, below = np.zeros((len(a), of_b.shape[1])), np.zeros((len(b), of_a.shape[1]))
        self.columns = np.block([[of_a, above], [below, of_b]])
        self._unbiased = len(b) / (len(b) - 1)
        self._least = np.maximum(least**2, 1e-18 * np.var(np.concatenate([a, b]), axis=0))

    def value(self, sums: Sums) -> Draws:
        """The mean change in standard deviations, on the stabilised scale."""
        return np.arcsinh(self._mean(sums) / 2)

    def gradient(self, sums: Sums) -> Sums:
        """By count and sums of either side, and the sums of squares of `b`."""
        change, variance, mean_a, mean_b, n, m = self._parts(sums)
        by_change = 1 / np.sqrt(variance) / self._n
        by_variance = -change / (2 * variance**1.5) / self._n * self._unbiased * (variance > self._least)
        second, by_mean = sums[:, -self._n :] / m, 1 / np.sqrt(4 + self._mean(sums)[:, None] ** 2)
        return by_mean * np.concatenate(
            [
                -(by_change * mean_a / n).sum(axis=1, keepdims=True),
                by_change / n,
                ((by_change * mean_b + by_variance * (2 * mean_b**2 - second)) / m).sum(axis=1, keepdims=True),
                (-by_change - 2 * by_variance * mean_b) / m,
                by_variance / m,
            ],
            axis=1,
        )

    def back(self, value: float) -> float:
        """Standard deviations."""
        return float(2 * np.sinh(value))

    def _mean(self, sums: Sums) -> Draws:
        change, variance, *_ = self._parts(sums)
        return (change / np.sqrt(variance)).mean(axis=1)

    def _parts(self, sums: Sums) -> tuple[Parts, Parts, Parts, Parts, Column, Column]:
        k = self._n
        n, of_a, m, of_b, squares = np.split(sums, [1, 1 + k, 2 + k, 2 + 2 * k], axis=1)
        mean_a, mean_b = of_a / n, of_b / m
        variance = (squares / m - mean_b**2) * self._unbiased
        return mean_a - mean_b, np.maximum(variance, self._least), mean_a, mean_b, n, m


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


class SlopeOf:
    """The slope of the least-squares line of `y` on `x`."""

    skewed = True

    def __init__(self, x: Vector, y: Vector) -> None:
        a, b = x - float(np.mean(x)), y - float(np.mean(y))
        self._least = rounding(a, x.astype(float))
        self.columns = np.stack([np.ones(len(a)), a, b, a * b, a * a], axis=1)

    def value(self, sums: Sums) -> Draws:
        """The slope; NaN where `x` does not vary."""
        xy, xx, *_ = self._parts(sums)
        return xy / xx

    def gradient(self, sums: Sums) -> Sums:
        """By count, both sums, and the sums of products and of squares."""
        xy, xx, x, y, slope = self._parts(sums)
        by_count = (x * y - slope * x * x) / xx
        return np.stack([by_count, (2 * slope * x - y) / xx, -x / xx, 1 / xx, -slope / xx], axis=1)

    def back(self, value: float) -> float:
        """Its own units."""
        return value

    def _parts(self, sums: Sums) -> tuple[Draws, Draws, Draws, Draws, Draws]:
        n, a, b, ab, aa = sums.T
        xy, xx = ab - a * b / n, aa - a * a / n
        xx = np.where(xx > self._least, xx, np.nan)
        return xy, xx, a / n, b / n, xy / xx


def rounding(centred: Vector, column: Vector) -> float:
    """Sums of squares up to this are rounding error."""
    return float(max(1e-12 * (centred @ centred), 1e-28 * (column @ column), 1e-300))


def _sides(first: Vector, second: Vector, powers: int) -> Float[np.ndarray, "_ column"]:
    """Powers 0, 1, ... of the values of each side, zero on the rows of the other."""
    of_first, of_second = (
        np.stack([side.astype(float) ** k for k in range(powers + 1)], axis=1) for side in (first, second)
    )
    return np.block([[of_first, np.zeros_like(of_first)], [np.zeros_like(of_second), of_second]])
