"""Weights that accelerate keeps elsewhere: the same fingerprint and logits, or one paragraph."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import disk_offload
from transformers import AutoModelForCausalLM

from persona_interp.errors import ConfigError, ModelError
from persona_interp.models.identity import fingerprint
from persona_interp.models.load import load_model
from tests.contract.tiny import Tiny, make_config, make_tokenizer, uneven_batch

PARTLY = {"model.embed_tokens": "cpu", "model.layers": "disk", "model.norm": "cpu", "lm_head": "cpu"}
PARTLY["model.rotary_emb"] = "cpu"


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config, folder = make_config("llama"), tmp_path_factory.mktemp("tied")
    config.tie_word_embeddings = True
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("embeddings", ["untied", "tied"])
def test_weights_on_disk_are_read_through_the_hooks(llama: Tiny, tied: Path, embeddings: str) -> None:
    folder, batch = tied if embeddings == "tied" else llama.folder, uneven_batch()
    device_map: Any = PARTLY
    plain = load_model(folder, "nnsight", device="cpu")
    offloaded = load_model(folder, "nnsight", device_map=device_map)
    assert any(weight.is_meta for weight in offloaded._module.parameters())  # pyright: ignore
    assert offloaded.provenance == plain.provenance
    assert torch.equal(offloaded.run(batch).logits, plain.run(batch).logits)  # pyright: ignore
    half = load_model(folder, "nnsight", device_map=device_map, dtype="bfloat16")
    assert half.provenance.weights == plain.provenance.weights


@pytest.mark.parametrize("device_map", [PARTLY, {"": "disk"}], ids=["partly", "all"])
def test_transformer_lens_does_not_reach_them(llama: Tiny, device_map: Any) -> None:
    with pytest.raises(ModelError, match="are kept on disk, where TransformerLens does not reach them"):
        load_model(llama.folder, "transformer_lens", device_map=device_map)


def test_nnsight_needs_the_embeddings_in_memory(llama: Tiny) -> None:
    with pytest.raises(ModelError, match="the first weights of .*, model.embed_tokens, are kept on disk"):
        load_model(llama.folder, "nnsight", device_map={"": "disk"})


def test_a_model_that_accelerate_took_to_disk(llama: Tiny, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama.folder, dtype=torch.float32)
    before = fingerprint(model)
    disk_offload(model, tmp_path, execution_device=torch.device("cpu"))
    assert fingerprint(model) == before


def test_a_model_without_values_has_no_fingerprint() -> None:
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match="bias of Linear has no values: it is on the meta device"):
        fingerprint(model)


@pytest.mark.parametrize("where", [{"device": "cuda:9"}, {"device": "there"}, {"device_map": {"": "cuda:9"}}])
def test_a_device_that_is_not_there(llama: Tiny, where: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the device '(cuda:9|there)' cannot be used"):
        load_model(llama.folder, "nnsight", **where)
