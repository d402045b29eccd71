"""Induced directions: planted shifts are found for what they are, and random ones are not called persona vectors."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.errors import AlignmentError, ConfigError, IncompatibleDirectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.psychadapter.induced_cosines import induced_cosines
from persona_interp.studies.psychadapter.induced_direction import (
    InducedShifts,
    induced_direction,
    induced_geometry,
    induced_shifts,
)
from persona_interp.types import Hookpoint
from tests.small import direction, provenance
from tests.unit.studies.psychadapter.planted_adapter import D_MODEL, N_LAYERS, PlantedModel, Shift, planted_adapter

WORDS = ("rain", "tea", "bread", "shoes", "trains", "sun", "wool", "glass", "ink", "salt", "milk", "iron")
TEXTS = [f"a text about {word}" for word in WORDS]


def vectors(seed: int, *lead: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((*lead, N_LAYERS, D_MODEL))).float()


def shifts_of(shift: Shift, trait: str = "loud", **options: Any) -> InducedShifts:
    model: Any = PlantedModel(shift)
    return induced_shifts(model, planted_adapter(), trait, TEXTS, progress=False, **options)


def straight(z: Tensor, _: Tensor) -> Tensor:
    """One vector times the first trait."""
    return z[:, :1, None] * vectors(0)


def metric(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table[table["metric"] == name]


def reference(values: Tensor, **changes: Any) -> Direction:
    return direction(values, provenance=provenance(n_layers=N_LAYERS, d_model=D_MODEL), **changes)


def test_a_straight_shift_is_recovered_and_called_straight():
    shifts = shifts_of(straight)
    made = shifts.direction()
    torch.testing.assert_close(made.vectors, 6 * vectors(0), rtol=1e-4, atol=1e-4)
    assert (made.method, made.trait, made.positive_pole) == ("psychadapter_induced", "loud", "high loud")
    assert made.residual_norm(0) == pytest.approx(10)
    table = induced_geometry(shifts)
    for name in ("consistency", "explained", "first component", "linearity"):
        np.testing.assert_allclose(metric(table, name)[["estimate", "low", "high"]], 1, atol=1e-4)
    expected = 6 * vectors(0).norm(dim=-1).numpy() / 10
    np.testing.assert_allclose(metric(table, "relative norm")["estimate"], expected, rtol=1e-4)


def test_induced_direction_is_the_same_as_the_shifts_give():
    model: Any = PlantedModel(straight)
    made = induced_direction(model, planted_adapter(), "loud", TEXTS, z=2.0, progress=False)
    torch.testing.assert_close(made.vectors, 4 * vectors(0), rtol=1e-4, atol=1e-4)
    other = induced_direction(model, planted_adapter(), "slow", TEXTS, position="last", progress=False)
    torch.testing.assert_close(other.vectors, torch.zeros_like(other.vectors), atol=1e-5, rtol=0)


def test_a_shift_that_each_text_takes_its_own_way_is_seen():
    def scattered(z: Tensor, numbers: Tensor) -> Tensor:
        return torch.stack([value * vectors(int(k)) for value, k in zip(z[:, 0], numbers, strict=True)])

    table = induced_geometry(shifts_of(scattered))
    assert (metric(table, "consistency")["estimate"].abs() < 0.2).all()
    assert (metric(table, "explained")["estimate"] < 0.25).all()


def test_a_shift_that_turns_over_z_has_a_second_component():
    def bent(z: Tensor, _: Tensor) -> Tensor:
        return z[:, :1, None] * vectors(0) + z[:, :1, None] ** 2 * vectors(1)

    table = induced_geometry(shifts_of(bent))
    assert (metric(table, "first component")["estimate"] < 0.95).all()
    assert (metric(table, "linearity")["estimate"] < 0.6).all()
    np.testing.assert_allclose(metric(table, "consistency")["estimate"], 1, atol=1e-4)


def test_the_planted_vector_is_called_equal_and_another_is_not():
    made = induced_cosines(
        shifts_of(straight), {"loud": reference(vectors(0)), "slow": reference(vectors(1))}, n_draws=199
    )
    own, other = made[made["own"]], made[~made["own"]]
    assert list(own["reference"]) == ["loud"] * N_LAYERS
    np.testing.assert_allclose(own["estimate"], 1, atol=1e-4)
    assert own["equal"].all()
    assert (own["q"] <= 2 / 200).all()
    assert not other["equal"].any()
    np.testing.assert_allclose(other["others"], 1, atol=1e-4)
    assert set(other["best_other"]) == {"loud"}


def test_too_few_draws_are_no_test():
    made = induced_cosines(shifts_of(straight), {"loud": reference(vectors(0))}, n_draws=18)
    assert made[["p", "q"]].isna().all(axis=None) and (made["declared"] == "no test").all()


def test_a_related_vector_is_related_but_not_equal():
    mixed = vectors(0) + 0.8 * vectors(1)
    made = induced_cosines(shifts_of(straight), {"loud": reference(mixed)}, n_draws=199)
    assert (made["q"] < 0.05).all()
    assert not made["equal"].any()


def test_random_shifts_with_the_texts_covariance_are_rarely_called_related():
    """Of 60 shifts drawn from the null itself, at two layers each, about one in twenty has p <= 0.05."""
    model: Any = PlantedModel(lambda z, _: torch.zeros(len(z), N_LAYERS, D_MODEL))
    plain = induced_shifts(model, planted_adapter(), "loud", TEXTS, z_values=(-3.0, 0.0, 3.0), progress=False)
    centred = plain.values[0] - plain.values[0].mean(0)
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        mix = torch.from_numpy(rng.standard_normal(len(TEXTS))).float()
        drawn = torch.einsum("t,tld->ld", mix, centred) * np.sqrt(0.9 / (len(TEXTS) - 1))
        noise = torch.from_numpy(rng.standard_normal(drawn.shape)).float() * np.sqrt(0.1)
        drawn = drawn + noise * (centred.square().sum((0, 2)) / (len(TEXTS) - 1) / D_MODEL).sqrt()[:, None]
        values = plain.values + torch.tensor([-3.0, 0, 3])[:, None, None, None] * drawn
        null = InducedShifts("loud", plain.z_values, values, plain.norms, plain.hookpoints, plain.provenance)
        made = induced_cosines(null, {"loud": reference(vectors(seed))}, n_draws=199, seed=seed)
        p_values += list(made["p"])
    rate = np.mean(np.array(p_values) <= 0.05)
    assert 0.0 < rate < 0.12


def test_a_real_model_is_shifted_at_every_layer_and_the_last_token_is_read(model: HookedModelBase):
    torch.manual_seed(0)
    shape = KVShape.of(model.config)  # pyright: ignore
    adapter = PsychAdapter(shape, ("loud", "slow"), model.provenance).eval().requires_grad_(False)
    for position in ("all", "last"):
        shifts = induced_shifts(
            model, adapter, "loud", TEXTS, z_values=(-3.0, 0.0, 3.0), position=position, progress=False
        )
        assert shifts.values.shape == (3, len(TEXTS), model.n_layers, model.d_model)
        assert (shifts.direction().vectors.norm(dim=-1) > 1e-3).all()
        assert shifts.hookpoints == tuple(Hookpoint(layer) for layer in range(model.n_layers))
        alone = induced_shifts(
            model, adapter, "loud", TEXTS[3:4], z_values=(-3.0, 3.0), position=position, progress=False
        )
        torch.testing.assert_close(alone.span[0], shifts.span[3], rtol=1e-3, atol=1e-4)


def test_what_cannot_be_measured_is_refused():
    model: Any = PlantedModel(straight)
    adapter = planted_adapter()
    with pytest.raises(ConfigError, match="the adapter has no trait 'calm'"):
        induced_direction(model, adapter, "calm", TEXTS)
    with pytest.raises(ConfigError, match="z must be above 0 and at most 1000000, got 0"):
        induced_direction(model, adapter, "loud", TEXTS, z=0.0)
    with pytest.raises(ConfigError, match="got 1 at 'all'"):
        induced_shifts(model, adapter, "loud", TEXTS, z_values=(3.0,))
    with pytest.raises(ConfigError, match="texts must be a list of texts that is not empty"):
        induced_direction(model, adapter, "loud", [])
    with pytest.raises(ConfigError, match="needs more texts, got 2"):
        induced_geometry(induced_shifts(model, adapter, "loud", TEXTS[:2], progress=False))
    with pytest.raises(ConfigError, match=r"nothing was measured at z = 5"):
        shifts_of(straight).at(5.0)


def test_references_that_do_not_fit_are_refused():
    shifts = shifts_of(straight)
    with pytest.raises(ConfigError, match="asked for with 0 references"):
        induced_cosines(shifts, {})
    with pytest.raises(ConfigError, match="own 'calm'"):
        induced_cosines(shifts, {"loud": reference(vectors(0))}, own="calm")
    with pytest.raises(AlignmentError, match="there is no vector of loud at resid_post at layer 1"):
        induced_cosines(shifts, {"loud": reference(vectors(0)[:1])})
    other = direction(vectors(0), provenance=provenance(weights="bbbb", n_layers=N_LAYERS, d_model=D_MODEL))
    with pytest.raises(IncompatibleDirectionError, match="belongs to tiny-a"):
        induced_cosines(shifts, {"loud": other})
