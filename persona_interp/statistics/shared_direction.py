"""Whether two estimated vectors point the same way: their cosine without what both scatter, from halves of the units.

A vector made from few answers scatters, so that two estimates of one direction have a cosine below 1, and two that were
made from the same answers share their scatter. A cosine between halves that share no unit holds neither, once it is
divided by how well the halves of each agree. The vectors need not be means: what is made again from each half can be
the weights of a probe, for which rows that are left out one at a time do not show the scatter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import t as student

from persona_interp.errors import AlignmentError
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.mean_shift import Jackknifed
from persona_interp.statistics.null_directions import unit_rows

Relation = Literal["same", "related", "unrelated", "opposed", "undecided"]
SAME = 0.8
"""Two directions are the same from this cosine on: 64 % of the squared length of either lies along the other."""
UNRELATED = 0.3
"""They are unrelated below this one, or below what random directions reach where that is more."""
LEAST_UNITS = 8
N_SPLITS = 10


@dataclass(frozen=True, eq=False)
class Halves:
    """A vector made from both halves of its units, in several ways to halve them, and without each unit in turn.

    Args:
        both: of norm 1.
        without: the half that a unit is in, made without it.
        side: which half that is, 0 or 1; no units for a vector that is known.
    """

    both: Float[np.ndarray, "split two d_model"]
    without: Float[np.ndarray, "split unit d_model"]
    side: Int[np.ndarray, "split unit"]

    @classmethod
    def made(
        cls,
        refit: Callable[[Bool[np.ndarray, " unit"]], Float[np.ndarray, " d_model"]],
        side: Int[np.ndarray, "split unit"],
    ) -> "Halves":
        """From what makes the vector of some of the units."""
        both = np.stack([[refit(row == k) for k in (0, 1)] for row in side])
        units = np.arange(side.shape[1])
        without = np.stack([[refit((row == row[q]) & (units != q)) for q in units] for row in side])
        return cls.of(both, without, side)

    @classmethod
    def of(
        cls,
        both: Float[np.ndarray, "split two d_model"],
        without: Float[np.ndarray, "split unit d_model"],
        side: Int[np.ndarray, "split unit"],
    ) -> "Halves":
        """From vectors of any length."""
        return cls(_units(both), _units(without), side)

    @classmethod
    def known(cls, vector: Float[np.ndarray, " d_model"], n_splits: int) -> "Halves":
        """A vector without scatter."""
        both = np.tile(vector, (n_splits, 2, 1))
        none = np.zeros((n_splits, 0, len(vector)))
        return cls(_units(both), none, np.zeros((n_splits, 0), dtype=int))

    @property
    def n(self) -> int:
        """Units; 0 of a vector that is known."""
        return self.side.shape[1]

    def agreement(self) -> Jackknifed:
        """Mean cosine of the two halves: how reliable one of them is."""
        return _between(self, self)


@dataclass(frozen=True)
class SharedDirection:
    """The cosine of two vectors without their scatter, with its interval; NaN where the halves of either disagree.

    Args:
        reliability: mean cosine of the halves of either.
    """

    estimate: float
    low: float
    high: float
    reliability: tuple[float, float]
    n: tuple[int, int]


def sides_of(n: int, n_splits: int, rng: np.random.Generator) -> Int[np.ndarray, "split unit"]:
    """Random halves of n units, the second one larger where n is odd.

    Raises:
        AlignmentError: fewer than eight units.
    """
    if n < LEAST_UNITS:
        raise AlignmentError(f"halves need {LEAST_UNITS} units or more, got {n}.", "Ask more questions.")
    return np.stack([rng.permutation(n) >= n // 2 for _ in range(n_splits)]).astype(int)


def shared_direction(
    first: Halves, second: Halves, *, same_units: bool = True, level: float = CONFIDENCE
) -> SharedDirection:
    """Mean cosine between halves that share no unit, over the root of the product of both reliabilities.

    It estimates the cosine of what half of the units give on average. Student's t over a jackknife of units, the ways
    to halve held fixed; not kept within -1 and 1, because it is a ratio. NaN unless the halves of either agree clearly
    (`Jackknifed.clear`). Measured levels, also of probes: tests/golden/levels/comparison.csv.

    Args:
        same_units: unit q of both is the same and was halved in the same way; else they share none.

    Source: Spearman 1904, The Proof and Measurement of Association between Two Things; Tukey 1958.
    """
    if same_units and not np.array_equal(first.side, second.side):
        raise AlignmentError("two vectors of the same units must be halved in the same way.")
    own, other = first.agreement(), second.agreement()
    reliability, n = (own.value, other.value), (first.n, second.n)
    if not (_clear(own, level) and _clear(other, level)):
        nothing = float("nan")
        return SharedDirection(nothing, nothing, nothing, reliability, n)
    if same_units:
        across = _between(first, second)
        below = np.sqrt(own.without * other.without)
        parts = [Jackknifed(float(across.value / np.sqrt(own.value * other.value)), across.without / below)]
    else:
        value, without_first = _apart(first, second)
        without_second = _apart(second, first)[1]
        estimate = float(value / np.sqrt(own.value * other.value))
        parts = [
            Jackknifed(estimate, without_first / np.sqrt(own.without * other.value)),
            Jackknifed(estimate, without_second / np.sqrt(own.value * other.without)),
        ]
        parts = [part for part in parts if len(part.without)]
    estimate = parts[0].value if parts else float(first.both[0, 0] @ second.both[0, 0])
    variances = [part.covariance(part) for part in parts]
    total = float(sum(variances))
    if total <= 0:
        return SharedDirection(estimate, estimate, estimate, reliability, n)
    freedom = total**2 / sum(v**2 / (len(part.without) - 1) for v, part in zip(variances, parts, strict=True))
    half = float(student.ppf((1 + level) / 2, freedom) * np.sqrt(total))
    return SharedDirection(estimate, estimate - half, estimate + half, reliability, n)


def relation(found: SharedDirection, null: float) -> Relation:
    """What an interval says, the first of these that holds; `undecided` where none does, or there is no interval.

    `same`: it lies above 0.8. `related`: above `null`. `opposed`: below minus it. `unrelated`: within plus and minus
    0.3, or `null` where that is larger.

    Args:
        null: what the size of the cosine with a random direction stays below in 95 %.
    """
    if isnan(found.low) or isnan(null):
        return "undecided"
    bound = max(null, UNRELATED)
    if found.low > max(SAME, null):
        return "same"
    if found.low > null:
        return "related"
    if found.high < -null:
        return "opposed"
    return "unrelated" if -bound < found.low and found.high < bound else "undecided"


def _between(first: Halves, second: Halves) -> Jackknifed:
    """Mean cosine of one's half with the other's other half; without each of the units that both have."""
    value = float(np.mean((first.both * second.both[:, ::-1]).sum(-1)))
    splits = np.arange(len(first.side))[:, None]
    others_first, others_second = (one.both[splits, 1 - one.side] for one in (first, second))
    pairs = (first.without * others_second).sum(-1) + (others_first * second.without).sum(-1)
    return Jackknifed(value, pairs.mean(axis=0) / 2)


def _apart(first: Halves, second: Halves) -> tuple[float, Float[np.ndarray, " unit"]]:
    """Mean cosine of all halves of one with all of the other, and the same without each unit of the first."""
    mean = second.both.mean(axis=1)
    value = float(np.mean((first.both.mean(axis=1) * mean).sum(-1)))
    kept = first.both[np.arange(len(first.side))[:, None], 1 - first.side]
    return value, ((first.without + kept) / 2 * mean[:, None]).sum(-1).mean(axis=0)


def _clear(agreement: Jackknifed, level: float) -> bool:
    """Whether halves agree; those of a vector that is known do."""
    return agreement.clear(level) if len(agreement.without) else True


def _units(vectors: Float[np.ndarray, "a b d_model"]) -> Float[np.ndarray, "a b d_model"]:
    return unit_rows(vectors.reshape(-1, vectors.shape[-1])).reshape(vectors.shape)
