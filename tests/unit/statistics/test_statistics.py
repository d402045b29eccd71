import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.statistics import (
    Interval,
    auc,
    auc_by_layer,
    auc_intervals,
    benjamini_hochberg,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_statistic,
    cohens_d,
    krippendorff_alpha_interval,
    pearson,
    permutation_p_value,
    spearman,
)
from persona_interp.statistics.means import bootstrap_mean_columns
from persona_interp.statistics.resampling import Resampling

RNG = np.random.default_rng(0)
CLUSTERS = np.repeat(np.arange(10), 3)
VALUES = RNG.standard_normal(30)
NAN = float("nan")
small = st.integers(-3, 3).map(float)


def column(size: int | st.SearchStrategy[int]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, size, elements=small)


def test_interval_reads_as_a_sentence():
    assert str(Interval(0.421, 0.306, 0.529, 40, 20)) == "0.42 [0.31, 0.53] (n = 40, 20 questions)"
    assert str(Interval(0.421, NAN, NAN, 40, 1)) == "0.42 [nan, nan] (n = 40, 1 question)"


def test_mean_is_bracketed_and_repeatable():
    first = bootstrap_mean(VALUES, CLUSTERS, seed=3)
    assert first == bootstrap_mean(VALUES, CLUSTERS, seed=3) != bootstrap_mean(VALUES, CLUSTERS, seed=4)
    assert first.estimate == pytest.approx(VALUES.mean())
    assert first.low < first.estimate < first.high
    assert (first.n, first.n_clusters, first.level) == (30, 10, 0.95)
    narrower = bootstrap_mean(VALUES, CLUSTERS, level=0.5, seed=3)
    assert first.low < narrower.low < narrower.high < first.high


def test_mean_is_the_symmetric_bootstrap_t_of_its_clusters():
    """By hand: draws of clusters that copy rows, each with its own standard error over clusters."""
    draws = Resampling.of((VALUES, CLUSTERS, None), n_resamples=300, seed=1).counts.astype(int)
    of_clusters = VALUES.reshape(10, 3).mean(axis=1)
    mean, error = of_clusters.mean(), of_clusters.std(ddof=1) / np.sqrt(10)
    ratios = []
    for counts in draws:
        drawn = np.repeat(of_clusters, counts)
        ratios.append((drawn.mean() - mean) / max(drawn.std() / 3, 0.2 * error))
    reach = max(np.quantile(np.abs(ratios), 0.95), *np.abs(np.quantile(ratios, [0.025, 0.975])))
    half = np.clip(reach, *np.array([1, 2]) * stats.t.ppf(0.975, 9)) * error
    fast = bootstrap_mean(VALUES, CLUSTERS, n_resamples=300, seed=1)
    assert (fast.low, fast.high) == pytest.approx((mean - half, mean + half))
    columns = bootstrap_mean_columns(of_clusters[:, None], n_resamples=300, seed=1)
    assert np.concatenate(columns) == pytest.approx([fast.low, fast.high])


def test_the_interval_of_a_mean_is_no_narrower_than_students():
    for seed in range(20):
        values = np.random.default_rng(seed).standard_normal(6)
        found = bootstrap_mean(values, np.arange(6), n_resamples=100, seed=seed)
        student = stats.t.interval(0.95, 5, values.mean(), values.std(ddof=1) / np.sqrt(6))
        assert found.low <= student[0] + 1e-12
        assert found.high >= student[1] - 1e-12


def test_all_rows_of_a_cluster_come_along():
    """Copies of a row in its cluster say nothing new: the interval stays, while a row bootstrap would shrink."""
    once = bootstrap_mean(VALUES[:10], np.arange(10), seed=0)
    copied = bootstrap_mean(np.repeat(VALUES[:10], 7), np.repeat(np.arange(10), 7), seed=0)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_cluster_names_may_be_texts_or_objects():
    numbers = bootstrap_mean(VALUES, CLUSTERS)
    texts = np.array([f"question {code}" for code in CLUSTERS], dtype=object)
    assert bootstrap_mean(VALUES, texts) == numbers


def test_one_cluster_has_no_bounds():
    interval = bootstrap_mean(VALUES, np.zeros(30, dtype=int))
    assert interval.estimate == pytest.approx(VALUES.mean())
    assert np.isnan([interval.low, interval.high]).all()
    assert np.isnan(auc_intervals(VALUES[:, None], VALUES[:, None], *[np.zeros(30)] * 2)[0].low)


def test_difference_is_paired_over_shared_clusters():
    effects = 100 * np.repeat(RNG.standard_normal(10), 3)
    paired = bootstrap_difference(effects + 1, effects, CLUSTERS, CLUSTERS)
    assert (paired.low, paired.estimate, paired.high) == pytest.approx((1, 1, 1))
    assert (paired.n, paired.n_clusters) == (60, 10)
    unpaired = bootstrap_difference(effects + 1, effects, CLUSTERS, CLUSTERS + 50)
    assert unpaired.low < -10
    assert unpaired.high > 10
    assert unpaired.n_clusters == 20


def test_difference_changes_sign_with_its_sides():
    one = bootstrap_difference(VALUES[:20], VALUES[20:], CLUSTERS[:20], CLUSTERS[20:])
    other = bootstrap_difference(VALUES[20:], VALUES[:20], CLUSTERS[20:], CLUSTERS[:20])
    assert (other.low, other.estimate, other.high) == pytest.approx((-one.high, -one.estimate, -one.low))


def test_draws_without_a_statistic_are_dropped_and_too_many_leave_no_bounds():
    """Two clusters of four rows, all 0 and all 1: a quarter of the draws sums to 0, a half to 4, a quarter to 8."""
    x, clusters = np.repeat([0.0, 1.0], 4), np.repeat([0, 1], 4)
    few = bootstrap_statistic(lambda a: NAN if a.sum() == 8 else float(a.sum()), (x,), clusters, bounds=(0.0, 8.0))
    assert (few.estimate, few.low, few.high) == (4.0, 0.0, 4.0)
    many = bootstrap_statistic(lambda a: NAN if a.sum() > 3 else 1.0, (x,), clusters)
    assert np.isnan([many.low, many.high]).all()


@given(column(st.shared(st.integers(2, 12), key="n")), column(st.shared(st.integers(2, 12), key="n")))
def test_correlations_are_those_of_scipy(x: np.ndarray, y: np.ndarray):
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(spearman(x, y))
        assert np.isnan(pearson(x, y))
    else:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


@given(column(st.integers(1, 9)), column(st.integers(1, 9)))
def test_auc_counts_pairs_with_ties_one_half(positive: np.ndarray, negative: np.ndarray):
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert auc(positive, negative) == pytest.approx(np.mean(pairs))
    assert auc(negative, positive) == pytest.approx(1 - np.mean(pairs))


def test_auc_by_layer_is_the_auc_of_each_layer():
    positive, negative = RNG.integers(0, 5, (8, 3)).astype(np.float32), RNG.integers(0, 5, (11, 3)).astype(np.float32)
    expected = [auc(positive[:, layer], negative[:, layer]) for layer in range(3)]
    assert auc_by_layer(positive, negative) == pytest.approx(expected)
    assert auc(np.array([3, 4]), np.array([1, 2])) == 1.0


def test_auc_intervals_are_delongs_on_the_logit():
    """Twelve values a side without clusters, by the textbook formula."""
    positive, negative = RNG.integers(1, 5, (12, 2)).astype(float), RNG.integers(0, 4, (12, 2)).astype(float)
    for layer, found in enumerate(auc_intervals(positive, negative, np.arange(12), np.arange(12, 24))):
        ours, theirs = positive[:, layer], negative[:, layer]
        a = auc(ours, theirs)
        placed = [np.mean((x > theirs) + 0.5 * (x == theirs)) for x in ours]
        others = [np.mean((ours > x) + 0.5 * (ours == x)) for x in theirs]
        half = stats.t.ppf(0.975, 11) * np.sqrt((np.var(placed, ddof=1) + np.var(others, ddof=1)) / 12) / (a * (1 - a))
        logit = np.log(a / (1 - a))
        ends = [1 / (1 + np.exp(-end)) for end in (logit - half, logit + half)]
        assert (found.estimate, found.low, found.high) == pytest.approx((a, *ends))
        assert (found.n, found.n_clusters) == (24, 24)


def test_perfect_separation_of_few_is_no_certainty():
    high, low = np.arange(12.0, 24.0)[:, None], np.arange(12.0)[:, None]
    (found,) = auc_intervals(high, low, np.arange(12), np.arange(12))
    assert (found.estimate, found.high) == (1.0, pytest.approx(1.0, abs=0.01))
    assert 0.6 < found.low < 0.9
    (turned,) = auc_intervals(low, high, np.arange(12), np.arange(12))
    assert turned.high == pytest.approx(1 - found.low)
    (many,) = auc_intervals(np.arange(200.0, 400)[:, None], np.arange(200.0)[:, None], np.arange(200), np.arange(200))
    assert many.low > 0.97


@given(column(st.integers(2, 9)), column(st.integers(2, 9)))
def test_auc_intervals_lie_within_0_and_1_around_the_estimate(positive: np.ndarray, negative: np.ndarray):
    clusters = np.arange(len(positive)), np.arange(len(negative))
    (found,) = auc_intervals(positive[:, None], negative[:, None], *clusters)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_permutation_p_value_is_never_zero_and_counts_ties():
    null = np.array([0.1, 0.5, 0.5, 0.9])
    assert permutation_p_value(2.0, null) == pytest.approx(1 / 5)
    assert permutation_p_value(0.5, null) == pytest.approx(4 / 5)
    assert permutation_p_value(0.0, null) == 1.0
    assert np.isnan(permutation_p_value(NAN, null))
    assert np.isnan(permutation_p_value(0.5, np.array([0.1, NAN])))


@settings(max_examples=50)
@given(arrays(np.float64, st.integers(1, 15), elements=st.floats(0, 1)), st.data())
def test_benjamini_hochberg_is_scipys_on_what_is_not_nan(p_values: np.ndarray, data: st.DataObject):
    with_holes = p_values.copy()
    with_holes[data.draw(arrays(bool, len(p_values)))] = NAN
    tested = ~np.isnan(with_holes)
    q_values = benjamini_hochberg(with_holes)
    assert np.isnan(q_values[~tested]).all()
    if tested.any():
        assert q_values[tested] == pytest.approx(stats.false_discovery_control(with_holes[tested]))


def test_benjamini_hochberg_example():
    q_values = benjamini_hochberg(np.array([0.04, NAN, 0.01, 0.03, 0.9]))
    assert q_values == pytest.approx([0.16 / 3, NAN, 0.04, 0.16 / 3, 0.9], nan_ok=True)


def test_cohens_d_and_its_correction():
    """Means 4 and 2, pooled variance (2 + 8) / 4 = 2.5."""
    positive, negative = np.array([3.0, 4.0, 5.0]), np.array([0.0, 2.0, 4.0])
    d = 2 / np.sqrt(2.5)
    assert cohens_d(positive, negative) == pytest.approx(d)
    assert cohens_d(negative, positive) == pytest.approx(-d)
    assert cohens_d(positive, negative, hedges_correction=True) == pytest.approx(d * (1 - 3 / 15))
    assert np.isnan(cohens_d(np.ones(3), np.ones(3)))
    assert np.isnan(cohens_d(np.ones(1), np.zeros(1)))


def test_krippendorff_alpha_of_the_published_example():
    """The worked example with four observers and missing data; interval alpha is 0.849."""
    ratings = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
            [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
        ]
    )
    assert krippendorff_alpha_interval(ratings) == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha_interval(ratings[::-1, ::-1] * -3 + 7) == pytest.approx(0.849, abs=5e-4)


def test_krippendorff_alpha_at_its_ends():
    same = np.tile(VALUES[:6], (3, 1))
    assert krippendorff_alpha_interval(same) == pytest.approx(1.0)
    assert krippendorff_alpha_interval(np.array([[0, 1], [1, 0]])) == pytest.approx(-0.5)
    assert abs(krippendorff_alpha_interval(np.random.default_rng(2).standard_normal((3, 2000)))) < 0.06
    assert np.isnan(krippendorff_alpha_interval(np.ones((2, 4))))
    assert np.isnan(krippendorff_alpha_interval(np.array([[1.0, NAN], [NAN, 2.0]])))


def test_mistakes_are_named():
    with pytest.raises(AlignmentError, match="got 30 rows and 29 labels"):
        bootstrap_mean(VALUES, CLUSTERS[:-1])
    with pytest.raises(AlignmentError, match="must be finite, got 1 of 30"):
        bootstrap_mean(np.where(np.arange(30) == 4, NAN, VALUES), CLUSTERS)
    with pytest.raises(EmptySelectionError, match="needs rows, got 0"):
        bootstrap_mean(VALUES[:0], CLUSTERS[:0])
    with pytest.raises(EmptySelectionError, match="needs rows, got 2 and 0"):
        auc(VALUES[:2], VALUES[:0])
    with pytest.raises(AlignmentError, match="got 30 rows and 3 labels"):
        bootstrap_statistic(spearman, (VALUES[:3], VALUES), CLUSTERS[:3])
    with pytest.raises(ConfigError, match="between 0 and 1, got 95.0"):
        bootstrap_mean(VALUES, CLUSTERS, level=95.0)
    with pytest.raises(ConfigError, match="n_resamples must be at least 1, got 0"):
        bootstrap_mean(VALUES, CLUSTERS, n_resamples=0)
