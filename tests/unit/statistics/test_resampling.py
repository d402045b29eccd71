import numpy as np
import pytest
from scipy.stats import t as student

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
    held = Interval(0.421, 0.306, 0.529, 60, 1, over="item", fixed=("judge", "prompts"))
    assert str(held) == "0.42 [0.31, 0.53] (n = 60, 1 item; judge, prompts fixed)"


def test_two_factors_add_their_variances():
    """By hand, a balanced design: questions plus seeds minus cells, and Satterthwaite's degrees of freedom."""
    values = VALUES + np.array([0.0, 2.0, 5.0, 9.0])[SEEDS]
    table = values.reshape(8, 4)
    by_question, by_seed = table.mean(axis=1), table.mean(axis=0)
    of_first, of_second = by_question.var(ddof=1) / 8, by_seed.var(ddof=1) / 4
    variance = max(of_first + of_second - ((table - table.mean()) ** 2).sum() / 32**2, of_first, of_second)
    freedom = np.clip(variance**2 / (of_first**2 / 7 + of_second**2 / 3), 3, 10)
    half = student.ppf(0.975, freedom) * np.sqrt(variance)
    found = bootstrap_mean(values, QUESTIONS, also=SEEDS)
    assert (found.low, found.high) == pytest.approx((table.mean() - half, table.mean() + half))
    assert (found.n, found.n_clusters, found.n_also) == (32, 8, 4)
    assert bootstrap_mean(VALUES, QUESTIONS, n_resamples=300, seed=1).n_also is None


def test_means_that_differ_by_seed_alone_have_the_interval_of_the_seeds():
    by_seed = np.array([0.0, 1.0, 5.0, 9.0])
    crossed = bootstrap_mean(by_seed[SEEDS], QUESTIONS, also=SEEDS)
    half = student.ppf(0.975, 3) * by_seed.std(ddof=1) / 2
    assert (crossed.low, crossed.high) == pytest.approx((3.75 - half, 3.75 + half))
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
    with pytest.raises(AlignmentError, match="got 32 rows and 31 labels"):
        bootstrap_mean(VALUES, QUESTIONS, also=SEEDS[1:])
