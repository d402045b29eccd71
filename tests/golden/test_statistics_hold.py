"""Simulated truth: intervals cover it, nulls reject as often as they say, planted effects are found."""

from functools import cache
from typing import Any, Literal

import numpy as np
import pytest

from persona_interp.measurements.separation import SeparationProfile, separation_profile
from persona_interp.statistics import (
    auc_intervals,
    benjamini_hochberg,
    bootstrap_difference,
    bootstrap_mean,
)
from tests.golden.simulation import binomial_bounds, clustered

N_SETS = 200
N_NULL = 49
QUESTIONS = np.repeat(np.arange(10), 2)


@pytest.mark.slow
def test_cluster_bootstrap_covers_the_mean_as_documented_and_a_row_bootstrap_does_not():
    rng, clusters, n_sets = np.random.default_rng(11), np.repeat(np.arange(20), 4), 600
    hits, naive = 0, 0
    for index in range(n_sets):
        values = clustered(rng, clusters, 0.5)
        by_cluster = bootstrap_mean(values, clusters, n_resamples=500, seed=index)
        by_row = bootstrap_mean(values, np.arange(80), n_resamples=300, seed=index)
        hits += by_cluster.low <= 0 <= by_cluster.high
        naive += by_row.low <= 0 <= by_row.high
    low, high = binomial_bounds(0.955, n_sets)
    assert low < hits / n_sets < high
    assert naive / n_sets < 0.85


@pytest.mark.slow
def test_paired_difference_covers_the_truth_and_gains_from_shared_clusters():
    rng, clusters, n_sets = np.random.default_rng(12), np.repeat(np.arange(30), 2), 400
    hits, widths = 0, []
    for index in range(n_sets):
        effects = rng.standard_normal(30)[clusters]
        a, b = (effects + 0.5 * rng.standard_normal(60) + shift for shift in (0.3, 0.0))
        paired = bootstrap_difference(a, b, clusters, clusters, n_resamples=500, seed=index)
        unpaired = bootstrap_difference(a, b, clusters, clusters + 100, n_resamples=500, seed=index)
        hits += paired.low <= 0.3 <= paired.high
        widths.append((paired.high - paired.low) / (unpaired.high - unpaired.low))
    low, high = binomial_bounds(0.955, n_sets)
    assert low < hits / n_sets < high
    assert np.mean(widths) < 0.5


def test_auc_interval_covers_the_true_auc():
    """Two normals a distance d apart in units of their total spread have AUC Phi(d / sqrt 2) = 0.76 for d = 1."""
    rng, clusters, layers, n_repeats = np.random.default_rng(13), np.repeat(np.arange(20), 3), 5, 80
    hits = []
    for _ in range(n_repeats):
        positive, negative = (
            np.stack([clustered(rng, clusters, 0.3) for _ in range(layers)], axis=1) + shift for shift in (1.0, 0.0)
        )
        intervals = auc_intervals(positive, negative, clusters, clusters + 20)
        hits += [interval.low <= 0.76025 <= interval.high for interval in intervals]
    assert 0.89 < np.mean(hits) < 0.98


def simulate(rng: np.random.Generator, *, effect: float, kind: str) -> dict[str, Any]:
    """Twenty rows a set (two for each of ten questions), four layers, sixteen dimensions."""
    shape = (20, 4, 16)
    direction = np.zeros(16)
    direction[3] = effect
    sets = {}
    for split, offset in (("train", 0), ("test", 10)):
        shared = rng.standard_normal((10, 4, 16))[QUESTIONS % 10]
        for pole, sign in (("positive", 0.5), ("negative", -0.5)):
            if kind == "plain":
                noise = rng.standard_normal(shape)
            else:  # one spectrum for all layers, layers alike, and questions that move both poles together
                same = rng.standard_normal((20, 1, 16))
                noise = (shared + same + 0.5 * rng.standard_normal(shape)) * np.geomspace(4, 0.1, 16)
            sets[f"{split}_{pole}"] = (noise + sign * direction).astype(np.float32)
            sets[f"{split}_{pole}_questions"] = QUESTIONS + offset
    return sets


def profiles(
    kind: str,
    effect: float,
    n_sets: int,
    splits: Literal["train", "both"] = "train",
    covariance: Literal["total", "within"] = "total",
) -> list[SeparationProfile]:
    rng, drawn = np.random.default_rng(21), []
    for index in range(n_sets):
        sets = simulate(rng, effect=effect, kind=kind)
        options: dict[str, Any] = {"n_null": N_NULL, "seed": index}
        drawn.append(separation_profile(**sets, **options, shuffled_splits=splits, random_covariance=covariance))
    return drawn


@cache
def without_effect(kind: str, option: str) -> list[SeparationProfile]:
    if option == "default":
        return profiles(kind, 0.0, N_SETS)
    return profiles(kind, 0.0, N_SETS, "both", "within")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "structured"])
@pytest.mark.parametrize("option", ["default", "other"])
def test_shuffled_null_rejects_at_its_level_where_there_is_no_effect(kind: str, option: str):
    p_values = np.array([profile.p_shuffled for profile in without_effect(kind, option)])
    for level in (0.1, 0.2, 0.5):
        low, high = binomial_bounds(level, N_SETS)
        assert low < np.mean(p_values <= level) < high


@pytest.mark.parametrize("kind", ["plain", "structured"])
@pytest.mark.parametrize("option", ["default", "other"])
def test_random_null_rejects_at_most_at_its_level_where_there_is_no_effect(kind: str, option: str):
    """Its sign comes from the same training rows as the difference, which leans it toward the difference."""
    p_values = np.array([profile.p_random for profile in without_effect(kind, option)])
    for level in (0.1, 0.2, 0.5):
        assert level / 5 < np.mean(p_values <= level) < binomial_bounds(level, N_SETS)[1]


def test_both_nulls_find_a_planted_effect():
    drawn = profiles("plain", 2.5, 60)
    assert np.mean([p.p_random <= 0.05 for p in drawn]) > 0.8
    assert np.mean([p.p_shuffled <= 0.05 for p in drawn]) > 0.8


@pytest.mark.parametrize("effect", [2.5, 4.0, 8.0])
def test_shuffling_both_splits_finds_an_effect_however_strong(effect: float):
    assert np.mean([p.p_shuffled <= 0.05 for p in profiles("plain", effect, 40, "both")]) > 0.9


def test_best_layer_is_where_the_effect_was_planted():
    rng, found = np.random.default_rng(22), []
    for index in range(40):
        sets = simulate(rng, effect=0.0, kind="plain")
        for split in ("train", "test"):
            sets[f"{split}_positive"][:, 2, 5] += 3.0
        found.append(separation_profile(**sets, n_null=1, seed=index).best_layer)
    assert np.mean(np.array(found) == 2) > 0.9


def test_benjamini_hochberg_holds_the_false_discovery_rate():
    """Of 50 tests 40 are null, so the expected share of false rejections is at most 0.1 * 40 / 50 = 0.08."""
    rng, shares, power, uncorrected = np.random.default_rng(31), [], [], []
    for _ in range(800):
        p_values = np.concatenate([rng.random(40), rng.beta(0.05, 3.0, size=10)])
        rejected = benjamini_hochberg(p_values) <= 0.1
        shares.append(rejected[:40].sum() / max(1, rejected.sum()))
        power.append(rejected[40:].mean())
        uncorrected.append((p_values[:40] <= 0.1).sum() / max(1, (p_values <= 0.1).sum()))
    error = 3.5 * np.std(shares) / np.sqrt(len(shares))
    assert 0.08 - error < np.mean(shares) < 0.08 + error
    assert np.mean(power) > 0.5
    assert np.mean(uncorrected) > 0.2
