"""Simulated truth for tests and intervals of clustered rows: levels, coverage, power, and what a naive one does."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.statistics import (
    bootstrap_mean,
    corrected,
    correlation_interval,
    permutation_test_correlation,
    permutation_test_paired,
    permutation_test_two_samples,
    within_condition_correlation,
)
from tests.golden.simulation import binomial_bounds, clustered

LEVELS = (0.05, 0.2)


def holds(p_values: list[float], level: float) -> bool:
    low, high = binomial_bounds(level, len(p_values))
    return bool(low < np.mean(np.array(p_values) <= level) < high)


@pytest.mark.slow
def test_two_way_bootstrap_covers_as_documented_and_one_way_does_not():
    """20 questions and 10 seeds, a third of the variance each, 0.94 in 1,000 sets; 0.76 with questions alone."""
    rng, n_sets = np.random.default_rng(51), 300
    questions, seeds = (codes.ravel() for codes in np.meshgrid(np.arange(20), np.arange(10), indexing="ij"))
    hits, naive = 0, 0
    for index in range(n_sets):
        values = rng.standard_normal(20)[questions] + rng.standard_normal(10)[seeds] + rng.standard_normal(200)
        crossed = bootstrap_mean(values, questions, also=seeds, n_resamples=400, seed=index)
        one_way = bootstrap_mean(values, questions, n_resamples=400, seed=index)
        hits += crossed.low <= 0 <= crossed.high
        naive += one_way.low <= 0 <= one_way.high
    low, high = binomial_bounds(0.94, n_sets)
    assert low < hits / n_sets < high
    assert naive / n_sets < 0.83


@pytest.mark.slow
def test_correlation_intervals_cover_the_truth():
    """Correlation 0.5 in clusters of four, and 0.52 within 8 conditions."""
    rng, clusters, n_sets = np.random.default_rng(52), np.repeat(np.arange(20), 4), 250
    conditions, asked = np.repeat(np.arange(8), 20), np.tile(np.arange(20), 8)
    overall, within = 0, 0
    for index in range(n_sets):
        x = clustered(rng, clusters, 0.5)
        y = 0.5 * x + np.sqrt(0.75) * clustered(rng, clusters, 0.5)
        interval = correlation_interval(x, y, clusters, n_resamples=300, seed=index)
        overall += interval.low <= 0.5 <= interval.high
        shared, noise = rng.standard_normal(20)[asked], rng.standard_normal((2, 160))
        x = 3 * conditions + 0.5 * shared + noise[0]
        y = 100 * conditions + 5 * (0.5 * shared + 0.4 * noise[0] + np.sqrt(0.84) * noise[1])
        interval = within_condition_correlation(x, y, conditions, clusters=asked, n_resamples=300, seed=index)
        within += interval.low <= 0.52 <= interval.high
    for hits, coverage in ((overall, 0.95), (within, 0.95)):
        low, high = binomial_bounds(coverage, n_sets)
        assert low < hits / n_sets < high


def test_paired_test_holds_its_level_where_a_test_of_rows_does_not_and_finds_an_effect():
    """Ten clusters of four rows, half of the variance theirs. An effect of 1 has power 0.85 or more at 0.05."""
    rng, clusters = np.random.default_rng(53), np.repeat(np.arange(10), 4)
    by_cluster, by_row, planted = [], [], []
    for index in range(300):
        differences, zero = clustered(rng, clusters, 0.5), np.zeros(40)
        options: dict[str, Any] = {"n_permutations": 199, "seed": index}
        by_cluster.append(permutation_test_paired(differences, zero, clusters, **options).p_value)
        by_row.append(permutation_test_paired(differences, zero, np.arange(40), **options).p_value)
        planted.append(permutation_test_paired(differences + 1.0, zero, clusters, **options).p_value)
    assert all(holds(by_cluster, level) for level in LEVELS)
    assert np.mean(np.array(by_row) <= 0.05) > 0.12
    assert np.mean(np.array(planted) <= 0.05) > 0.8


@pytest.mark.slow
def test_two_sample_tests_hold_their_level_where_rows_dealt_freely_do_not_and_find_an_effect():
    """Whole clusters dealt to the sides, or rows within questions; effects of 1.2 and 0.8: power 0.8."""
    rng, clusters = np.random.default_rng(54), np.repeat(np.arange(20), 4)
    ours, theirs = clusters[:40], clusters[40:]
    whole, free, planted, within, found = [], [], [], [], []
    for index in range(300):
        values = clustered(rng, clusters, 0.5)
        options: dict[str, Any] = {"n_permutations": 199, "seed": index}
        a, b = values[:40], values[40:]
        whole.append(permutation_test_two_samples(a, b, ours, theirs, permute="clusters", **options).p_value)
        free.append(permutation_test_two_samples(a, b, np.zeros(40), np.zeros(40), permute="within", **options).p_value)
        planted.append(permutation_test_two_samples(a + 1.2, b, ours, theirs, permute="clusters", **options).p_value)
        effects = 3 * rng.standard_normal(10)[np.repeat(np.arange(10), 4)]
        a, b = effects + rng.standard_normal(40), effects + rng.standard_normal(40)
        within.append(permutation_test_two_samples(a, b, ours, ours, permute="within", **options).p_value)
        found.append(permutation_test_two_samples(a + 0.8, b, ours, ours, permute="within", **options).p_value)
    assert all(holds(whole, level) and holds(within, level) for level in LEVELS)
    assert np.mean(np.array(free) <= 0.05) > 0.12
    assert np.mean(np.array(planted) <= 0.05) > 0.75
    assert np.mean(np.array(found) <= 0.05) > 0.8


@pytest.mark.slow
def test_correlation_test_holds_its_level_where_a_test_of_rows_does_not_and_finds_an_effect():
    """Fifteen clusters of four rows, half of both variances theirs; strata move both columns together.

    A correlation of 0.6 is found in 0.85 of sets or more at 0.05.
    """
    rng, clusters, strata = np.random.default_rng(55), np.repeat(np.arange(15), 4), np.tile(np.arange(4), 15)
    by_cluster, by_row, within, planted = [], [], [], []
    for index in range(300):
        x, y = clustered(rng, clusters, 0.5), clustered(rng, clusters, 0.5)
        options: dict[str, Any] = {"n_permutations": 199, "seed": index}
        by_cluster.append(permutation_test_correlation(x, y, clusters, kind="spearman", **options).p_value)
        by_row.append(permutation_test_correlation(x, y, np.arange(60), **options).p_value)
        moved = x + 3 * strata, y + 3 * strata
        within.append(permutation_test_correlation(*moved, clusters, within=strata, **options).p_value)
        planted.append(permutation_test_correlation(x, 0.6 * x + 0.8 * y, clusters, **options).p_value)
    assert all(holds(by_cluster, level) and holds(within, level) for level in LEVELS)
    assert np.mean(np.array(by_row) <= 0.05) > 0.1
    assert np.mean(np.array(planted) <= 0.05) > 0.8


def test_a_report_of_many_tests_holds_its_false_discovery_rate():
    """Sixteen paired tests, twelve of them null: at most 0.1 * 12 / 16 of what is found is false."""
    rng, clusters, shares, power = np.random.default_rng(56), np.repeat(np.arange(12), 2), [], []
    for index in range(100):
        p_values = [
            permutation_test_paired(
                clustered(rng, clusters, 0.5) + (1.5 if test >= 12 else 0), np.zeros(24), clusters, n_permutations=4095,
                seed=index,
            ).p_value
            for test in range(16)
        ]  # fmt: skip
        found = corrected(pd.DataFrame({"p": p_values}))["q"].to_numpy() <= 0.1
        shares.append(found[:12].sum() / max(1, found.sum()))
        power.append(found[12:].mean())
    assert np.mean(shares) < 0.075 + 3.5 * np.std(shares) / np.sqrt(len(shares))
    assert np.mean(power) > 0.8
