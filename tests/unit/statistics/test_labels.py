"""Agreement, slopes and tests of judges against labels: against slower ways to the same numbers."""

import numpy as np
import pytest

from persona_interp.errors import EmptySelectionError
from persona_interp.statistics import (
    Interval,
    alpha_interval,
    auc_intervals,
    bootstrap_statistic,
    correlation_interval,
    krippendorff_alpha_interval,
    slope_interval,
    spearman_p,
)
from persona_interp.statistics.auc_interval import auc_p, auc_test
from persona_interp.statistics.smooth_functions import SlopeOf


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_alpha_has_the_interval_of_a_bootstrap_that_computes_it_anew_in_every_draw(missing: float) -> None:
    rng = np.random.default_rng(0)
    ratings = 50 + 20 * (rng.standard_normal(30) + rng.standard_normal((3, 30)))
    ratings[rng.random(ratings.shape) < missing] = np.nan
    clusters = np.repeat(np.arange(10), 3)
    found = alpha_interval(ratings, clusters, n_resamples=50, seed=3)
    paired = np.sum(~np.isnan(ratings), axis=0) > 1
    kept, items = ratings[:, paired], np.arange(paired.sum())
    slow = bootstrap_statistic(
        lambda chosen: krippendorff_alpha_interval(kept[:, chosen.astype(int)]),
        (items,),
        clusters[paired],
        n_resamples=50,
        bounds=(-np.inf, 1.0),
        seed=3,
    )
    assert (found.low, found.high) == pytest.approx((slow.low, slow.high))
    assert found.estimate == krippendorff_alpha_interval(ratings) and found.n == paired.sum()


def test_alpha_of_equal_ratings_is_not_known_and_of_single_ones_refused() -> None:
    equal = alpha_interval(np.full((2, 12), 7.0), np.arange(12), n_resamples=20)
    assert np.isnan([equal.estimate, equal.low, equal.high]).all()
    with pytest.raises(EmptySelectionError):
        alpha_interval(np.array([[1.0, np.nan], [np.nan, 2.0]]), np.arange(2))


def test_a_slope_is_that_of_least_squares_and_its_gradient_that_of_differences() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 100, 40)
    y = 3 + 0.5 * x + rng.standard_normal(40)
    assert slope_interval(x, y, np.arange(40)).estimate == pytest.approx(np.polyfit(x, y, 1)[0])
    smooth = SlopeOf(x, y)
    sums = smooth.columns.sum(axis=0, keepdims=True) + np.array([[0.0, 3.0, 2.0, 1.0, 4.0]])
    steps = 1e-3 * np.eye(5)
    by_differences = [float((smooth.value(sums + s) - smooth.value(sums - s))[0]) / 2e-3 for s in steps]
    assert smooth.gradient(sums)[0] == pytest.approx(by_differences, rel=1e-4)
    constant = slope_interval(np.full(12, 5.0), rng.standard_normal(12), np.arange(12))
    assert np.isnan([constant.estimate, constant.low]).all()


def test_a_perfect_order_and_a_perfect_separation_have_a_p() -> None:
    values, clusters = np.arange(8.0), np.arange(8)
    perfect = correlation_interval(values, values, clusters, kind="spearman", n_resamples=50)
    assert spearman_p(perfect) == pytest.approx(2 / 40320)
    (apart,) = auc_intervals(values[4:, None], values[:4, None], clusters[4:], clusters[:4])
    assert np.isnan(auc_p(apart)) and 0 < auc_test(apart) < 0.3
    assert (auc_test(apart) <= 0.05) == (apart.low > 0.5)
    (mixed,) = auc_intervals(values[2:5, None], values[[0, 1, 5, 6, 7], None], clusters[2:5], clusters[[0, 1, 5, 6, 7]])
    assert auc_test(mixed) == auc_p(mixed)
    assert np.isnan(spearman_p(Interval(0.3, np.nan, np.nan, 4, 1)))
