"""Where a rising function of a strength reaches a target, in few evaluations: secants in log-log, else halves.

A mean KL divergence grows with the square of a small coefficient, so that log KL against log coefficient is close to a
line of slope 2, and a secant between two points of it lands near the target.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from persona_interp.errors import EmptySelectionError

SLOPE = 2.0
_SLOPES = (0.5, 8.0)
_LONGEST_STEP = 8.0
_DIGITS = 4


def crossing(
    measure: Callable[[float], float],
    target: float,
    known: dict[float, float],
    *,
    start: float,
    largest: float,
    tolerance: float,
    most: int,
) -> float:
    """The smallest strength found at which the measured value is within a share `tolerance` of the target.

    It is bracketed by the smallest strength that reaches the target and the largest below it that does not. Strengths
    have four significant digits.

    Args:
        measure: the value at a strength above 0; positive and finite, or it raises.
        known: what was measured before, by strength; what is measured is added.
        most: evaluations, at most.

    Raises:
        EmptySelectionError: the largest strength does not reach the target, or it is jumped over.
    """
    asked: list[float] = []
    while True:
        if hits := [strength for strength, value in known.items() if abs(value / target - 1) <= tolerance]:
            return min(hits)
        low, high = bracket(known, target)
        if high is None and low is not None and low >= largest:
            raise EmptySelectionError(
                f"the mean KL does not reach {target:g} nats: at the largest coefficient, {largest:g}, it is"
                f" {known[low]:.3g}.",
                f"Of the {len(known)} coefficients tried it is largest, {max(known.values()):.3g}, at"
                f" {max(known, key=lambda c: known[c]):g}. Give a smaller target or a larger `largest`.",
            )
        guess = round_to(_guess(known, asked, target, low, high, start, largest), largest)
        if guess in known or len(asked) == most:
            raise EmptySelectionError(_jumped(known, low, high, target, tolerance, len(asked)), _WIDER)
        known[guess] = measure(guess)
        asked.append(guess)


def bracket(known: Mapping[float, float], target: float) -> tuple[float | None, float | None]:
    """The smallest strength that reaches the target, and the largest below it that does not; None where there is none.

    In the order low, high.
    """
    high = min((strength for strength, value in known.items() if value >= target), default=None)
    below = [strength for strength in known if high is None or strength < high]
    return max(below, default=None), high


def falls(known: Mapping[float, float]) -> tuple[float, float] | None:
    """The first two neighbouring strengths between which the value falls; None where it only rises."""
    ordered = sorted(known)
    return next((pair for pair in zip(ordered, ordered[1:], strict=False) if known[pair[1]] < known[pair[0]]), None)


def round_to(strength: float, largest: float) -> float:
    """A strength of four significant digits, at most the largest."""
    return min(float(f"{strength:.{_DIGITS}g}"), largest)


def _guess(
    known: Mapping[float, float],
    asked: Sequence[float],
    target: float,
    low: float | None,
    high: float | None,
    start: float,
    largest: float,
) -> float:
    """The next strength: along the slope while one side of the bracket is open, in log twice as far from step to step.

    Inside the bracket on the secant, or in the middle where the last step left more than half of it.
    """
    if low is None and high is None:
        return min(start, largest)
    if low is None or high is None:
        at = low if high is None else high
        assert at is not None, "one of the two is there"
        up = high is None
        step = (target / known[at]) ** (1 / _slope(known, at)) if known[at] > 0 else _LONGEST_STEP
        size = min(abs(math.log(step)) * 2.0 ** max(len(asked) - 1, 0), math.log(_LONGEST_STEP))
        return min(at * math.exp(size if up else -size), largest)
    if known[low] <= 0 or _stalls(known, asked, target, low, high):
        return math.sqrt(low * high)
    part = math.log(target / known[low]) / math.log(known[high] / known[low])
    return low * (high / low) ** part


def _stalls(known: Mapping[float, float], asked: Sequence[float], target: float, low: float, high: float) -> bool:
    """Whether the last step left more than half of a bracket, in log: a curve that bends sharply holds secants up."""
    before = {strength: value for strength, value in known.items() if strength not in asked[-1:]}
    was_low, was_high = bracket(before, target)
    return None not in (was_low, was_high) and math.log(high / low) > 0.5 * math.log(was_high / was_low)  # pyright: ignore


def _slope(known: Mapping[float, float], at: float) -> float:
    """The slope in log-log at an end of what is known: of the last two there, within bounds."""
    ordered = sorted((strength for strength in known if known[strength] > 0), key=lambda other: abs(other - at))
    if len(ordered) < 2:
        return SLOPE
    a, b = ordered[:2]
    return min(max(math.log(known[b] / known[a]) / math.log(b / a), _SLOPES[0]), _SLOPES[1])


_WIDER = "Give a wider tolerance or another target."


def _jumped(
    known: Mapping[float, float], low: float | None, high: float | None, target: float, tolerance: float, n: int
) -> str:
    ends = " and ".join(f"{known[c]:.3g} at {c:g}" for c in (low, high) if c is not None)
    near = f"within {100 * tolerance:g} % of {target:g} nats"
    return f"no coefficient tried brings the mean KL {near}: after {n} it is {ends}."
