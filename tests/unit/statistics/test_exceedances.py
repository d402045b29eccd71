"""The test of exceedances knows the threshold for a draw: its null is what ordering all samples at random gives."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from persona_interp.errors import AlignmentError
from persona_interp.statistics.exceedances import exceedances
from persona_interp.statistics.levels import ALPHA
from persona_interp.statistics.thresholds import conformal_rank, conformal_threshold, fewest_samples


@pytest.mark.parametrize(("n_reference", "n", "k"), [(5, 4, 5), (6, 3, 4), (4, 6, 1)])
def test_p_is_the_share_of_all_orders_with_at_least_so_many_above(n_reference: int, n: int, k: int) -> None:
    places = list(combinations(range(n_reference + n), n_reference))
    above = [sum(p > order[k - 1] for p in set(range(n_reference + n)) - set(order)) for order in places]
    assert len(places) == comb(n_reference + n, n)
    for hits in range(n + 1):
        found = exceedances(hits, n, n_reference=n_reference, k=k)
        assert found.p == pytest.approx(np.mean(np.array(above) >= hits))
        assert found.expected == pytest.approx(np.mean(above) / n)
    assert np.mean(np.array(above) / n > found.null_high) <= ALPHA


def rejected(rng: np.random.Generator, n_reference: int, n: int, *, rounded: bool = False) -> tuple[bool, bool]:
    """By the test, and by the binomial test that takes the threshold for fixed."""
    clean, data = rng.standard_exponential(n_reference), rng.standard_exponential(n)
    if rounded:
        clean, data = clean.round(1), data.round(1)
    k = conformal_rank(n_reference, 0.05)
    hits = int((data > np.sort(clean)[k - 1]).sum())
    found = exceedances(hits, n, n_reference=n_reference, k=k)
    return found.p <= ALPHA, binom.sf(hits - 1, n, 1 - k / (n_reference + 1)) <= ALPHA


@pytest.mark.slow
def test_the_level_holds_where_a_binomial_test_rejects_too_often() -> None:
    rng = np.random.default_rng(0)
    shares = np.mean([rejected(rng, 40, 300) for _ in range(1500)], axis=0)
    assert shares[0] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)
    assert shares[0] > 0.02
    assert shares[1] > 0.15
    assert np.mean([rejected(rng, 40, 300, rounded=True)[0] for _ in range(500)]) < 0.05 + 3 * 0.01


@pytest.mark.slow
def test_what_is_called_detectable_is_found_in_80_percent() -> None:
    rng, n = np.random.default_rng(1), 400
    share = exceedances(0, n, n_reference=99, k=95).detectable
    assert share is not None and 0.05 < share < 0.25
    found = [exceedances(int(hits), n, n_reference=99, k=95).p <= ALPHA for hits in rng.binomial(n, share, 2000)]
    assert np.mean(found) == pytest.approx(0.80, abs=0.03)
    assert exceedances(0, 2, n_reference=19, k=19).detectable == pytest.approx(np.sqrt(0.8))  # p of 2 of 2 is 1 / 210
    assert exceedances(1, 1, n_reference=19, k=10).detectable is None  # p of 1 of 1 is 0.5


@given(st.integers(1, 400), st.floats(0.01, 0.6))
def test_the_rank_is_that_of_the_threshold(n: int, rate: float) -> None:
    if n >= fewest_samples(rate):
        values = np.arange(1.0, n + 1)
        assert conformal_threshold(values, np.ones(n), n, rate) == conformal_rank(n, rate)


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(AlignmentError, match="rank of a threshold must be 1 to 4, got 5"):
        exceedances(0, 3, n_reference=4, k=5)
    with pytest.raises(AlignmentError, match="got 4 of 3"):
        exceedances(4, 3, n_reference=4, k=4)
