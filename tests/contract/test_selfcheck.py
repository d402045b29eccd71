"""What the check on loading refuses: numbers that overflow or are none, hooks that disagree, another tokenizer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Replace
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from persona_interp.errors import ModelError
from persona_interp.models.load import load_model
from persona_interp.models.selfcheck import check_batch, check_reads, reference_states
from tests.contract.tiny import BACKENDS, Tiny, make_tokenizer

OVERFLOWS = "float16 ends at 65504: it overflows. Load it in bfloat16 or float32."


def save_scaled(llama: Tiny, folder: Path, name: str, factor: float) -> Path:
    """The model with one weight times a factor."""
    model = AutoModelForCausalLM.from_pretrained(llama.folder, dtype=torch.float32)
    with torch.no_grad():
        model.get_parameter(name).mul_(factor)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("weight", "where"),
    [("model.layers.1.mlp.down_proj.weight", r"hidden_states\[2\]"), ("lm_head.weight", "logits")],
)
def test_float16_that_overflows(llama: Tiny, tmp_path: Path, backend: Any, weight: str, where: str) -> None:
    folder = save_scaled(llama, tmp_path, weight, 6e4)
    with pytest.raises(ModelError, match=f"computes no finite numbers in float16: {where}") as caught:
        load_model(folder, backend, device="cpu", dtype="float16")
    assert OVERFLOWS in str(caught.value)
    for dtype in ("bfloat16", "float32"):
        assert load_model(folder, backend, device="cpu", dtype=dtype).provenance.dtype == dtype


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_that_are_no_numbers(llama: Tiny, tmp_path: Path, backend: Any) -> None:
    folder = save_scaled(llama, tmp_path, "model.layers.0.mlp.up_proj.weight", float("nan"))
    with pytest.raises(ModelError, match="in float32: .*\n  Its weights are damaged, or its training diverged"):
        load_model(folder, backend, device="cpu")


@pytest.mark.parametrize("change", [2.0, float("nan"), float("inf")])
def test_reads_that_differ_by_anything_at_all_are_refused(llama: Tiny, change: float) -> None:
    model, batch = llama.hooked("nnsight"), check_batch(llama.hooked("nnsight").tokenizer)
    states = reference_states(llama.plain, batch)
    check_reads(model, batch, states)
    states[1, 0, -1, 0] *= change
    with pytest.raises(ModelError, match="reads .* differently from transformers|computes no finite numbers"):
        check_reads(model, batch, states)


def test_a_tokenizer_of_another_model(llama: Tiny, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["residual", " stream"])
    AutoModelForCausalLM.from_pretrained(llama.folder).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="the tokenizer does not belong to this model: it gives token 20. of 200"):
        load_model(tmp_path, device="cpu")


def test_a_tokenizer_that_finds_nothing() -> None:
    words = Tokenizer(WordLevel({"<pad>": 0}, unk_token="<pad>"))
    words.normalizer = Replace(Regex("."), "")  # pyright: ignore
    silent = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>")
    with pytest.raises(ModelError, match="finds no tokens in plain English"):
        check_batch(silent)
