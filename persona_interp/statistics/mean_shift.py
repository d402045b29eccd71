"""Length and cosines of a population's mean vector, from products of different rows: their scatter is not in them.

The mean of few scattered rows is too long and points away from the mean of many. The mean of x_i . x_j over i != j is
the population's squared length without bias, and intervals are Student's t over what it is without each row in turn.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from persona_interp.statistics.levels import CONFIDENCE

Rows = Float[np.ndarray, "row d_model"]
Ends = tuple[float, float]

SQUARES_FROM = 0.25
"""Squared cosines from here on are in an interval where either of its two criteria holds."""


@dataclass(frozen=True, eq=False)
class Jackknifed:
    """A number made from all rows, and the same without each row in turn."""

    value: float
    without: Float[np.ndarray, " row"]

    def covariance(self, other: "Jackknifed") -> float:
        """Covariance of the two estimates (Tukey's jackknife); too large rather than too small for products of rows."""
        n = len(self.without)
        return float((n - 1) / n * ((self.without - self.without.mean()) @ (other.without - other.without.mean())))

    def ends(self, level: float = CONFIDENCE) -> Ends:
        """Ends of Student's t interval over rows."""
        half = self.quantile(level) * np.sqrt(self.covariance(self))
        return self.value - half, self.value + half

    def quantile(self, level: float = CONFIDENCE) -> float:
        """Student's, of as many rows."""
        return float(student.ppf((1 + level) / 2, len(self.without) - 1))

    def clear(self, level: float = CONFIDENCE) -> bool:
        """Whether it is positive: the whole interval is, and it is so without any one row."""
        return bool(self.ends(level)[0] > 0 and (self.without > 0).all())

    def within(self, least: float, most: float, level: float = CONFIDENCE) -> tuple[float, float, float]:
        """The value and the ends of its interval, none beyond these bounds."""
        value, low, high = (float(np.clip(end, least, most)) for end in (self.value, *self.ends(level)))
        return value, low, high

    def root(self) -> "Jackknifed":
        """The square root, where it is positive without any row."""
        return Jackknifed(float(np.sqrt(self.value)), np.sqrt(self.without))


def row_mean(values: Float[np.ndarray, " row"]) -> Jackknifed:
    """The mean."""
    return Jackknifed(float(values.mean()), (values.sum() - values) / (len(values) - 1))


def pair_mean(first: Rows, second: Rows | None = None) -> Jackknifed:
    """Mean of first_i . second_j over i != j: without bias the product of the two populations' means. Three rows."""
    second = first if second is None else second
    own, with_second, with_first = (
        (first * second).sum(axis=1),
        first @ second.sum(axis=0),
        second @ first.sum(axis=0),
    )
    n, total = len(first), float(with_second.sum() - own.sum())
    without = (total - with_second - with_first + 2 * own) / ((n - 1) * (n - 2))
    return Jackknifed(total / (n * (n - 1)), without)


def quotient_ends(above: Jackknifed, below: Jackknifed, level: float = CONFIDENCE) -> Ends:
    """All quotients r with above - r * below within Student's t of 0; NaN where `below` is not clearly positive.

    Source: Fieller 1954, Some Problems in Interval Estimation.
    """
    squared = below.quantile(level) ** 2
    two = below.value**2 - squared * below.covariance(below)
    if not below.clear(level) or two <= 0:
        return float("nan"), float("nan")
    one = above.value * below.value - squared * above.covariance(below)
    none = above.value**2 - squared * above.covariance(above)
    half = np.sqrt(max(one**2 - two * none, 0.0))
    return float((one - half) / two), float((one + half) / two)


def bounded_root(squared: Jackknifed, unit: float = 1.0, level: float = CONFIDENCE) -> tuple[float, float, float]:
    """The root of a square's value and of its interval's ends, times a unit; 0 where they are below 0."""
    value, low, high = unit * np.sqrt(squared.within(0.0, np.inf, level))
    return float(value), float(low), float(high)


def share_of(part: Jackknifed, whole: Jackknifed, level: float = CONFIDENCE) -> tuple[float, float, float]:
    """A part of a whole, from 0 to 1, with its interval; 0 where the whole is 0."""
    if whole.value <= 0:
        return 0.0, 0.0, 0.0
    shares = np.divide(part.without, whole.without, out=np.zeros_like(whole.without), where=whole.without > 0)
    return Jackknifed(part.value / whole.value, shares).within(0.0, 1.0, level)


def mean_cosine(rows: Rows, unit: Float[np.ndarray, " d_model"], level: float = CONFIDENCE) -> tuple[float, Ends]:
    """Cosine of the population's mean row with a vector of norm 1, and its interval over rows; within -1 and 1.

    All three are NaN where the mean row's squared length is not clearly above 0: what has no length has no cosine. The
    interval is of cosines c for which the mean is as far along the vector as c times its length says, and, beyond 0.5,
    of those whose squares are so: where rows scatter along the vector, the first alone covers large ones too rarely.
    """
    scores = rows @ unit
    along, squared = row_mean(scores), pair_mean(rows)
    nothing = float("nan"), (float("nan"), float("nan"))
    if not squared.clear(level):
        return nothing
    length, sign = squared.root(), float(np.sign(along.value))
    low, high = quotient_ends(along, length, level)
    least, most = quotient_ends(pair_mean(scores[:, None]), squared, level)
    if np.isnan([low, high, least, most]).any():
        return nothing
    if most > SQUARES_FROM:
        beyond = sorted(sign * np.sqrt([max(least, SQUARES_FROM), most]))
        low, high = min(low, beyond[0]), max(high, beyond[1])
    return float(np.clip(along.value / length.value, -1, 1)), (float(np.clip(low, -1, 1)), float(np.clip(high, -1, 1)))


def longer(rows: Rows, level: float = CONFIDENCE) -> float:
    """Length of the mean row over that of the population's; NaN where the latter is not clearly above 0."""
    squared, mean = pair_mean(rows), rows.mean(axis=0)
    return float(np.sqrt(mean @ mean / squared.value)) if squared.clear(level) else float("nan")


def scatter_along(rows: Rows, unit: Float[np.ndarray, " d_model"], share: float) -> float:
    """How far the mean row scatters along a vector beyond this share of its squared scatter: an SD, in its lengths."""
    mean, n = rows.mean(axis=0), len(rows)
    centred = rows - mean
    beyond = ((centred @ unit) ** 2).sum() - share * (centred**2).sum()
    squared = mean @ mean
    return float(np.sqrt(max(beyond, 0.0) / (n * (n - 1)) / squared)) if squared > 0 else 0.0
