"""Shares of a projection: exact on every architecture and backend, and what was planted is found."""

from collections.abc import Callable

import pytest
import torch

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.attribution import attribute_projection, attribute_projections
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError, HookpointError
from persona_interp.interventions.units import AblateUnits, units_of
from persona_interp.models.components import UNIT_KINDS, UnitKind, output_map
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.types import POOLINGS, Edits, Hookpoint, Pooling
from tests.contract.test_components import DENSE
from tests.contract.tiny import BACKENDS, D_MODEL, EXPERTS, N_LAYERS, Tiny, inner_module

PROMPTS = ["one two", "three four five", "one two", "six"]
ANSWERS = ["seven eight", "nine", "ten eleven", "seven eight nine"]


def direction_of(model: HookedModelBase, seed: int = 0) -> Direction:
    vectors = torch.randn(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(seed))
    hookpoints = tuple(Hookpoint(i) for i in range(N_LAYERS))
    return Direction(vectors, hookpoints, "evil", "test", "evil", model.provenance)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", DENSE)
def test_shares_add_up_to_the_projection(architecture: str, backend: str, make_tiny: Callable[[str], Tiny]) -> None:
    model = make_tiny(architecture).hooked(backend)
    direction = direction_of(model)
    found = attribute_projection(model, direction, 2, PROMPTS, ANSWERS, progress=False)
    assert float(found.error.abs().max()) <= 1e-4
    assert found.projection.abs().max() > 0.1
    read = extract_activations(model, PROMPTS, ANSWERS, hookpoints=direction.hookpoints, progress=False)
    torch.testing.assert_close(found.projection, direction.project(read)[:, 2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_is_attributed(llama_model: HookedModelBase, pooling: Pooling) -> None:
    direction = direction_of(llama_model)
    found = attribute_projection(llama_model, direction, 1, PROMPTS, ANSWERS, pooling=pooling, progress=False)
    read = extract_activations(llama_model, PROMPTS, ANSWERS, pooling=pooling, progress=False)
    torch.testing.assert_close(found.projection, direction.project(read)[:, 1], rtol=1e-4, atol=1e-4)
    assert found.layers == (0, 1)


def test_backends_agree_and_groups_are_means(llama: Tiny) -> None:
    directions = [direction_of(llama.hooked(BACKENDS[0]), seed) for seed in (0, 1)]
    single = [attribute_projections(llama.hooked(b), directions, 2, PROMPTS, ANSWERS, progress=False) for b in BACKENDS]
    groups = ["a", "b", "a", "a"]
    grouped = attribute_projections(
        llama.hooked(BACKENDS[0]), directions, 2, PROMPTS, ANSWERS, groups=groups, tokens_at_once=32, progress=False
    )
    for k in range(2):
        torch.testing.assert_close(single[0][k].neurons, single[1][k].neurons, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(grouped[k].heads[0], single[0][k].heads[[0, 2, 3]].mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(grouped[k].neurons[1], single[0][k].neurons[1], rtol=1e-4, atol=1e-5)
    assert grouped[0].groups == ("a", "b") and grouped[0].n_samples.tolist() == [3, 1]


def test_only_kept_tokens_count(llama_model: HookedModelBase) -> None:
    direction = direction_of(llama_model)
    ids: list[list[int]] = [[10, 11, 12], [13, 14]]
    kept = [[True, True, False], [True, False]]
    found = attribute_projection(llama_model, direction, 2, PROMPTS[:2], ids, keep=kept, progress=False)
    shorter = attribute_projection(llama_model, direction, 2, PROMPTS[:2], [[10, 11], [13]], progress=False)
    torch.testing.assert_close(found.neurons, shorter.neurons, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.projection, shorter.projection, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_a_planted_neuron_and_head_write_the_direction(
    architecture: str, backend: str, make_tiny: Callable[[str], Tiny]
) -> None:
    """Nothing else writes along an axis: the neuron and the head that were told to are all of it, until ablated."""
    tiny = make_tiny(architecture)
    model = load_model(tiny.folder, backend, device="cpu")  # pyright: ignore
    with torch.no_grad():
        for name, weight in inner_module(model).named_parameters():
            if any(part in name for part in ("embed_tokens", "wte", "wpe")):
                weight[:, 5] = 0
        for written in (output_map(model, i, kind) for i in range(N_LAYERS) for kind in UNIT_KINDS):
            written.weight[:, 5] = 0  # views of the weights, which are in float32
            if written.bias is not None:
                written.bias[5] = 0
    planted: list[tuple[UnitKind, tuple[int, int]]] = [("neuron", (1, 7)), ("head", (1, 2))]
    for kind, place in planted:
        written = output_map(model, place[0], kind)
        width = 1 if kind == "neuron" else 8
        with torch.no_grad():
            rows = written.weight[place[1] * width : (place[1] + 1) * width]
            rows[:, 5] = 3.0
    vectors = torch.zeros(N_LAYERS, D_MODEL)
    vectors[:, 5] = 1.0
    hookpoints = tuple(Hookpoint(i) for i in range(N_LAYERS))
    axis = Direction(vectors, hookpoints, "planted", "test", "planted", model.provenance)
    found = attribute_projection(model, axis, 2, PROMPTS, ANSWERS, progress=False)
    neurons, heads = found.neurons.abs().sum(0), found.heads.abs().sum(0)
    assert neurons.flatten().argmax() == 1 * neurons.shape[1] + 7
    assert heads.flatten().argmax() == 1 * heads.shape[1] + 2
    others = neurons.sum() + heads.sum() - neurons[1, 7] - heads[1, 2]
    assert others <= 1e-4 and neurons[1, 7] > 0.01 and heads[1, 2] > 0.01
    edits = AblateUnits(units_of(model, "neuron", [(1, 7)]), "zero").edits
    without = attribute_of_edited(model, axis, edits)
    if architecture != "gemma3":  # a norm behind attention and MLP makes another multiple of what is left
        torch.testing.assert_close(without, found.projection - found.neurons[:, 1, 7], rtol=1e-3, atol=1e-4)
    both = {**edits, **AblateUnits(units_of(model, "head", [(1, 2)]), "zero").edits}
    if architecture == "llama":
        assert float(attribute_of_edited(model, axis, both).abs().max()) <= 1e-4


def attribute_of_edited(model: HookedModelBase, direction: Direction, edits: Edits) -> torch.Tensor:
    read = extract_activations(model, PROMPTS, ANSWERS, hookpoints=direction.hookpoints, edits=edits, progress=False)
    return direction.project(read)[:, 2]


def test_bad_input_is_refused(make_tiny: Callable[[str], Tiny], llama_model: HookedModelBase) -> None:
    for directions, texts in (([], ["a b"]), ([direction_of(llama_model)], [])):
        with pytest.raises(EmptySelectionError, match="attribution needs a direction and a sample"):
            attribute_projections(llama_model, directions, 1, texts, texts, progress=False)
    direction = direction_of(llama_model)
    with pytest.raises(AlignmentError, match="got 4 prompts and 3 responses"):
        attribute_projection(llama_model, direction, 1, PROMPTS, ANSWERS[:3], progress=False)
    with pytest.raises(HookpointError, match=r"Layers run 0..2"):
        attribute_projection(llama_model, direction, 3, PROMPTS, ANSWERS, progress=False)
    with pytest.raises(ConfigError, match="keep chooses tokens of responses"):
        attribute_projection(
            llama_model, direction, 1, ["a"], [[9]], pooling="prompt_last", keep=[[True]], progress=False
        )
    with pytest.raises(AlignmentError, match="keep of sample 0 must say something of each of its tokens"):
        attribute_projection(llama_model, direction, 1, ["a"], [[9]], keep=[[True, True]], progress=False)
    with pytest.raises(EmptySelectionError, match="sample 1 has no position"):
        attribute_projection(llama_model, direction, 1, ["a", "b"], [[9], [8]], keep=[[True], [False]], progress=False)
    for architecture in EXPERTS:
        model = make_tiny(architecture).hooked("nnsight")
        with pytest.raises(HookpointError, match="no one set of neurons"):
            attribute_projection(model, direction_of(model), 1, PROMPTS, ANSWERS, progress=False)
