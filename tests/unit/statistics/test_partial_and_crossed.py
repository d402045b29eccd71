"""Rank correlations with others held fixed, and slopes over two crossed factors."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from persona_interp.errors import AlignmentError
from persona_interp.statistics.crossed_slope import crossed_slope
from persona_interp.statistics.partial_rank import partial_ranks, partial_spearman

RNG = np.random.default_rng(1)
CLUSTERS = np.repeat(np.arange(12), 3).astype(str)


def test_without_others_it_is_spearmans() -> None:
    x, y = RNG.standard_normal((2, 36))
    found = partial_spearman(x, x + y, [], CLUSTERS)
    assert found.estimate == pytest.approx(spearmanr(x, x + y).statistic)
    assert found.low < found.estimate < found.high
    assert found.n_clusters == 12


def test_what_a_third_column_makes_is_taken_out() -> None:
    x, y, z = RNG.standard_normal((3, 36))
    a, b = 3 * z + x, 3 * z + y
    assert partial_spearman(a, b, [], CLUSTERS).estimate > 0.7
    assert abs(partial_spearman(a, b, [z], CLUSTERS).estimate) < 0.5


def test_columns_at_once_are_columns_one_by_one() -> None:
    x, y, z = RNG.standard_normal((36, 3)), RNG.standard_normal((36, 2)), RNG.standard_normal(36)
    one = partial_spearman(x[:, 2], y[:, 1], [z], CLUSTERS)
    assert partial_ranks(x, y, [z])[2, 1] == pytest.approx(one.estimate)


def test_few_clusters_and_a_perfect_order_have_no_interval() -> None:
    x, y = RNG.standard_normal((2, 9))
    assert np.isnan(partial_spearman(x, y, [], np.repeat(["a", "b", "c"], 3)).low)
    assert np.isnan(partial_spearman(x, x, [], np.arange(9).astype(str)).low)
    with pytest.raises(AlignmentError, match="one length"):
        partial_spearman(x, y[:5], [], CLUSTERS[:9])


def test_a_planted_slope_is_found_beside_means_of_rows_and_columns() -> None:
    x = RNG.standard_normal((5, 10))
    y = 2 * x + 9 * RNG.standard_normal((5, 1)) + 9 * RNG.standard_normal(10) + 0.1 * RNG.standard_normal((5, 10))
    found = crossed_slope(x, y, n_permutations=199)
    assert found.low < 2 < found.high
    assert found.p == pytest.approx(1 / 200)
    assert found.correlation > 0.99
    assert found.null_low < 0 < found.null_high


def test_matrices_that_do_not_match_are_refused() -> None:
    with pytest.raises(AlignmentError, match=r"got \(5, 5\) and \(5, 5\)"):
        crossed_slope(np.eye(5), np.eye(5))
