"""Models in memory: checked like any other, and the caller's own stays as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from persona_interp.errors import ConfigError, ModelError
from persona_interp.finetuning.train import finetune
from persona_interp.models.adapters import without_peft_noise
from persona_interp.models.in_memory import name_to_train
from persona_interp.models.load import load_model
from persona_interp.types import Edit, Hookpoint
from tests.contract.tiny import BACKENDS, Tiny, make_tokenizer, shifting, uneven_batch

LORA = {"task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj", "embed_tokens"]}


def fresh(tiny: Tiny) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)


def state(model: nn.Module) -> tuple[Any, ...]:
    """What a caller may notice: modules, hooks, modes, gradient flags, weights by their bytes."""
    modules = [
        (name, type(m), m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
        for name, m in model.named_modules()
    ]
    weights = [(name, id(w), w.requires_grad, w.sum().item()) for name, w in model.named_parameters()]
    return modules, weights


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_in_memory_equals_its_folder_and_stays_as_it_is(tiny: Tiny, backend: Any) -> None:
    model, tokenizer = fresh(tiny).train(), make_tokenizer()
    tokenizer.padding_side = "right"
    next(model.parameters()).requires_grad_(False)
    batch, before = uneven_batch(), state(model)
    loaded = load_model(model, backend, tokenizer=tokenizer)
    assert torch.equal(loaded.run(batch).logits, tiny.hooked(backend).run(batch).logits)  # pyright: ignore
    assert loaded.provenance.weights == tiny.hooked(backend).provenance.weights
    assert loaded.provenance.files is None
    assert loaded.provenance.model == loaded.name == f"{tiny.folder} (in memory)"
    assert state(model) == before and tokenizer.padding_side == "right"
    model(input_ids=batch.ids, labels=batch.ids).loss.backward()  # it can still be trained


def test_later_training_does_not_reach_the_copy(llama: Tiny) -> None:
    model = fresh(llama)
    loaded, batch = load_model(model, "nnsight", tokenizer=make_tokenizer()), uneven_batch()
    before = loaded.run(batch).logits
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    assert torch.equal(loaded.run(batch).logits, before)  # pyright: ignore
    changed = load_model(model, "nnsight", tokenizer=make_tokenizer())
    assert changed.provenance.weights != loaded.provenance.weights


@pytest.mark.parametrize("backend", BACKENDS)
def test_adapters_in_memory_are_merged_into_a_copy(llama: Tiny, backend: Any) -> None:
    with without_peft_noise():
        model = peft.get_peft_model(fresh(llama), peft.LoraConfig(**LORA))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(
                0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * weight.requires_grad
            )
    model.train()
    batch, before = uneven_batch(), state(model)
    loaded = load_model(model, backend, tokenizer=make_tokenizer())
    assert state(model) == before
    assert loaded.name == f"{llama.folder} + default (in memory)"
    with torch.no_grad():
        inputs = {"attention_mask": batch.mask.long(), "position_ids": batch.position_ids}
        expected = model.eval()(input_ids=batch.ids, **inputs).logits
    torch.testing.assert_close(loaded.run(batch).logits[batch.mask], expected[batch.mask], rtol=1e-4, atol=1e-4)  # pyright: ignore


class Packed(nn.Module):
    """A linear map whose weights are whole numbers of some bits, two of four bits in a byte, one scale a row."""

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        super().__init__()
        most, weight = 2 ** (bits - 1) - 1, linear.weight.detach()
        self.bits, self.in_features, self.out_features = bits, linear.in_features, linear.out_features
        scale = weight.abs().amax(1, keepdim=True) / most
        whole = (weight / scale).round().int()
        pairs = ((whole[:, ::2] + 8) * 16 + whole[:, 1::2] + 8).to(torch.uint8)
        self.register_buffer("scale", scale)
        self.register_buffer("packed", whole.to(torch.int8) if bits == 8 else pairs)

    @property
    def dequantised(self) -> Tensor:
        packed = self.get_buffer("packed")
        if self.bits == 4:
            packed = torch.stack([packed.int() // 16 - 8, packed.int() % 16 - 8], -1).flatten(1)
        return packed * self.get_buffer("scale")

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.dequantised.T


def replace_maps(model: Any, replace: Callable[[nn.Linear], nn.Module]) -> Any:
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and "layers" in name:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, replace(module))
    return model


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("backend", BACKENDS)
def test_quantised_weights_read_and_steer_like_the_same_weights_dequantised(
    llama: Tiny, backend: Any, bits: int
) -> None:
    """To 1e-5 of the size: both compute with the same numbers. To the weights before they were rounded it is not so."""

    def plainly(linear: nn.Linear) -> nn.Module:
        whole = nn.Linear(linear.in_features, linear.out_features, bias=False)
        whole.weight.data = Packed(linear, bits).dequantised
        return whole

    packed = load_model(
        replace_maps(fresh(llama), lambda linear: Packed(linear, bits)), backend, tokenizer=make_tokenizer()
    )
    plain = load_model(replace_maps(fresh(llama), plainly), "nnsight", tokenizer=make_tokenizer())
    assert packed.provenance.weights not in (plain.provenance.weights, llama.hooked(backend).provenance.weights)
    batch, reads = uneven_batch(), [Hookpoint(layer, "resid_post") for layer in range(3)]
    for edits in ({}, {reads[1]: (Edit(shifting(1), "all"),)}):
        got, expected = (model.run(batch, read=reads, edits=edits) for model in (packed, plain))
        for one, other in [(got.logits, expected.logits), *((got.residuals[h], expected.residuals[h]) for h in reads)]:
            torch.testing.assert_close(one[batch.mask], other[batch.mask], rtol=1e-5, atol=1e-4)  # pyright: ignore
    assert (got.logits - llama.hooked(backend).run(batch, edits=edits).logits).norm() > 1e-3 * got.logits.norm()  # pyright: ignore


def test_a_hooked_model_is_itself_again(llama: Tiny) -> None:
    hooked = llama.hooked("nnsight")
    assert load_model(hooked, "nnsight") is hooked
    with pytest.raises(ConfigError, match="is loaded by nnsight, not transformer_lens"):
        load_model(hooked)


def test_a_model_in_memory_needs_its_tokenizer(llama: Tiny) -> None:
    with pytest.raises(ConfigError, match="a LlamaForCausalLM in memory needs its tokenizer, got NoneType"):
        load_model(fresh(llama))


def test_what_is_no_causal_model_is_refused(llama: Tiny) -> None:
    small: dict[str, Any] = {"d_model": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1, "d_kv": 8, "vocab_size": 16}
    masked = BertForMaskedLM(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    for model in (AutoModel.from_pretrained(llama.folder), T5ForConditionalGeneration(T5Config(**small)), masked):
        with pytest.raises(ModelError, match=r"a \w+ is no causal language model of transformers"):
            load_model(model, tokenizer=make_tokenizer())
    for thing in (nn.Linear(2, 2), 5, {}):
        with pytest.raises(ModelError, match=f"cannot load an object of type {type(thing).__name__}"):
            load_model(thing, tokenizer=make_tokenizer())
    with pytest.raises(ModelError, match=r"a DataParallel is a wrapping of .*\n  Give the model in it: .module"):
        load_model(nn.DataParallel(fresh(llama)), tokenizer=make_tokenizer())
    with pytest.raises(ModelError, match="is inside a TransformerBridge"):
        load_model(llama.hooked("transformer_lens").bridge.original_model, tokenizer=make_tokenizer())  # pyright: ignore
    with without_peft_noise():
        disabled = peft.get_peft_model(fresh(llama), peft.LoraConfig(**LORA))
    disabled.base_model.disable_adapter_layers()  # pyright: ignore
    with pytest.raises(ModelError, match="the adapters of this PeftModelForCausalLM are disabled"):
        load_model(disabled, tokenizer=make_tokenizer())
    adapted = fresh(llama)
    with without_peft_noise():
        adapted.add_adapter(peft.LoraConfig(**LORA))
    with pytest.raises(ModelError, match="has adapters that were added with add_adapter"):
        load_model(adapted, tokenizer=make_tokenizer())


@pytest.mark.parametrize(
    "option", [{"adapter": "there"}, {"device": "cpu"}, {"device_map": "auto"}, {"revision": "main"}]
)
def test_options_of_loading_are_not_for_objects(llama: Tiny, option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(option))} cannot be applied to a LlamaForCausalLM object"):
        load_model(fresh(llama), tokenizer=make_tokenizer(), **option)
    with pytest.raises(ConfigError, match=r"is in torch.float32, not float16"):
        load_model(fresh(llama), tokenizer=make_tokenizer(), dtype="float16")
    with pytest.raises(ConfigError, match="a tokenizer is given with a model in memory only"):
        load_model(llama.folder, tokenizer=make_tokenizer())


def test_a_model_in_memory_is_not_finetuned(llama: Tiny, tmp_path: Path) -> None:
    model = fresh(llama)
    with pytest.raises(ConfigError, match="in memory cannot be trained: a fresh copy is loaded by name"):
        finetune(load_model(model, "nnsight", tokenizer=make_tokenizer()), [], out=tmp_path / "out")
    with pytest.raises(ConfigError, match="a LlamaForCausalLM in memory cannot be trained"):
        name_to_train(model)
