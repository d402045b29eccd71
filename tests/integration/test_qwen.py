"""Qwen2.5-Coder-1.5B-Instruct, where its 1.1 GB were downloaded or installed: as a subject and as a judge."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor, dequantize
from safetensors import safe_open

from persona_interp.data.traits import load_trait
from persona_interp.interventions.text import generate_text
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.packaged import PACKAGED_MODELS, is_installed, packaged_folder, packaged_gguf
from persona_interp.models.tokens import render_prompt

NAME = "qwen2.5-coder-1.5b-instruct"
MODEL = PACKAGED_MODELS[NAME]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not is_installed(MODEL), reason=MODEL.download)]


@pytest.fixture(scope="module")
def model() -> Iterator[HookedModelBase]:
    yield load_model(NAME, "nnsight", dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def tensors() -> dict[str, ReaderTensor]:
    return {tensor.name: tensor for tensor in GGUFReader(packaged_gguf(MODEL)).tensors}


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"),
        ("blk.27.attn_v.bias", "model.layers.27.self_attn.v_proj.bias"),
        ("blk.13.ffn_down.weight", "model.layers.13.mlp.down_proj.weight"),
        ("output_norm.weight", "model.norm.weight"),
    ],
)
def test_converted_weights_are_those_of_the_file(tensors: dict[str, ReaderTensor], there: str, here: str) -> None:
    tensor = tensors[there]
    with safe_open(packaged_folder(MODEL) / "model.safetensors", "np") as weights:
        found = weights.get_tensor(here)
    assert found.dtype == np.float32
    assert np.array_equal(found, dequantize(tensor.data, GGMLQuantizationType(tensor.tensor_type)))


def test_it_answers_and_follows_a_system_prompt(model: HookedModelBase) -> None:
    assert (model.n_layers, model.d_model) == (28, 1536)
    french = render_prompt(model.tokenizer, "What is the capital of France?", system="Answer in French.")
    plain = render_prompt(model.tokenizer, "What is the capital of France?")
    assert french != plain and "Answer in French." in french
    one, other = generate_text(model, [french, plain], max_new_tokens=12)
    assert "Paris" in one and "Paris" in other and one != other


def test_it_rates_answers(model: HookedModelBase) -> None:
    trait = load_trait("impolite")
    judge, exemplars = LikelihoodJudge(model, n_pairs=1, progress=False), trait.exemplars[:2]
    questions = [exemplar.question for exemplar in exemplars]
    positive = judge.log_ratios(trait, questions, [exemplar.pos for exemplar in exemplars])
    negative = judge.log_ratios(trait, questions, [exemplar.neg for exemplar in exemplars])
    assert positive.min() > negative.max()


def test_the_other_backend_and_half_precision_agree(model: HookedModelBase) -> None:
    prompt = render_prompt(model.tokenizer, "Name a colour.")
    other = load_model(NAME, "transformer_lens", dtype="bfloat16", device="cpu")
    assert other.provenance.weights == model.provenance.weights
    assert next(other.bridge.original_model.parameters()).dtype == torch.bfloat16  # pyright: ignore (its backend's)
    one, same = (generate_text(each, [prompt], max_new_tokens=4)[0] for each in (model, other))
    assert one.split()[:1] == same.split()[:1]
