"""A direction that went through another tool's file steers a model exactly as it did before."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.directions.direction import Direction, check_direction
from persona_interp.directions.formats import FOREIGN_FORMATS, load_foreign, save_foreign
from persona_interp.directions.formats.persona_vectors import load_persona_vectors
from persona_interp.errors import AlignmentError, HookpointError
from persona_interp.interventions.residual import Add
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import token_batch
from persona_interp.types import Hookpoint
from tests.contract.tiny import D_MODEL, N_LAYERS, PAD, Tiny, words


@pytest.fixture(scope="module")
def native(model: HookedModelBase) -> Direction:
    vectors = torch.randn(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(3))
    owner = model.provenance.derive("planted", 1, pooling="response_mean")
    places = tuple(map(Hookpoint, range(N_LAYERS)))
    return Direction(vectors, places, "assistant", "planted", "assistant", owner)


def steered(model: HookedModelBase, direction: Direction, layer: int) -> torch.Tensor:
    batch = token_batch([words(5, 1), words(3, 2)], [words(2, 4), words(3, 5)], pad_id=PAD)
    logits = model.run(batch, edits=Add(direction, layer, 1.5, units="direction").edits).logits
    assert logits is not None
    return logits


@pytest.mark.parametrize("format_name", FOREIGN_FORMATS)
def test_steering_is_the_same_to_the_bit(model: HookedModelBase, native: Direction, tmp_path: Path, format_name: Any):
    path = tmp_path / ("a.json" if format_name == "easysteer" else "a.bin")
    save_foreign(native, path, format_name, drop_layer_0=True, incomplete=True)
    found = load_foreign(path, format_name, model, trait="assistant")
    check_direction(found, model)
    before = steered(model, native, 1)
    assert torch.equal(steered(model, found, 1), before)
    assert not torch.equal(steered(model, native, 2), before)  # one layer late would be seen
    with pytest.raises(AlignmentError, match="carries no residual norms"):
        Add(found, 1, 1.0).edits  # noqa: B018


def test_rows_are_the_hidden_states_of_transformers_and_the_last_one_cannot_be_steered_with(
    model: HookedModelBase, small: Tiny, tmp_path: Path
):
    """The file as its makers write it, from transformers' own hidden states: each row lies where it was read."""
    batch = token_batch([words(6, 7)], pad_id=PAD)
    hidden = small.run(batch).hidden_states
    torch.save(torch.stack([state[0, -1] for state in hidden]), tmp_path / "loud_prompt_last_diff.pt")
    found = load_persona_vectors(tmp_path / "loud_prompt_last_diff.pt", model)
    read = model.run(batch, read=found.hookpoints).residuals
    assert found.provenance.pooling == "prompt_last"
    assert found.hookpoints == (Hookpoint(0, "resid_pre"), *map(Hookpoint, range(N_LAYERS - 1)))
    for hookpoint in found.hookpoints:
        torch.testing.assert_close(found.at(hookpoint), read[hookpoint][0, -1], rtol=1e-4, atol=1e-4)
    last = model.run(batch, read=[Hookpoint(N_LAYERS - 1)]).residuals[Hookpoint(N_LAYERS - 1)]
    assert not torch.allclose(hidden[-1][0, -1], last[0, -1], rtol=0.1)  # after the final norm
    with pytest.raises(HookpointError):
        Add(found, N_LAYERS - 1, 1.0, units="direction").edits  # noqa: B018


def test_a_copy_of_another_model_is_refused(model: HookedModelBase, native: Direction, tmp_path: Path):
    save_foreign(native, tmp_path / "a.pt", "assistant-axis")
    found = load_foreign(tmp_path / "a.pt", "assistant-axis", model)
    other = replace(found, provenance=replace(found.provenance, weights="other"))
    with pytest.raises(Exception, match="belongs to"):
        check_direction(other, model)
