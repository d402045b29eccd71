"""What data of this size would find: from the standard error, whatever the level of the interval beside it."""

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm

from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.statistics import auc_intervals, bootstrap_mean, bootstrap_statistic, correlation_interval
from persona_interp.statistics.paired import auc_difference, correlation_difference
from persona_interp.statistics.power import (
    detectable,
    detectable_auc,
    detectable_correlation,
    detectable_cosine,
    detectable_effect,
)

RNG = np.random.default_rng(0)
X, Y, CLUSTERS = RNG.standard_normal(40), RNG.standard_normal(40), np.repeat(np.arange(20), 2)
LABELS, NAN = np.arange(40) % 2 == 0, float("nan")
LEVELS = (0.8, 0.95, 0.99)


def test_it_does_not_depend_on_the_level_of_the_interval() -> None:
    crossed = np.tile([0, 1], 20)
    for made in (
        lambda level: bootstrap_mean(X, CLUSTERS, level=level),
        lambda level: bootstrap_mean(X, CLUSTERS, also=crossed, level=level),
        lambda level: correlation_interval(X, Y, CLUSTERS, level=level),
        lambda level: correlation_interval(X, Y, CLUSTERS, kind="spearman", level=level),
        lambda level: bootstrap_statistic(np.median, (X,), CLUSTERS, n_resamples=50, level=level),
        lambda level: auc_intervals(X[:20, None], X[20:, None], CLUSTERS[:20], CLUSTERS[20:], level=level)[0],
        lambda level: correlation_difference(X, X + Y, Y, level=level),
        lambda level: auc_difference(X, Y, LABELS, np.arange(40), level=level),
    ):
        found = [made(level) for level in LEVELS]
        assert len({(one.error, one.freedom) for one in found}) == 1 and found[0].error > 0 < found[0].freedom


def test_the_error_is_that_of_the_mean() -> None:
    found = bootstrap_mean(X, np.arange(40))
    assert (found.error, found.freedom) == (pytest.approx(X.std(ddof=1) / np.sqrt(40)), 39)
    assert np.isnan(bootstrap_mean(X, np.zeros(40)).error), "one cluster has none"


def test_bounds_give_the_error_at_their_own_level() -> None:
    for level in LEVELS:
        made = bootstrap_mean(X, np.arange(40), n_resamples=1, level=level)
        low, high = (made.estimate + sign * made.error * _quantile(level, 39) for sign in (-1, 1))
        assert detectable(low, high, 40, level=level) == pytest.approx(detectable_effect(made.error, 39))
    assert np.isnan(detectable(0.0, 1.0, 1)) and np.isnan(detectable(NAN, 1.0, 9))


def test_many_clusters_need_the_plain_sum_of_quantiles_and_few_more() -> None:
    plain = norm.ppf(0.975) + norm.ppf(0.8)
    assert detectable_effect(1.0, NAN) == pytest.approx(plain) == detectable_effect(1.0, 1e9)
    assert (np.diff(detectable_effect(1.0, np.array([1, 2, 5, 20, 1000]))) < 0).all()
    assert np.isnan(detectable_effect(np.array([0.0, NAN]), 9)).all(), "where nothing varied, nothing is known"
    assert detectable_correlation(10.0, 9) <= 1


def test_the_effect_of_an_auc_is_on_log_odds_and_nothing_at_the_ends() -> None:
    assert detectable_auc(0.4, 9, 0.7) == pytest.approx(1 / (1 + np.exp(-logit(0.7) - norm.ppf(0.8) * 0.4)))
    assert np.isnan(detectable_auc(0.4, 9, 1.0)) and np.isnan(detectable_auc(NAN, 9, 0.7))
    perfect = auc_intervals(np.ones((9, 1)), np.zeros((9, 1)), np.arange(9), np.arange(9))[0]
    assert perfect.high == 1 and np.isnan(detectable_auc(perfect.error, perfect.freedom, 0.7))
    assert detectable_cosine(-1.0, 1.0, 5, 0.9) == 1 and 0.9 < detectable_cosine(0.0, 0.1, 50, 0.9) < 1


def test_methods_that_cannot_be_compared_are_named() -> None:
    gap = np.where(np.arange(40) == 3, NAN, X)
    with pytest.raises(AlignmentError, match="got 1 of 40 that are not"):
        correlation_difference(X, gap, Y)
    with pytest.raises(AlignmentError, match="got 1 of 40 that are not"):
        auc_difference(X, gap, LABELS, CLUSTERS)
    with pytest.raises(AlignmentError, match="got 40, 40 and 39 labels"):
        auc_difference(X, Y, LABELS[:39], CLUSTERS)
    with pytest.raises(AlignmentError, match="one cluster label"):
        auc_difference(X, Y, LABELS, CLUSTERS[:39])
    with pytest.raises(EmptySelectionError):
        auc_difference(X, Y, np.zeros(40, dtype=bool), CLUSTERS)


def _quantile(level: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))
