"""Differences between conditions that were each made a few times anew: repeats of a training, say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import t as student

from persona_interp.errors import AlignmentError
from persona_interp.statistics.levels import CONFIDENCE

Reach = Callable[[float], tuple[float, float]]
"""How far the interval at a level extends below and above the estimate, repeats held fixed."""

_SMALLEST, _LARGEST = 1e-6, 1 - 1e-6
"""P-values between which the level that just excludes zero is looked for."""


@dataclass(frozen=True)
class RepeatError:
    """The standard error that few repeats leave in a difference, and its degrees of freedom; 0 of them: not known."""

    error: float
    freedom: int

    @property
    def known(self) -> bool:
        """Whether anything was repeated."""
        return self.freedom > 0


def repeat_error(cells: Sequence[Sequence[float]], n_repeats: Sequence[int]) -> RepeatError:
    """The error of a difference between means over repeats, by the variance between repeats pooled over conditions.

    Args:
        cells: the numbers of each condition, one a repeat; the variance is taken to be the same in all of them.
        n_repeats: of the sides of the difference that were repeated.

    Raises:
        AlignmentError: no side was repeated, or a number is not finite.
    """
    values = [np.asarray(cell, dtype=float) for cell in cells]
    if not n_repeats or min(n_repeats) < 1 or not all(np.isfinite(cell).all() for cell in values):
        raise AlignmentError("the error over repeats needs finite numbers, and one repeat or more on a side.")
    freedom = sum(max(0, len(cell) - 1) for cell in values)
    squares = sum(float(((cell - cell.mean()) ** 2).sum()) for cell in values if len(cell))
    variance = squares / freedom if freedom else float("nan")
    return RepeatError(float(np.sqrt(variance * sum(1 / n for n in n_repeats))), freedom)


def over_repeats(
    estimate: float, reach: Reach, repeats: RepeatError, *, level: float = CONFIDENCE
) -> tuple[float, float]:
    """Bounds of a difference for new clusters and new repeats: both distances squared and added, and their root.

    Bounds of the clusters alone where nothing was repeated. Measured coverage: tests/golden/levels/intervals.csv.

    Source: Zou and Donner 2008, Construction of Confidence Limits about Effect Measures.
    """
    below, above = _reach(reach, repeats, level)
    return estimate - below, estimate + above


def repeats_p(estimate: float, reach: Reach, repeats: RepeatError) -> float:
    """Two-sided p: one minus the level at which the interval of `over_repeats` ends at zero; at least a millionth.

    NaN where nothing was repeated: one training says nothing of the next one.
    """
    if not repeats.known:
        return float("nan")

    def beyond(p: float) -> float:
        below, above = _reach(reach, repeats, 1 - p)
        return abs(estimate) - (below if estimate > 0 else above)

    if not np.isfinite(beyond(_LARGEST)):
        return float("nan")
    if estimate == 0 or beyond(_LARGEST) <= 0:
        return 1.0
    return _SMALLEST if beyond(_SMALLEST) >= 0 else float(brentq(beyond, _SMALLEST, _LARGEST, xtol=1e-6))  # pyright: ignore


def _reach(reach: Reach, repeats: RepeatError, level: float) -> tuple[float, float]:
    below, above = reach(level)
    own = float(student.ppf((1 + level) / 2, repeats.freedom)) * repeats.error if repeats.known else 0.0
    return float(np.hypot(below, own)), float(np.hypot(above, own))
