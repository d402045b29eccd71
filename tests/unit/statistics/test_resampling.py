import numpy as np
import pytest

from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_statistic,
    pearson,
)

RNG = np.random.default_rng(1)
QUESTIONS, SEEDS = (codes.ravel() for codes in np.meshgrid(np.arange(8), np.arange(4), indexing="ij"))
VALUES = RNG.standard_normal(32)


def test_interval_with_seeds_reads_as_a_sentence():
    assert str(Interval(0.421, 0.306, 0.529, 60, 20, n_also=3)) == "0.42 [0.31, 0.53] (n = 60, 20 questions x 3)"


def test_two_factors_agree_with_a_bootstrap_that_copies_rows():
    copied = bootstrap_statistic(lambda x: float(np.mean(x)), (VALUES,), QUESTIONS, also=SEEDS, n_resamples=300, seed=1)
    fast = bootstrap_mean(VALUES, QUESTIONS, also=SEEDS, n_resamples=300, seed=1)
    assert (fast.low, fast.high) == pytest.approx((copied.low, copied.high), abs=1e-12)
    assert (fast.n, fast.n_clusters, fast.n_also) == (32, 8, 4)
    assert bootstrap_mean(VALUES, QUESTIONS, n_resamples=300, seed=1).n_also is None


def test_the_factors_are_resampled_independently():
    """Means that differ by seed alone: the interval is that of the seeds, whatever the number of questions."""
    by_seed = np.array([0.0, 1.0, 5.0, 9.0])
    crossed = bootstrap_mean(by_seed[SEEDS], QUESTIONS, also=SEEDS, n_resamples=20_000)
    alone = bootstrap_mean(by_seed, np.arange(4), n_resamples=20_000)
    assert (crossed.low, crossed.high) == pytest.approx((alone.low, alone.high), abs=0.1)
    one_way = bootstrap_mean(by_seed[SEEDS], QUESTIONS)
    assert one_way.high - one_way.low == pytest.approx(0, abs=1e-12)


def test_one_seed_has_no_bounds():
    interval = bootstrap_mean(VALUES, QUESTIONS, also=np.zeros(32))
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.n_also == 1


def test_difference_is_paired_over_questions_and_seeds():
    effects = 100 * RNG.standard_normal(8)[QUESTIONS] + 100 * RNG.standard_normal(4)[SEEDS]
    paired = bootstrap_difference(effects + 1, effects, QUESTIONS, QUESTIONS, also_a=SEEDS, also_b=SEEDS)
    assert (paired.low, paired.estimate, paired.high) == pytest.approx((1, 1, 1))
    unpaired = bootstrap_difference(effects + 1, effects, QUESTIONS, QUESTIONS, also_a=SEEDS, also_b=SEEDS + 9)
    assert unpaired.low < -10
    assert unpaired.high > 10


def test_an_incomplete_design_drops_draws_without_a_row():
    keep = QUESTIONS % 4 == SEEDS
    interval = bootstrap_mean(VALUES[keep], QUESTIONS[keep], also=SEEDS[keep], n_resamples=4000)
    assert interval.low < interval.estimate < interval.high
    copied = bootstrap_statistic(pearson, (VALUES[keep], VALUES[keep]), QUESTIONS[keep], also=SEEDS[keep])
    assert (copied.low, copied.high) == pytest.approx((1, 1))


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="the second factor was given for one side only"):
        bootstrap_difference(VALUES, VALUES, QUESTIONS, QUESTIONS, also_a=SEEDS)
    with pytest.raises(AlignmentError, match="32 rows came with 31 cluster labels"):
        bootstrap_mean(VALUES, QUESTIONS, also=SEEDS[1:])
