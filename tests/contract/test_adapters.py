"""Models loaded with an adapter: the very logits of PEFT, another identity, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from persona_interp.errors import ConfigError, ModelError
from persona_interp.models.adapters import without_peft_noise
from persona_interp.models.load import load_model
from persona_interp.models.plain import load_plain
from tests.contract.tiny import BACKENDS, Tiny, make_config, make_tokenizer, uneven_batch


def save_adapter(tiny: Tiny, folder: Path) -> Any:
    """A random adapter in a folder; the model with it."""
    plain = AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32).eval()
    config = LoraConfig(
        task_type="CAUSAL_LM", r=2, target_modules="all-linear", fan_in_fan_out=tiny.architecture == "gpt2"
    )
    with without_peft_noise():
        made = get_peft_model(plain, config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            if weight.requires_grad:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
    made.save_pretrained(str(folder))
    return made.eval()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_with_an_adapter_computes_what_peft_computes(tiny: Tiny, backend: Any, tmp_path: Path) -> None:
    adapted, batch = save_adapter(tiny, tmp_path / "adapter"), uneven_batch()
    loaded = load_model(tiny.folder, backend, device="cpu", adapter=tmp_path / "adapter")
    logits = loaded.run(batch).logits
    with torch.no_grad():
        inputs = {"attention_mask": batch.mask.long(), "position_ids": batch.position_ids}
        expected = adapted(input_ids=batch.ids, **inputs).logits
    assert logits is not None
    torch.testing.assert_close(logits[batch.mask], expected[batch.mask], rtol=1e-4, atol=1e-4)
    base = tiny.hooked(backend)
    assert not torch.allclose(base.run(batch).logits, logits, atol=0.1)  # pyright: ignore
    assert loaded.provenance.weights != base.provenance.weights
    assert loaded.provenance.model == loaded.name == f"{tiny.folder} + {tmp_path / 'adapter'}"


@pytest.fixture(scope="module")
def adapter(llama: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    save_adapter(llama, folder)
    return folder


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_without_an_adapter_is_refused(llama: Tiny, adapter: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(adapter, folder)
    (folder / missing).unlink()
    with pytest.raises(ModelError) as raised:
        load_model(llama.folder, device="cpu", adapter=folder)
    assert str(raised.value) == (
        f"{folder} holds no adapter: {missing} is not there.\n  Give the folder that PEFT saved."
    )


def test_an_adapter_of_another_architecture_is_refused(adapter: Path, make_tiny: Any) -> None:
    with pytest.raises(ModelError, match=f"the adapter in {adapter} does not fit this model: "):
        load_model(make_tiny("gpt2").folder, device="cpu", adapter=adapter)


@pytest.mark.parametrize("n_layers", [2, 4])
def test_an_adapter_of_a_model_of_another_depth_is_refused(
    llama: Tiny, adapter: Path, tmp_path: Path, n_layers: int
) -> None:
    """PEFT would leave out what it finds no place for, and leave at zero what it finds no weights for."""
    config = make_config("llama")
    config.num_hidden_layers = n_layers
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as raised:
        load_model(tmp_path, device="cpu", adapter=adapter)
    layer = min(n_layers, 3)
    assert f"does not fit this model: only one of them has base_model.model.model.layers.{layer}" in str(raised.value)
    assert llama.plain.config.num_hidden_layers == 3


@pytest.mark.parametrize("damage", ["truncated", "not json", "unknown kind", "unknown key"])
def test_a_damaged_adapter_is_refused(llama: Tiny, adapter: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(adapter, folder)
    config = folder / "adapter_config.json"
    if damage == "truncated":
        weights = folder / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:300])
    elif damage == "not json":
        config.write_text("{")
    else:
        changed = {"peft_type": "NOTHING"} if damage == "unknown kind" else {"r": "four"}
        config.write_text(json.dumps(json.loads(config.read_text()) | changed))
    with pytest.raises(ModelError, match=f"the adapter in {folder} "):
        load_model(llama.folder, device="cpu", adapter=folder)


def test_an_object_takes_no_adapter(llama: Tiny, adapter: Path) -> None:
    with pytest.raises(ConfigError, match="adapter cannot be applied to a LlamaForCausalLM object"):
        load_model(llama.plain, adapter=adapter)


def test_a_plain_model_is_frozen_and_ready_to_use(llama: Tiny) -> None:
    model, tokenizer = load_plain(llama.folder, device="cpu")
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())
    assert tokenizer.pad_token_id is not None
    with pytest.raises(ModelError, match="cannot load 'nowhere/at-all'"):
        load_plain("nowhere/at-all")
