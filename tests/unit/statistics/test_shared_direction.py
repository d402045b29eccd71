"""Cosines without scatter, and what they say of two families."""

import numpy as np
import pytest

from persona_interp.errors import AlignmentError
from persona_interp.statistics.shared_direction import (
    Halves,
    SharedDirection,
    relation,
    shared_direction,
    sides_of,
)

RNG = np.random.default_rng(0)
U, V = np.eye(40)[:2]


def halves(direction: np.ndarray, scatter: float, side: np.ndarray, seed: int) -> Halves:
    rows = direction + scatter * np.random.default_rng(seed).standard_normal((side.shape[1], 40))
    return Halves.made(lambda kept: rows[kept].mean(axis=0), side)


def test_scatter_hides_a_shared_direction_from_the_cosine_and_not_from_this() -> None:
    side = sides_of(24, 20, RNG)
    first, second = halves(U, 0.5, side, 1), halves(U, 0.5, side, 2)
    plain = float(first.both[0, 0] @ second.both[0, 0])
    found = shared_direction(first, second)
    assert plain < 0.6
    assert found.low < 1 < found.high
    assert found.estimate == pytest.approx(1, abs=0.15)


def test_the_same_scatter_does_not_make_two_directions_alike() -> None:
    side, noise = sides_of(24, 20, RNG), np.random.default_rng(3).standard_normal((24, 40))
    first, second = (Halves.made(lambda k, d=d: (d + 0.4 * noise)[k].mean(0), side) for d in (U, V))
    assert float(first.both[0, 0] @ second.both[0, 0]) > 0.3
    found = shared_direction(first, second)
    assert found.low < 0 < found.high


def test_a_known_vector_is_taken_as_it_is() -> None:
    side = sides_of(12, 6, RNG)
    mixed = (U + V) / np.sqrt(2)
    found = shared_direction(halves(U, 0.1, side, 4), Halves.known(mixed, 6), same_units=False)
    assert found.estimate == pytest.approx(np.sqrt(0.5), abs=0.1)
    assert found.n == (12, 0)
    both = shared_direction(Halves.known(U, 6), Halves.known(mixed, 6), same_units=False)
    assert (both.estimate, both.low, both.high) == pytest.approx((np.sqrt(0.5),) * 3)


def test_halves_that_disagree_give_nothing() -> None:
    side = sides_of(8, 6, RNG)
    found = shared_direction(halves(0 * U, 1.0, side, 5), halves(U, 0.1, side, 6))
    assert np.isnan(found.estimate)
    assert relation(found, 0.2) == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "null", "said"),
    [
        (0.85, 1.1, 0.2, "same"),
        (0.5, 0.9, 0.2, "related"),
        (0.85, 1.0, 0.9, "undecided"),
        (-0.1, 0.28, 0.2, "unrelated"),
        (-0.1, 0.35, 0.2, "undecided"),
        (-0.1, 0.35, 0.4, "unrelated"),
        (-0.9, -0.3, 0.2, "opposed"),
        (-0.5, 0.1, 0.2, "undecided"),
    ],
)
def test_verdicts(low: float, high: float, null: float, said: str) -> None:
    assert relation(SharedDirection((low + high) / 2, low, high, (1.0, 1.0), (9, 9)), null) == said


def test_unlike_halves_and_few_units_are_refused() -> None:
    first, second = sides_of(8, 3, RNG), sides_of(8, 3, np.random.default_rng(9))
    with pytest.raises(AlignmentError, match="halved in the same way"):
        shared_direction(halves(U, 0.1, first, 1), halves(U, 0.1, second, 2))
    with pytest.raises(AlignmentError, match="halves need 8 units or more, got 7"):
        sides_of(7, 3, RNG)
