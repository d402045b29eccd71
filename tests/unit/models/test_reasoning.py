"""Reasoning blocks in tokens: found afterwards and while they are generated, and left out of what is pooled."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from persona_interp.activations.extract import extract_activations
from persona_interp.models import decoding
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.reasoning import ReasoningRows, parted, reasoning_lengths
from persona_interp.models.tokens import encode, text_batch, token_batch
from persona_interp.types import POOLINGS, Hookpoint

TEXTS = (
    "<think>a so</think>\n\nyes it is",
    "<think>\n\n</think>yes",
    "<think>a</think><think>b</think> <b>",
    "<think>a</think><",
    "<think>a so on and on",
    "<thin air",
    "plain it is",
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>so",
    "<|channel|>final<|message|>so",
    "<think>a</think>",
    "a</think>so",
)
READ = [Hookpoint(0), Hookpoint(2)]


def lengths(model: HookedModelBase, texts: Sequence[str], prompt: str = "Why? ") -> list[int]:
    responses = encode(model.tokenizer, texts)
    return reasoning_lengths(model.tokenizer, encode(model.tokenizer, [prompt] * len(texts)), responses)


def test_the_tokens_of_a_block_and_the_white_space_after_it(model: HookedModelBase):
    answers = ["yes it is", "yes", "<b>", "<", "", "<thin air", "plain it is", "so", "so", "", "a</think>so"]
    for ids, n, answer in zip(encode(model.tokenizer, TEXTS), lengths(model, TEXTS), answers, strict=True):
        assert model.tokenizer.decode(ids[n:]) == answer
        assert parted(model.tokenizer, ids, n)[1] == answer
    opened = ["a so</think> yes", "so"]
    n, cut = lengths(model, opened, "Why? <think>\n")
    assert model.tokenizer.decode(encode(model.tokenizer, opened)[0][n:]) == "yes"
    assert cut == len(encode(model.tokenizer, opened)[1]), "it is nothing but reasoning"


@pytest.mark.parametrize("opened", [False, True])
def test_while_it_is_generated_the_same_tokens_are_found(model: HookedModelBase, opened: bool):
    """The last token at which an answer may begin is the first one of the answer that is found afterwards."""
    prompt = "Why? <think>\n" if opened else "Why? "
    responses = encode(model.tokenizer, TEXTS)
    rows = ReasoningRows(model.tokenizer, [opened] * len(responses))
    begun = [0] * len(responses)
    for k in range(1, max(map(len, responses)) + 1):
        for row in rows.begin_answers([ids[:k] for ids in responses]):
            begun[row] = k - 1
    for row in rows.unanswered():
        begun[row] = len(responses[row])
    assert begun == lengths(model, TEXTS, prompt)


def spoken(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch, texts: Sequence[str]) -> list[list[int]]:
    """Have the model say texts, made equally long, so that no row ends before another."""
    ids = encode(model.tokenizer, texts)
    width = max(map(len, ids))
    script = [[*row, *encode(model.tokenizer, ["z" * (width - len(row))])[0]] for row in ids]
    steps = iter(torch.tensor(script).T)
    monkeypatch.setattr(decoding, "sample_tokens", lambda *_: next(steps))
    return script


SAID = ("<think>a so</think>\n\nyes", "plain it is", "<think>a so on and", "<think></think>so")


@pytest.mark.parametrize("pool", [POOLINGS, ("response_mean",), ("response_mean", "prompt_last")])
def test_pooled_while_generated_as_afterwards(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch, pool):
    prompts = ["Why? "] * 2
    script = spoken(model, monkeypatch, SAID)
    sampling = Sampling(len(script[0]), n_samples=2)
    made = model.generate(text_batch(model.tokenizer, prompts), sampling=sampling, read=READ, pool=pool)
    assert made.ids == script
    again = [prompt for prompt in encode(model.tokenizer, prompts) for _ in range(2)]
    skipped = reasoning_lengths(model.tokenizer, again, made.ids)
    assert [n > 0 for n in skipped] == [True, False, True, True] and skipped[2] == len(script[2])
    batch = token_batch(again, made.ids, n_reasoning=skipped)
    plain = model.run(batch, read=READ)
    for row, n in enumerate(skipped):
        for k, hookpoint in enumerate(READ):
            answer = plain.residuals[hookpoint][row, batch.ids.shape[1] - len(script[0]) + n :]
            torch.testing.assert_close(
                made.pooled["response_mean"][row, k], answer.mean(0), rtol=1e-4, atol=1e-5, equal_nan=True
            )
            if pool[-1] == "response_mean":
                assert made.norms is not None
                torch.testing.assert_close(
                    made.norms[row, k], answer.norm(dim=-1).mean(), rtol=1e-4, atol=1e-5, equal_nan=True
                )
    pooled = model.run(batch, read=READ, pool=("response_mean",), outputs="none").pooled["response_mean"]
    torch.testing.assert_close(pooled, made.pooled["response_mean"], rtol=1e-4, atol=1e-5, equal_nan=True)


def test_with_the_block_where_that_is_asked_for(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch):
    script = spoken(model, monkeypatch, SAID)
    sampling = Sampling(len(script[0]), n_samples=4)
    made = model.generate(
        text_batch(model.tokenizer, ["Why? "]), sampling=sampling, read=READ, pool=POOLINGS, reasoning="include"
    )
    whole = token_batch(encode(model.tokenizer, ["Why? "]) * 4, script)
    expected = model.run(whole, read=READ, pool=POOLINGS, outputs="none").pooled
    for pooling in POOLINGS:
        torch.testing.assert_close(made.pooled[pooling], expected[pooling], rtol=1e-4, atol=1e-5)


def test_extracted_after_the_block_by_default(model: HookedModelBase):
    prompts, options = ["Why? "] * len(SAID), {"hookpoints": READ, "progress": False}
    skipped = extract_activations(model, prompts, list(SAID), **options)
    included = extract_activations(model, prompts, list(SAID), reasoning="include", **options)
    plain = extract_activations(model, ["Why? "], ["plain it is"], **options)
    assert skipped.provenance.details["reasoning"] == "skip" and included.provenance.details["reasoning"] == "include"
    assert "reasoning" not in plain.provenance.details
    torch.testing.assert_close(skipped.values[1:2], plain.values)
    torch.testing.assert_close(included.values[1], skipped.values[1])
    assert torch.isnan(skipped.values[2]).all() and torch.isfinite(included.values).all()
    assert not torch.allclose(included.values[0], skipped.values[0])
    for pooling in ("prompt_last", "prompt_mean"):
        one, other = (
            extract_activations(model, prompts, list(SAID), pooling=pooling, reasoning=choice, **options)
            for choice in ("skip", "include")
        )
        assert torch.equal(one.values, other.values)


def test_batching_changes_nothing(model: HookedModelBase):
    texts = [f"<think>{'so ' * k}</think>yes {k}" for k in range(5)]
    options = {"hookpoints": READ, "progress": False}
    found = [
        extract_activations(model, ["Why? "] * 5, texts, tokens_at_once=n, **options).values.numpy() for n in (10, 9999)
    ]
    for one, other in pairwise(found):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
