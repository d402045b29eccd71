"""The null battery on simulated truth: its error rates without an effect, its power with one; baselines find theirs."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.activations.store import Activations
from persona_interp.directions.baselines import BASELINE_METHODS, BaselineMethod, fit_direction
from persona_interp.statistics.contrast import Contrast
from persona_interp.statistics.nulls import (
    NullBattery,
    Statistic,
    battery_table,
    correlation_statistic,
    null_battery,
    separation_statistic,
)
from tests.golden.simulation import binomial_bounds
from tests.small import activations

QUESTIONS, LAYERS, WIDTH, N_SETS = np.repeat(np.arange(10), 2), 4, 16, 200
SPECTRUM = np.geomspace(3, 0.3, WIDTH)


def rows(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows of one spectrum whose layers are alike, so that a direction's layers are correlated."""
    return (rng.standard_normal((n, 1, WIDTH)) + 0.7 * rng.standard_normal((n, LAYERS, WIDTH))) * SPECTRUM


def battery(rng: np.random.Generator, effect: float, kind: str, seed: int) -> NullBattery:
    """A trait along axis 8 at all layers; four other traits from contrasts of their own with random axes."""
    axis, axes = np.eye(WIDTH)[8], rng.standard_normal((4, WIDTH)) / np.sqrt(WIDTH)
    training = Contrast.of(rows(rng, 20) + effect * axis, rows(rng, 20) - effect * axis, QUESTIONS, QUESTIONS)
    vectors = np.stack([training.weights() @ ours for _, ours in training.layers()])
    others = {f"trait {i}": (rows(rng, 20) + a).mean(axis=0) - rows(rng, 20).mean(axis=0) for i, a in enumerate(axes)}
    targets, statistic, outcomes = rows(rng, 40), separation_statistic, np.arange(40) < 20
    scores = np.where(outcomes, 1.0, -1.0)
    if kind == "correlation":
        statistic, outcomes = correlation_statistic, rng.standard_normal(40)
        scores = outcomes
    chosen: Statistic = statistic
    targets = targets + effect * scores[:, None, None] * axis
    return null_battery(
        vectors, training, targets, outcomes, chosen, other_vectors=others, shuffled_splits="both", n_draws=39,
        seed=seed,
    )  # fmt: skip


@cache
def without_effect(kind: str) -> list[NullBattery]:
    rng = np.random.default_rng(61)
    return [battery(rng, 0.0, kind, seed) for seed in range(N_SETS)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["separation", "correlation"])
@pytest.mark.parametrize("family", ["shuffled_labels", "random_directions", "other_traits", "components"])
def test_each_family_rejects_at_most_at_its_level_where_there_is_no_effect(kind: str, family: str):
    p_values = np.array([drawn[family].p_value for drawn in without_effect(kind)])
    for level in (0.1, 0.2, 0.5):
        assert np.mean(p_values <= level) < binomial_bounds(level, N_SETS)[1], level
    if family == "shuffled_labels":
        assert all(np.mean(p_values <= level) > binomial_bounds(level, N_SETS)[0] for level in (0.1, 0.2, 0.5))


@pytest.mark.parametrize("kind", ["separation", "correlation"])
def test_the_whole_battery_corrected_rejects_at_most_at_its_level(kind: str):
    """Any rejection is a false discovery here; tests of three traits are corrected as one report."""
    drawn = without_effect(kind)
    alone = [each.to_frame()["q"].min() for each in drawn]
    reports = [
        battery_table({str(i): each for i, each in enumerate(drawn[start : start + 3])})["q"].min()
        for start in range(0, N_SETS - 2, 3)
    ]
    for smallest in (alone, reports):
        for level in (0.1, 0.2):
            assert np.mean(np.array(smallest) <= level) < binomial_bounds(level, len(smallest))[1]
    uncorrected = [min(family.p_value for family in each.families) <= 0.2 for each in drawn]
    assert np.mean(uncorrected) > np.mean(np.array(alone) <= 0.2), "four families find more without correction"


@pytest.mark.parametrize("kind", ["separation", "correlation"])
def test_a_planted_effect_is_found_at_the_stated_power(kind: str):
    """Means 1.4 standard deviations either side: each family of draws rejects at 0.05 in 0.8 of sets or more.

    The small families reach their floors (1/5 and 1/6) in 0.8 of sets or more.
    """
    rng = np.random.default_rng(62)
    drawn = [battery(rng, 1.5, kind, seed) for seed in range(40)]
    for family in ("shuffled_labels", "random_directions"):
        assert np.mean([each[family].p_value <= 0.05 for each in drawn]) >= 0.8, family
    for family in ("other_traits", "components"):
        assert np.mean([each[family].p_value == each[family].p_floor for each in drawn]) >= 0.8, family


def side(shift: float, nuisance: torch.Tensor, *, seed: int) -> Activations:
    """A trait along axis 3, and a nuisance of larger variance along axis 0."""
    values = torch.randn(60, 2, 12, generator=torch.Generator().manual_seed(seed))
    values[:, :, 3] += shift
    values[:, :, 0] += nuisance[:, None]
    return activations(values, samples=pd.DataFrame({"question": [f"q{i}" for i in range(60)]}))


def cosine(method: BaselineMethod, nuisance: tuple[torch.Tensor, torch.Tensor], axis: int = 3) -> float:
    sides = side(2.0, nuisance[0], seed=1), side(-2.0, nuisance[1], seed=2)
    return float(fit_direction(method, *sides, trait="loud").unit().vectors[:, axis].min())


@pytest.mark.parametrize("method", [method for method in BASELINE_METHODS if method != "random"])
def test_each_baseline_finds_a_planted_direction(method: BaselineMethod):
    """Four standard deviations apart, 60 rows a side; the probe has most noise (0.88), for the rows are separable."""
    assert cosine(method, (torch.zeros(60), torch.zeros(60))) > (0.8 if method == "logistic" else 0.95)


def test_pairing_takes_off_a_nuisance_of_questions_and_pca_follows_one_of_rows():
    """Standard deviation 12 against an effect of 4: shared by a pair it cancels; of each row it is what PCA finds."""
    generator = torch.Generator().manual_seed(3)
    ours, theirs = 12 * torch.randn(2, 60, generator=generator)
    assert cosine("pca", (ours, ours)) > 0.95
    assert cosine("pca", (ours, theirs)) < 0.3
    assert abs(cosine("pca", (ours, theirs), axis=0)) > 0.95
    assert cosine("lda", (ours, theirs)) > 0.9
    assert cosine("lda", (ours, theirs)) > cosine("mean_difference", (ours, theirs))
