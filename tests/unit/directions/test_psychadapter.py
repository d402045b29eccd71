"""`PsychAdapter`: its size, its map from traits to tokens, what it refuses, and its files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    DeepseekV3Config,
    FalconConfig,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from persona_interp.data.trait_texts import BIG_FIVE, Standard
from persona_interp.directions.psychadapter import KVShape, PsychAdapter, check_psychadapter, rebind_psychadapter
from persona_interp.errors import ArtefactError, ConfigError, IncompatibleDirectionError, ModelError
from persona_interp.io import read_json, write_json
from tests.small import StubModel, provenance
from tests.unit.directions.adapters import SHAPE, STANDARD, an_adapter


@pytest.mark.parametrize(
    ("config", "n_parameters"),
    [
        (GPT2Config(n_layer=36, n_embd=1280, n_head=20), 552_960),
        (
            GemmaConfig(
                num_hidden_layers=18, num_key_value_heads=1, head_dim=256, hidden_size=2048, num_attention_heads=8
            ),
            55_296,
        ),
        (LlamaConfig(num_hidden_layers=32, num_key_value_heads=8, hidden_size=4096, num_attention_heads=32), 393_216),
    ],
    ids=["GPT-2 large", "Gemma 2B", "LLaMA 3 8B"],
)
def test_published_parameter_counts(config: PreTrainedConfig, n_parameters: int) -> None:
    assert PsychAdapter(KVShape.of(config), BIG_FIVE, provenance()).n_parameters == n_parameters


def test_shapes_of_architectures() -> None:
    gemma = Gemma3TextConfig(num_hidden_layers=26, num_key_value_heads=1, head_dim=256, hidden_size=1152)
    assert KVShape.of(gemma) == KVShape(26, 1, 256)
    assert KVShape.of(
        Qwen2Config(num_hidden_layers=4, num_key_value_heads=2, hidden_size=64, num_attention_heads=8)
    ) == (KVShape(4, 2, 8))
    assert KVShape.of(FalconConfig(num_hidden_layers=2, hidden_size=64, num_attention_heads=4)) == KVShape(2, 1, 16)


def test_models_without_an_even_cache_are_refused() -> None:
    with pytest.raises(ModelError) as caught:
        KVShape.of(MambaConfig())
    assert str(caught.value) == (
        "a MambaConfig has layers without a key/value cache, and virtual tokens live there.\n"
        "  Use a model whose layers are all attention."
    )
    with pytest.raises(ModelError) as caught:
        KVShape.of(DeepseekV3Config())
    assert str(caught.value) == (
        "the keys and values of a DeepseekV3Config are not the same in every layer (kv_lora_rank).\n"
        "  Expected key/value heads of one width."
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 6))
def test_tokens_are_the_published_affine_map(n_layers: int, n_heads: int, d_head: int, k: int, n_rows: int) -> None:
    """Numbers run over layer, key or value, head, width, as the published code reshapes them."""
    adapter = PsychAdapter(KVShape(n_layers, n_heads, d_head), [f"t{i}" for i in range(k)], provenance())
    z = torch.randn(n_rows, k)
    made = adapter.prefix(z)
    assert made.keys.shape == made.values.shape == (n_layers, n_rows, n_heads, 1, d_head)
    numbers = adapter.affine(z).reshape(n_rows, n_layers, 2, n_heads, 1, d_head)
    for layer in range(n_layers):
        assert torch.equal(made.keys[layer], numbers[:, layer, 0]) and torch.equal(
            made.values[layer], numbers[:, layer, 1]
        )


def test_it_is_affine_in_the_traits() -> None:
    adapter = an_adapter()
    zero, one, two, both = (
        adapter.prefix(torch.tensor([z])).keys for z in ([0.0, 0.0], [1.5, 0.0], [0.0, -2.0], [1.5, -2.0])
    )
    torch.testing.assert_close(both - zero, (one - zero) + (two - zero))
    assert not torch.allclose(one, zero)


def test_gradients_flow_to_the_adapter_and_to_z() -> None:
    adapter, z = an_adapter().requires_grad_(True), torch.zeros(2, 2, requires_grad=True)
    made = adapter.prefix(z)
    (made.keys.sum() + made.values.pow(2).sum()).backward()
    assert z.grad is not None and z.grad.abs().sum() > 0
    assert adapter.affine.weight.grad is not None and adapter.affine.bias.grad is not None


def test_vectors_from_names() -> None:
    adapter = an_adapter()
    assert adapter.vector({"two": -1}).tolist() == [0.0, -1.0]
    with pytest.raises(ConfigError) as caught:
        adapter.vector({"three": 1.0})
    assert str(caught.value) == "the adapter has no trait 'three'.\n  Its traits: one, two."


def test_wrong_vectors_are_refused() -> None:
    adapter = an_adapter()
    with pytest.raises(ConfigError) as caught:
        adapter.prefix(torch.zeros(1, 3))
    assert str(caught.value) == ("got a trait vector of 3 for an adapter of 2.\n  Its traits, in order: one, two.")
    with pytest.raises(ConfigError) as caught:
        adapter.prefix(torch.tensor([[0.0, 0.0], [0.0, float("nan")]]))
    assert str(caught.value) == (
        "the trait vector of row 1 is nan in two.\n  Give standard deviations from the mean, 0 for an average author."
    )


@pytest.mark.parametrize("traits", [(), ("one", "one")])
def test_traits_have_different_names(traits: tuple[str, ...]) -> None:
    with pytest.raises(
        ConfigError, match="Expected one or more different names|traits must be a list of texts that is not empty"
    ):
        PsychAdapter(SHAPE, traits, provenance())


def test_a_standard_of_other_traits_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        an_adapter(traits=("two", "one"))
    assert str(caught.value) == (
        "got an adapter of two, one with a standard of one, two.\n  Both need the same traits in the same order."
    )


@pytest.mark.parametrize("standard", [STANDARD, None])
def test_what_was_saved_is_loaded(tmp_path: Path, standard: Standard | None) -> None:
    told = replace(provenance(), details={"start": "<s>", "n_texts": 7})
    adapter = an_adapter(standard=standard, provenance=told)
    adapter.save(tmp_path / "a.safetensors")
    loaded = PsychAdapter.load(tmp_path / "a.safetensors", StubModel())
    assert (loaded.traits, loaded.standard, loaded.shape, loaded.start) == (adapter.traits, standard, SHAPE, "<s>")
    assert loaded.provenance == told
    z = torch.randn(3, 2)
    assert torch.equal(loaded.prefix(z).values, adapter.prefix(z).values)
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    an_adapter().save(tmp_path / "a.safetensors")
    with pytest.raises(IncompatibleDirectionError) as caught:
        PsychAdapter.load(tmp_path / "a.safetensors", StubModel(model="tiny-b", weights="bbbb", n_layers=9, d_model=7))
    assert str(caught.value) == (
        "the adapter of one, two belongs to tiny-a (3 layers, 2 key/value heads of width 4, weights aaaa), not to"
        " tiny-b (9 layers, d_model 7, weights bbbb).\n"
        "  Train one for this model; an adapter that was trained with LoRA belongs to the model with that merged in.\n"
        "  To use it on a copy of equal shape on purpose, bind it: rebind_psychadapter(adapter, model)."
    )


def test_binding_to_a_copy() -> None:
    adapter, copy = an_adapter(), StubModel(model="copy", weights="cccc")
    bound = rebind_psychadapter(adapter, copy)
    check_psychadapter(bound, copy)
    assert bound.provenance.details["rebound_from"] == {"model": "tiny-a", "weights": "aaaa"}
    assert torch.equal(bound.affine.weight, adapter.affine.weight) and bound.affine is not adapter.affine
    other = StubModel(model="other", weights="dddd")
    other.config = LlamaConfig(num_hidden_layers=3, num_attention_heads=2, hidden_size=4)  # pyright: ignore
    for wrong in (StubModel(n_layers=4), other):
        with pytest.raises(IncompatibleDirectionError, match="does not fit"):
            rebind_psychadapter(adapter, wrong)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"traits": ["one"]}, r"has weights and biases of shape \[48, 2\] and \[48\]"),
        ({"traits": ["one", "one"]}, "does not describe an adapter"),
        ({"traits": ["one", "../two"]}, r"traits\[1\] is a text, '../two'"),
        ({"shape": {"n_layers": 3}}, r"has no shape\.n_kv_heads"),
        ({"shape": {"n_layers": 3, "n_kv_heads": 10**6, "d_head": 10**6}}, "has weights and biases of shape"),
        ({"standard": {"mean": [1.0]}}, r"has no standard\.std"),
        ({"standard": {"mean": [1.0], "std": [1.0, 1.0]}}, "has 1 means and 2 deviations of 2 traits"),
        ({"standard": {"mean": [1.0, float("nan")], "std": [1.0, 1.0]}}, r"standard\.mean\[1\] is a number, nan"),
    ],
)
def test_altered_manifests_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    an_adapter().save(tmp_path / "a.safetensors")
    manifest = read_json(tmp_path / "a.json")
    write_json(tmp_path / "a.json", {**manifest, **change})
    with pytest.raises(ArtefactError, match=fault):
        PsychAdapter.load(tmp_path / "a.safetensors")


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    an_adapter().save(tmp_path / "a.safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtefactError, match="does not match its manifest"):
        PsychAdapter.load(path)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda a: a.affine.weight.data[0, 0].fill_(torch.nan), "values that are not finite"),
        (lambda a: setattr(a, "provenance", provenance(n_layers=4)), "it must have 4 layers, got 3"),
        (lambda a: setattr(a, "standard", Standard(("one", "two"), (0.0, 0.0), (1.0, 0.0))), "its standard deviations"),
    ],
)
def test_an_adapter_that_no_training_could_have_made_is_refused(
    tmp_path: Path, damage: Callable[[PsychAdapter], object], fault: str
) -> None:
    adapter = an_adapter()
    damage(adapter)
    adapter.save(tmp_path / "a.safetensors")
    with pytest.raises(ArtefactError, match=fault):
        PsychAdapter.load(tmp_path / "a.safetensors")
