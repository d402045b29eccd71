"""Claims as the unit of error, by hand and against the definition of the procedure."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.errors import AlignmentError
from persona_interp.statistics import benjamini_hochberg, permutation_test_paired, permutation_test_two_samples
from persona_interp.statistics.families import claim_q, in_families
from persona_interp.statistics.null_families import NullFamily
from persona_interp.statistics.permutation import possible, shuffled_floor

NAN = float("nan")


def test_by_hand() -> None:
    """Simes: a .004, b .9; of two claims, a is made at .008 and its second test at 2 x .02."""
    q = claim_q(np.array([0.002, 0.02, 0.9, 0.9, NAN]), np.array(list("aabbc")))
    assert q == pytest.approx([0.008, 0.04, 0.9, 0.9, NAN], nan_ok=True)
    best = claim_q(np.array([0.002, 0.02, 0.9, 0.9]), np.array(list("aabb")), adjusted=True)
    assert best == pytest.approx([0.004, 0.04, 0.9, 0.9])
    assert np.isnan(claim_q(np.array([NAN]), np.array(["a"]))).all()
    with pytest.raises(AlignmentError, match="got 1 tests and 2 claims"):
        claim_q(np.array([0.1]), np.array(["a", "b"]))


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05, 0.2]))
def test_a_test_is_rejected_where_the_procedure_rejects_it(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    p_values, claims = rng.random(30) ** 4, rng.integers(0, 6, 30)
    inside = {k: benjamini_hochberg(p_values[claims == k]) for k in np.unique(claims)}
    of_claims = benjamini_hochberg(np.array([found.min() for found in inside.values()]))
    share = rate * (of_claims <= rate).sum() / len(inside)
    expected = np.zeros(30, dtype=bool)
    for (k, found), q in zip(inside.items(), of_claims, strict=True):
        expected[claims == k] = (found <= share) & (q <= rate)
    assert ((claim_q(p_values, claims) <= rate) == expected).all()


@given(st.integers(0, 10_000))
def test_with_one_test_a_claim_it_is_benjamini_hochberg(seed: int) -> None:
    p_values = np.random.default_rng(seed).random(12)
    np.testing.assert_allclose(claim_q(p_values, np.arange(12)), benjamini_hochberg(p_values))


def test_primary_rows_are_corrected_apart_from_the_map() -> None:
    frame = pd.DataFrame({"claim": list("aabbc"), "layer": [0, 1, 0, 1, 0], "p": [0.01, 0.001, 0.2, 0.3, NAN]})
    found = in_families(frame, ["claim"], primary=(frame["layer"] == 0).to_numpy())
    assert found["q"].to_list() == pytest.approx([0.02, 0.002, 0.2, 0.3, NAN], nan_ok=True)
    assert found["declared"].to_list() == ["primary", "exploratory", "primary", "exploratory", "no test"]


def test_where_no_arrangement_could_give_05_there_is_no_test() -> None:
    for n, reached in ((5, False), (6, True)):
        test = permutation_test_paired(np.ones(n), np.zeros(n), np.arange(n))
        assert test.p_floor == pytest.approx(2 / 2**n) and test.p_value == 2 / 2**n
        assert np.isnan(test.tested) == (not reached)
    a, b = np.arange(3.0), np.arange(3.0) + 9
    dealt = permutation_test_two_samples(a, b, np.arange(3), np.arange(3) + 3, permute="clusters", alternative="less")
    assert dealt.p_floor == pytest.approx(1 / 20) and dealt.tested == dealt.p_value
    within = permutation_test_two_samples(a[:2], b[:2], np.arange(2), np.arange(2), permute="within")
    assert within.p_floor == pytest.approx(2 / 4) and np.isnan(within.tested)


def test_sides_of_equal_size_have_a_mirror_image_that_a_two_sided_test_counts() -> None:
    a, b = np.arange(3.0), np.arange(4.0) + 9
    balanced = permutation_test_two_samples(a, b[:3], np.arange(3), np.arange(3) + 3, permute="clusters")
    assert balanced.p_floor == pytest.approx(2 / 20) and np.isnan(balanced.tested)
    assert balanced.p_value == pytest.approx(2 / 20, abs=0.02), "the floor is reached"
    uneven = permutation_test_two_samples(a, b, np.arange(3), np.arange(4) + 3, permute="clusters")
    assert uneven.p_floor == pytest.approx(1 / 35) and uneven.tested == uneven.p_value
    assert uneven.p_value == pytest.approx(1 / 35, abs=0.02)
    ours, theirs = np.array([0, 0, 1]), np.array([0, 1, 1])  # neither question has as many rows on either side
    within = permutation_test_two_samples(a, b[:3], ours, theirs, permute="within")
    assert within.p_floor == pytest.approx(1 / 9)


def test_one_rule_says_where_a_test_is_possible() -> None:
    assert possible(0.05) and possible(1 / 20) and possible(2 / 40) and not possible(1 / 19)
    labels, pairs = np.array([True, False] * 4), np.repeat(np.arange(4), 2)
    assert shuffled_floor(labels, pairs, 999) == pytest.approx(1 / 16)
    assert shuffled_floor(labels, np.zeros(8), 9) == pytest.approx(1 / 10)
    assert NullFamily("random_directions", np.zeros(1), np.zeros((19, 1))).testable
