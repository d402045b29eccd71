from itertools import product

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.statistics import (
    benjamini_hochberg,
    corrected,
    pearson,
    permutation_test_correlation,
    permutation_test_paired,
    permutation_test_two_samples,
    spearman,
)
from persona_interp.statistics.permutation import _exchanged_rows, shuffled_rows

RNG = np.random.default_rng(3)
CLUSTERS = np.repeat(np.arange(6), 3)
A, B = RNG.standard_normal(18) + 0.7, RNG.standard_normal(18)
NAN = float("nan")


def test_paired_test_counts_every_sign_of_few_clusters():
    test = permutation_test_paired(A, B, CLUSTERS)
    totals = np.array([(A - B)[c == CLUSTERS].sum() for c in range(6)]) / 18
    means = np.array([np.dot(signs, totals) for signs in product([1, -1], repeat=6)])
    assert (test.exact, test.n_permutations, test.n, test.n_clusters) == (True, 63, 18, 6)
    assert test.estimate == pytest.approx(np.mean(A - B))
    assert test.p_value == pytest.approx(np.mean(np.abs(means) >= abs(means[0]) - 1e-12))
    assert permutation_test_paired(A, B, CLUSTERS, alternative="greater").p_value == pytest.approx(
        np.mean(means >= means[0] - 1e-12)
    )
    drawn = permutation_test_paired(A, B, CLUSTERS, n_permutations=60)
    assert not drawn.exact
    assert drawn.p_value == pytest.approx(test.p_value, abs=0.2)


def test_smallest_p_of_few_clusters_is_as_documented():
    same = permutation_test_paired(np.ones(5), np.zeros(5), np.arange(5))
    assert same.p_value == pytest.approx(2 / 2**5)
    assert permutation_test_paired(np.ones(4), np.ones(4), np.arange(4)).p_value == 1.0


def test_sides_may_be_dealt_within_questions_or_to_whole_questions():
    """Four questions, two rows a side, and positives that are one higher in each: no question effect matters."""
    questions, effects = np.repeat(np.arange(4), 2), np.repeat([0.0, 50, 100, 150], 2)
    within = permutation_test_two_samples(effects + 1, effects, questions, questions, permute="within")
    assert within.estimate == pytest.approx(1)
    # one of the six ways to deal two of a question's four rows is as it came, and one turns it round
    assert within.p_value == pytest.approx(2 * (1 / 6) ** 4, abs=0.003)
    whole = permutation_test_two_samples(effects + 1, effects, questions, questions + 4, permute="clusters")
    assert whole.p_value > 0.5
    assert whole.n_clusters == 8


def test_whole_clusters_keep_their_sizes():
    values, clusters = np.arange(7.0), np.array([0, 0, 0, 1, 2, 2, 3])
    test = permutation_test_two_samples(
        values[4:], values[:4], clusters[4:], clusters[:4], permute="clusters", alternative="greater"
    )
    assert test.p_value == pytest.approx(1 / 6, abs=0.03)


def test_correlation_statistics_are_those_of_all_rows_or_within_strata():
    strata = np.tile([0, 1, 2], 6)
    x, y = A + 5 * strata, B + 0.5 * A + 5 * strata
    assert permutation_test_correlation(x, y, CLUSTERS, n_permutations=9).estimate == pytest.approx(pearson(x, y))
    ranked = permutation_test_correlation(x, y, CLUSTERS, kind="spearman", n_permutations=9)
    assert ranked.estimate == pytest.approx(spearman(x, y))
    within = permutation_test_correlation(x, y, CLUSTERS, within=strata, n_permutations=9)
    centred = [c - np.array([c[strata == s].mean() for s in range(3)])[strata] for c in (x, y)]
    assert within.estimate == pytest.approx(pearson(*centred))
    assert within.estimate < pearson(x, y)


def test_clusters_are_exchanged_whole_and_only_with_their_like():
    codes = np.array([0, 1, 0, 1, 2, 2, 3, 3, 3])
    strata = np.array([0, 1, 1, 0, 0, 1, 0, 0, 1])
    orders, log_orders = _exchanged_rows(codes, strata, 500, np.random.default_rng(0))
    assert np.exp(log_orders) == pytest.approx(6)
    assert (np.sort(orders, axis=1) == np.arange(9)).all()
    assert (strata[orders] == strata).all()
    assert (orders[:, 6:] == [6, 7, 8]).all(), "a cluster of another size stays"
    partners = codes[orders]
    assert (partners[:, 0] == partners[:, 2]).all() and (partners[:, 1] == partners[:, 3]).all()
    counts = np.unique(partners[:, [0, 1, 4]], axis=0, return_counts=True)[1]
    assert len(counts) == 6 and counts.min() > 50


def test_correlation_of_constants_is_not_a_number():
    test = permutation_test_correlation(np.full(18, 0.1), B, CLUSTERS, n_permutations=9)
    assert np.isnan(test.estimate) and np.isnan(test.p_value)


def test_a_planted_correlation_is_found_on_the_side_it_is_on():
    x = np.arange(18.0)
    p_values = {
        side: permutation_test_correlation(x, -x, CLUSTERS, alternative=side).p_value
        for side in ("two-sided", "less", "greater")
    }
    assert p_values["less"] <= p_values["two-sided"] < 0.02
    assert p_values["greater"] == 1.0


def test_rows_are_exchanged_within_their_code():
    codes = np.array([2, 0, 2, 1, 0])
    rows = shuffled_rows(codes, 400, np.random.default_rng(0))
    assert (codes[rows] == codes).all()
    assert len(np.unique(rows, axis=0)) == 4


def test_a_table_is_corrected_over_all_its_rows():
    frame = pd.DataFrame({"p": [0.01, NAN, 0.04], "what": ["a", "b", "c"]})
    table = corrected(frame)
    assert list(frame.columns) == ["p", "what"]
    assert table["q"].to_numpy() == pytest.approx(benjamini_hochberg(frame["p"].to_numpy()), nan_ok=True)
    assert corrected(frame, q_column="q_all")["q_all"].tolist()[0] == pytest.approx(0.02)


def test_mistakes_are_named():
    with pytest.raises(AlignmentError, match="2 clusters have rows on both sides"):
        permutation_test_two_samples(A[:6], B[:6], CLUSTERS[:6], CLUSTERS[:6], permute="clusters")
    with pytest.raises(AlignmentError, match="labels cannot be shuffled within questions"):
        permutation_test_two_samples(A, B, CLUSTERS, CLUSTERS + 9, permute="within")
    with pytest.raises(AlignmentError, match="none of 2 clusters can be exchanged"):
        permutation_test_correlation(A[:3], B[:3], np.array([0, 0, 1]))
    with pytest.raises(ConfigError, match="n_permutations must be at least 1, got 0"):
        permutation_test_correlation(A, B, CLUSTERS, n_permutations=0)
    with pytest.raises(AlignmentError, match="the table must have the column 'p'"):
        corrected(pd.DataFrame({"pp": [0.1]}))
    with pytest.raises(AlignmentError, match="got 1 of 2 outside"):
        corrected(pd.DataFrame({"p": [0.1, 1.2]}))
