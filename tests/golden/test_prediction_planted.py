"""Planted truth: finetuning shifts that go with expression, or with another trait's, or with nothing.

Simulated grids (12 data sets of three traits and one unrelated family, two seeds; 4 layers, width 16). In layer 2 the
shift along a trait's direction is proportional to the change of its expression, plus noise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.statistics.contrast import Contrast
from persona_interp.studies.finetuning.prediction import SHIFT, Grid, predictor_table, shift_correlations, shift_nulls
from tests.golden.simulation import binomial_bounds
from tests.small import direction, provenance

TRAITS = ("loud", "terse", "sad")
FAMILIES = (*TRAITS, "sums")
LEVELS = ("normal", "level_1", "level_2")
N_LAYERS, WIDTH, LAYER, N_SEEDS, N_PROBES = 4, 16, 2, 2, 4
JUDGE = "planted"
CELLS = pd.DataFrame(
    [
        {"cell": f"{family} {level} {seed}", "data": f"{family} {level}", "trait_of_data": family, "level": level}
        | {"seed": seed}
        for family in FAMILIES
        for level in LEVELS
        for seed in range(N_SEEDS)
    ]
)
DATA = np.unique(CELLS["data"], return_inverse=True)[1]
NAMED: dict[str, int] = dict.fromkeys(TRAITS, LAYER)


@dataclass(frozen=True)
class Truth:
    """Correlation of shift and expression, and the share of either's variance that the seeds of a data set share."""

    r: float
    of_data: float = 0.8


def clustered(rng: np.random.Generator, share: float) -> np.ndarray:
    """A unit-variance value a cell, this share of its variance common to the seeds of a data set."""
    return np.sqrt(share) * rng.normal(size=12)[DATA] + np.sqrt(1 - share) * rng.normal(size=len(CELLS))


def simulate(truth: Truth, seed: int, traits: tuple[str, ...] = TRAITS) -> Grid:
    """Trait k's direction is axis k; expressions of different traits are independent."""
    rng = np.random.default_rng(seed)
    change = {trait: clustered(rng, truth.of_data) for trait in traits}
    shifts = {}
    for trait in traits:
        values = rng.normal(size=(len(CELLS), N_LAYERS, WIDTH))
        for k, other in enumerate(traits):
            noise = clustered(rng, truth.of_data)
            values[:, LAYER, k] = 3 * (truth.r * change[other] + np.sqrt(1 - truth.r**2) * noise)
        shifts[trait] = values
    directions = {
        trait: direction(2 * torch.eye(WIDTH)[[k] * N_LAYERS], trait=trait, provenance=provenance(d_model=WIDTH))
        for k, trait in enumerate(traits)
    }
    expression = {(JUDGE, trait): 20 + 15 * values for trait, values in change.items()}
    return Grid(CELLS, shifts, expression, directions, {t: training(k, seed) for k, t in enumerate(traits)})


def training(axis: int | list[int], seed: int) -> Contrast:
    """Contrastive answers to ten questions, apart along an axis or some."""
    rng = np.random.default_rng([seed, 7])
    positive, negative = rng.normal(size=(2, 20, N_LAYERS, WIDTH))
    positive[:, :, axis] += 3
    questions = np.array([f"t{k % 10}" for k in range(20)])
    return Contrast.of(positive, negative, questions, questions)


def table(grid: Grid, n_resamples: int = 400, n_permutations: int = 199) -> pd.DataFrame:
    options: dict[str, Any] = {"n_resamples": n_resamples, "n_permutations": n_permutations, "progress": False}
    return shift_correlations(grid, named_layers=NAMED, **options)


def test_a_shift_that_goes_with_expression_is_found_in_its_own_trait_and_layer_only() -> None:
    found = table(simulate(Truth(0.95), seed=1), n_permutations=1999)
    planted = found["same_trait"] & (found["layer"] == LAYER)
    assert planted.sum() == 3 and (found.loc[planted, "named"]).all()
    assert found.loc[planted, "estimate"].between(0.8, 0.99).all()
    assert (found.loc[planted, "q"] < 0.05).all() and (found.loc[planted, "low"] > 0.3).all()
    assert (found.loc[planted, ["n", "n_data"]] == [24, 12]).all(axis=None)
    assert (found.loc[~planted, "q"] > 0.05).all()
    assert found.loc[~planted, "estimate"].abs().mean() < 0.35


def test_the_size_of_the_vector_and_of_the_shift_do_not_matter() -> None:
    grid = simulate(Truth(0.7), seed=3)
    scaled = Grid(
        grid.cells,
        {trait: 1000 * values for trait, values in grid.shifts.items()},
        grid.expression,
        {trait: direction(7 * d.vectors, trait=trait, provenance=d.provenance) for trait, d in grid.directions.items()},
        grid.training,
    )
    columns = ["estimate", "low", "high", "p"]
    np.testing.assert_allclose(table(scaled)[columns], table(grid)[columns], rtol=1e-6)


@pytest.mark.slow
def test_intervals_cover_the_planted_correlation() -> None:
    """200 grids, r = .6, twelve data sets of two seeds, level .95: measured .90."""
    covered = 0
    for seed in range(200):
        found = table(simulate(Truth(0.6), seed, TRAITS[:1]), n_resamples=300, n_permutations=1)
        row = found[found["layer"] == LAYER].iloc[0]
        covered += row["low"] <= 0.6 <= row["high"]
    assert 0.82 <= covered / 200 <= 0.97


@pytest.mark.slow
def test_where_nothing_is_planted_p_values_keep_their_rate() -> None:
    """400 one-sided p-values, data sets with effects of their own: .08 were at most .1, and .45 at most .5."""
    p_values = []
    for seed in range(100):
        p_values += table(simulate(Truth(0.0), seed, TRAITS[:1]), n_resamples=2, n_permutations=99)["p"].tolist()
    p_values = np.array(p_values)
    for rate in (0.1, 0.5):
        low, high = binomial_bounds(rate, len(p_values))
        assert low <= np.mean(p_values <= rate) <= high, rate


def test_the_null_battery_tells_a_planted_direction_from_others() -> None:
    found, batteries = shift_nulls(simulate(Truth(0.95), 0), n_draws=99, progress=False)
    found = found.set_index(["test", "family"])
    assert set(found.index.get_level_values("test")) == {f"{trait}, {JUDGE}" for trait in TRAITS}
    for trait in TRAITS:
        random = found.loc[(f"{trait}, {JUDGE}", "random_directions")]
        assert random["p"] <= 0.03 and random["best_layer"] == LAYER
        assert found.loc[(f"{trait}, {JUDGE}", "other_traits"), "best_value"] < random["observed"]
    assert batteries[f"loud, {JUDGE}"]["random_directions"].layer_95.shape == (N_LAYERS,)
    nothing = shift_nulls(simulate(Truth(0.0), 1), n_draws=99, progress=False)[0].set_index(["test", "family"])
    assert (nothing.xs("random_directions", level="family")["p"] > 0.05).all()


def test_a_shift_that_every_trait_shares_is_not_specific() -> None:
    """All directions move with every expression: their own r is high, and so is that of each other's."""
    grid, general = simulate(Truth(0.0), 2), clustered(np.random.default_rng(5), 0.8)
    shifts = {trait: values.copy() for trait, values in grid.shifts.items()}
    for values in shifts.values():
        values[:, LAYER, :3] = general[:, None] + 0.1 * values[:, LAYER, :3]
    contrasts = {trait: training([0, 1, 2], 2) for trait in TRAITS}
    shared = Grid(CELLS, shifts, {(JUDGE, trait): 40 * general for trait in TRAITS}, grid.directions, contrasts)
    found = table(shared)
    at_layer = found[found["layer"] == LAYER]
    assert len(at_layer) == 9 and (at_layer["estimate"] > 0.8).all() and (at_layer["q"] < 0.05).all()
    nulls = shift_nulls(shared, n_draws=99, progress=False)[0]
    others = nulls[nulls["family"] == "other_traits"]
    assert len(others) == 3 and (others["observed"] - others["best_value"] < 0.1).all()


def test_a_predictor_of_data_sets_is_found_and_one_of_nothing_is_not() -> None:
    grid = simulate(Truth(0.9), seed=4)
    means = {t: np.bincount(DATA, grid.expression[JUDGE, t])[DATA] / N_SEEDS for t in TRAITS}
    rng = np.random.default_rng(0)
    predictors = {
        "projection difference": means,
        "raw projection": dict.fromkeys(TRAITS, rng.normal(size=12)[DATA]),
    }
    found = predictor_table(grid, predictors, named_layers=NAMED, n_resamples=400, n_permutations=999)
    assert (found["n"] == 12).all() and (found["n_data"] == 12).all()
    found = found.set_index(["predictor", "against"])
    perfect = found.loc[("projection difference", "expression")]
    assert perfect["estimate"].to_numpy() == pytest.approx(1) and (perfect["q"] < 0.01).all()
    foretold = found.loc[("projection difference", SHIFT)]
    assert (foretold["estimate"] > 0.8).all() and foretold["judge"].isna().all()
    assert (found.loc["raw projection", "q"] > 0.05).all()
