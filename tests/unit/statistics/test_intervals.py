from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from scipy import stats

from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.statistics import (
    Interval,
    auc,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_statistic,
    cliffs_delta,
    cliffs_delta_interval,
    cohens_d,
    correlation_interval,
    hedges_g_interval,
    intervals,
    pearson,
    spearman,
    standardised_change,
    varied_conditions,
    within_condition_correlation,
)
from persona_interp.statistics import smooth as smooth_module
from persona_interp.statistics.auc_interval import delta_p
from persona_interp.statistics.resampling import Resampling
from persona_interp.statistics.smooth import Smooth
from persona_interp.statistics.smooth_functions import CorrelationOf, DifferenceOf, HedgesG, RatioOf, StandardisedChange

RNG = np.random.default_rng(2)
CLUSTERS, SEEDS = np.repeat(np.arange(12), 3), np.tile(np.arange(3), 12)
X = np.round(RNG.standard_normal(36), 1)
Y = np.round(0.6 * X + RNG.standard_normal(36), 1)
NAN = float("nan")


@pytest.mark.parametrize("also", [None, SEEDS])
def test_spearman_agrees_with_a_bootstrap_that_copies_rows(also: np.ndarray | None):
    slow = bootstrap_statistic(spearman, (X, Y), CLUSTERS, also=also, n_resamples=200, bounds=(-1.0, 1.0), seed=4)
    fast = correlation_interval(X, Y, CLUSTERS, kind="spearman", also=also, n_resamples=200, seed=4)
    assert fast.estimate == pytest.approx(slow.estimate)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=1e-9)
    assert (fast.n, fast.n_clusters, fast.n_also) == (slow.n, slow.n_clusters, slow.n_also)


def slow_bootstrap_t(smooth: Smooth, clusters: np.ndarray, *, n_resamples: int, seed: int) -> tuple[float, float]:
    """The interval with numerical derivatives, one draw after the other."""
    resampling = Resampling.of((X, clusters, None), n_resamples=n_resamples, seed=seed)
    counts, n = resampling.counts, resampling.counts.shape[1]
    totals = np.stack([smooth.columns[resampling.codes == c].sum(axis=0) for c in range(n)])

    def measured(weights: np.ndarray) -> tuple[float, float]:
        def value(w: np.ndarray) -> float:
            return float(smooth.value((w @ totals)[None])[0])

        steps = 1e-5 * np.eye(n)
        shares = np.array([(value(weights + step) - value(weights - step)) / 2e-5 for step in steps])
        return value(weights), float(np.sqrt(n / (n - 1) * (weights * shares**2).sum()))

    centre, error = measured(np.ones(n))
    ratios = [(value - centre) / max(own, 0.2 * error) for value, own in map(measured, counts)]
    smallest = stats.t.ppf(0.975, n - 1)
    tails = np.abs(np.quantile(ratios, [0.025, 0.975])) if smooth.skewed else [0.0]
    half = np.clip(max(np.quantile(np.abs(ratios), 0.95), *tails), smallest, 2 * smallest) * error
    return smooth.back(centre - half), smooth.back(centre + half)


CONDITIONS = np.tile([0, 1, 2], 12)
SMOOTH: dict[str, tuple[Smooth, Callable[[], Interval]]] = {
    "pearson": (
        CorrelationOf(X, Y, np.zeros(36, dtype=int)),
        lambda: correlation_interval(X, Y, CLUSTERS, n_resamples=60, seed=3),
    ),
    "within": (
        CorrelationOf(X, Y, CONDITIONS),
        lambda: within_condition_correlation(X, Y, CONDITIONS, clusters=CLUSTERS, min_sd=0.0, n_resamples=60, seed=3),
    ),
    "hedges": (
        HedgesG(X[:18], Y[18:]),
        lambda: hedges_g_interval(X[:18], Y[18:], CLUSTERS[:18], CLUSTERS[18:], n_resamples=60, seed=3),
    ),
    "standardised": (
        StandardisedChange(np.stack([X, 2 * Y], 1)[:18], np.stack([Y, X], 1)[18:], least=0.0),
        lambda: standardised_change(
            np.stack([X, 2 * Y], 1)[:18], np.stack([Y, X], 1)[18:], CLUSTERS[:18], CLUSTERS[18:], n_resamples=60, seed=3
        ),
    ),
    "ratio": (
        RatioOf(X, np.abs(Y) + 1),
        lambda: bootstrap_ratio(X, np.abs(Y) + 1, CLUSTERS, n_resamples=60, seed=3),
    ),
    "difference": (
        DifferenceOf(X[:18], Y[18:]),
        lambda: bootstrap_difference(X[:18], Y[18:], CLUSTERS[:18], CLUSTERS[18:], n_resamples=60, seed=3),
    ),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_intervals_agree_with_numerical_derivatives(name: str):
    smooth, found = SMOOTH[name]
    slow = slow_bootstrap_t(smooth, CLUSTERS, n_resamples=60, seed=3)
    # Hedges' correction depends on the number of rows, which is no share of a cluster's: the columns' only inexact one
    assert (found().low, found().high) == pytest.approx(slow, rel=2e-3 if name == "hedges" else 1e-4)


def test_a_second_factor_that_differs_makes_the_interval_that_of_its_levels():
    """Five prompts whose means alone carry the correlation: twenty questions do not make it surer."""
    prompts, questions = (codes.ravel() for codes in np.meshgrid(np.arange(5), np.arange(20), indexing="ij"))
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((2, 5))[:, prompts] + 0.05 * rng.standard_normal((2, 100))
    crossed = correlation_interval(x, y, questions, also=prompts)
    alone = correlation_interval(x, y, questions)
    assert alone.high - alone.low < 0.2
    assert crossed.high - crossed.low > 1
    assert (crossed.n_clusters, crossed.n_also) == (20, 5)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_chunks_and_offsets_change_nothing(kind: Literal["pearson", "spearman"], monkeypatch: pytest.MonkeyPatch):
    whole = correlation_interval(X, Y, CLUSTERS, kind=kind, n_resamples=50)
    monkeypatch.setattr(intervals, "MAX_ELEMENTS", 36 * 7)
    monkeypatch.setattr(smooth_module, "_ELEMENTS_AT_ONCE", 12 * 7)
    parts = correlation_interval(1000 * X + 1e6, Y, CLUSTERS, kind=kind, n_resamples=50)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=1e-6)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_a_constant_column_has_no_correlation(kind: Literal["pearson", "spearman"]):
    interval = correlation_interval(X, np.full(36, 0.1), CLUSTERS, kind=kind, n_resamples=50)
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()


def test_within_conditions_only_what_varies_inside_counts():
    conditions = np.tile([0, 1, 2], 12)
    moved = Y + 100 * conditions
    overall = correlation_interval(X + 10 * conditions, moved, CLUSTERS)
    within = within_condition_correlation(X + 10 * conditions, moved, conditions, clusters=CLUSTERS, min_sd=0.0)
    assert overall.estimate > 0.98
    centred = [column - np.array([column[conditions == c].mean() for c in range(3)])[conditions] for column in (X, Y)]
    assert within.estimate == pytest.approx(pearson(*centred))
    assert within.low < within.estimate < within.high < 0.95


def test_flat_conditions_are_left_out():
    conditions = np.repeat(["flat", "varied", "alone"], [17, 18, 1])
    y = np.where(conditions == "flat", 0.5 * Y, 20 * Y)
    kept = varied_conditions(y, conditions, min_sd=1.0)
    assert set(conditions[kept]) == {"varied"}
    within = within_condition_correlation(X, y, conditions, clusters=CLUSTERS)
    assert within.n == 18
    assert within.estimate == pytest.approx(pearson(X[17:35], Y[17:35]))
    assert not varied_conditions(np.zeros(36), conditions, min_sd=0.0).any()


def test_effect_sizes_and_their_intervals():
    positive, negative = X + 1, Y
    g = hedges_g_interval(positive, negative, CLUSTERS, CLUSTERS, n_resamples=300, seed=6)
    assert g.estimate == pytest.approx(cohens_d(positive, negative, hedges_correction=True))
    assert g.low < g.estimate < g.high
    delta = cliffs_delta_interval(positive, negative, CLUSTERS, CLUSTERS)
    assert delta.estimate == pytest.approx(2 * auc(positive, negative) - 1) == cliffs_delta(positive, negative)
    assert -1 <= delta.low < delta.estimate < delta.high <= 1
    assert np.isnan(hedges_g_interval(np.full(4, 0.1), np.full(4, 0.1), *[np.arange(4)] * 2).low)


def test_mistakes_are_named():
    with pytest.raises(AlignmentError, match="got 36 rows and 35 conditions"):
        within_condition_correlation(X, Y, SEEDS[1:], clusters=CLUSTERS)
    with pytest.raises(EmptySelectionError, match="no condition has a standard deviation of at least 50"):
        within_condition_correlation(X, Y, SEEDS, clusters=CLUSTERS, min_sd=50.0)
    with pytest.raises(AlignmentError, match="must be finite, got 1 of 36"):
        correlation_interval(X, np.where(np.arange(36) == 3, NAN, Y), CLUSTERS)


def test_the_p_of_a_delta_of_zero_is_at_its_level_and_larger_where_answers_share_questions():
    """1,000 sets of 20 questions a side, with one answer each, and with four that are half alike."""
    rng, rejected = np.random.default_rng(0), {}
    for n_answers, share in ((1, 0.0), (4, 0.5)):
        ps = []
        for _ in range(1000):
            sides = [
                np.sqrt(share) * np.repeat(rng.normal(size=20), n_answers)
                + np.sqrt(1 - share) * rng.normal(size=20 * n_answers)
                for _ in range(2)
            ]
            auc = (sides[0][:, None] > sides[1][None, :]).mean()
            ps.append(delta_p(2 * auc - 1, 20))
        rejected[n_answers] = np.mean(np.array(ps) <= 0.05)
    assert 0.03 <= rejected[1] <= 0.07 and rejected[4] <= 0.06, rejected
    assert delta_p(0.0, 20) == 1.0 and delta_p(1.0, 20) < 1e-6


def test_a_ratio_of_sums_is_a_weighted_mean() -> None:
    rng = np.random.default_rng(0)
    above, below = rng.exponential(size=30), rng.uniform(1, 9, 30)
    found = bootstrap_ratio(above, below, np.arange(30))
    assert found.estimate == pytest.approx(above.sum() / below.sum()) and found.low < found.estimate < found.high
    plain, mean = bootstrap_ratio(above, np.ones(30), np.arange(30)), bootstrap_mean(above, np.arange(30))
    assert plain.row == pytest.approx(mean.row)
    assert np.isnan(bootstrap_ratio(above, np.zeros(30), np.arange(30)).estimate)
    assert np.isnan(bootstrap_ratio(above[:5], below[:5], np.zeros(5)).low)
