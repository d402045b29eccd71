from typing import Literal

import numpy as np
import pytest

from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.statistics import (
    auc,
    bootstrap_statistic,
    cliffs_delta,
    cliffs_delta_interval,
    cohens_d,
    correlation_interval,
    hedges_g_interval,
    intervals,
    pearson,
    spearman,
    varied_conditions,
    within_condition_correlation,
)

RNG = np.random.default_rng(2)
CLUSTERS, SEEDS = np.repeat(np.arange(12), 3), np.tile(np.arange(3), 12)
X = np.round(RNG.standard_normal(36), 1)
Y = np.round(0.6 * X + RNG.standard_normal(36), 1)
NAN = float("nan")


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize("also", [None, SEEDS])
def test_correlations_agree_with_a_bootstrap_that_copies_rows(
    kind: Literal["pearson", "spearman"], also: np.ndarray | None
):
    slow = bootstrap_statistic(
        {"pearson": pearson, "spearman": spearman}[kind], (X, Y), CLUSTERS, also=also, n_resamples=200, seed=4
    )
    fast = correlation_interval(X, Y, CLUSTERS, kind=kind, also=also, n_resamples=200, seed=4)
    assert fast.estimate == pytest.approx(slow.estimate)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=1e-9)
    assert (fast.n, fast.n_clusters, fast.n_also) == (slow.n, slow.n_clusters, slow.n_also)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_chunks_and_offsets_change_nothing(kind: Literal["pearson", "spearman"], monkeypatch: pytest.MonkeyPatch):
    whole = correlation_interval(X, Y, CLUSTERS, kind=kind, n_resamples=50)
    monkeypatch.setattr(intervals, "MAX_ELEMENTS", 36 * 7)
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


def test_within_draws_agree_with_a_bootstrap_that_copies_rows():
    conditions = np.tile([0, 1, 2], 12)

    def slow(x: np.ndarray, y: np.ndarray, c: np.ndarray) -> float:
        centred = [column - np.array([column[c == each].mean() for each in c]) for column in (x, y)]
        return pearson(*centred)

    copied = bootstrap_statistic(slow, (X, Y, conditions), CLUSTERS, n_resamples=100, seed=5)
    fast = within_condition_correlation(X, Y, conditions, clusters=CLUSTERS, min_sd=0.0, n_resamples=100, seed=5)
    assert (fast.low, fast.high) == pytest.approx((copied.low, copied.high), abs=1e-9)


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
    side = np.repeat([1.0, 0.0], 36)
    copied = bootstrap_statistic(
        lambda v, s: cohens_d(v[s == 1], v[s == 0], hedges_correction=True),
        (np.concatenate([positive, negative]), side), np.tile(CLUSTERS, 2), n_resamples=300, seed=6,
    )  # fmt: skip
    assert (g.low, g.high) == pytest.approx((copied.low, copied.high), abs=1e-9)
    delta = cliffs_delta_interval(positive, negative, CLUSTERS, CLUSTERS, n_resamples=300)
    assert delta.estimate == pytest.approx(2 * auc(positive, negative) - 1) == cliffs_delta(positive, negative)
    assert -1 <= delta.low < delta.estimate < delta.high <= 1
    assert np.isnan(hedges_g_interval(np.full(4, 0.1), np.full(4, 0.1), *[np.arange(4)] * 2).low)


def test_mistakes_are_named():
    with pytest.raises(AlignmentError, match="36 rows came with 35 conditions"):
        within_condition_correlation(X, Y, SEEDS[1:], clusters=CLUSTERS)
    with pytest.raises(EmptySelectionError, match="no condition has a standard deviation of at least 50"):
        within_condition_correlation(X, Y, SEEDS, clusters=CLUSTERS, min_sd=50.0)
    with pytest.raises(AlignmentError, match="1 of 36 values are not finite"):
        correlation_interval(X, np.where(np.arange(36) == 3, NAN, Y), CLUSTERS)
