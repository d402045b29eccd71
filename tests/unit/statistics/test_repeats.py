"""Differences over repeats: wider than over clusters alone, and a test that keeps its level."""

import numpy as np
import pytest

from persona_interp.errors import AlignmentError
from persona_interp.statistics.repeats import over_repeats, repeat_error, repeats_p
from persona_interp.statistics.shares import detectable_rise, share_difference


def reach(level: float) -> tuple[float, float]:
    from scipy.stats import norm

    half = 0.1 * float(norm.ppf((1 + level) / 2))
    return half, half


def test_one_repeat_says_nothing_of_the_next() -> None:
    once = repeat_error([[0.3], [0.1]], [1, 1])
    assert not once.known and np.isnan(repeats_p(0.2, reach, once))
    assert over_repeats(0.2, reach, once) == pytest.approx((0.2 - reach(0.95)[0], 0.2 + reach(0.95)[1]))


def test_repeats_make_it_wider_and_p_ends_where_the_interval_does() -> None:
    known = repeat_error([[0.1, 0.3, 0.2], [0.0, 0.2, 0.1]], [3, 3])
    assert known.freedom == 4
    low, high = over_repeats(0.5, reach, known)
    assert high - low > sum(reach(0.95))
    p = repeats_p(0.5, reach, known)
    below, _ = over_repeats(0.5, reach, known, level=1 - p)
    assert below == pytest.approx(0.0, abs=1e-4)
    assert repeats_p(0.0, reach, known) == 1.0


def test_repeats_reject_as_often_as_they_say() -> None:
    rng, rejected = np.random.default_rng(0), []
    for _ in range(300):
        sides = [rng.standard_normal(3) for _ in range(2)]
        difference = float(sides[0].mean() - sides[1].mean())
        found = repeats_p(difference, lambda level: (0.0, 0.0), repeat_error([side.tolist() for side in sides], [3, 3]))  # noqa: ARG005
        rejected.append(found <= 0.05)
    assert np.mean(rejected) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_bad_repeats_are_refused() -> None:
    with pytest.raises(AlignmentError, match="one repeat or more on a side"):
        repeat_error([[0.1, 0.2]], [])
    with pytest.raises(AlignmentError, match="finite"):
        repeat_error([[float("nan")]], [1])


def test_shares_apart_have_a_width_at_zero_and_cover() -> None:
    clusters = np.repeat(np.arange(12), 2)
    nothing = np.zeros(24, dtype=bool)
    found = share_difference(nothing, nothing, clusters, clusters)
    assert found.estimate == 0 and found.low < 0 < found.high
    rng, covered = np.random.default_rng(0), []
    for _ in range(300):
        a, b = rng.random(24) < 0.3, rng.random(24) < 0.1
        one = share_difference(a, b, clusters, clusters)
        covered.append(one.low <= 0.2 <= one.high)
    assert np.mean(covered) >= 0.92


def test_what_is_detectable_falls_with_more_questions() -> None:
    few, many = (np.zeros(n, dtype=bool) for n in (20, 200))
    rises = [detectable_rise(hits, hits, np.arange(len(hits)), np.arange(len(hits))) for hits in (few, many)]
    assert 0 < rises[1] < rises[0] < 1
