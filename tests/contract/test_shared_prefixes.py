"""Passes that compute shared prompt beginnings once equal whole passes and the plain transformers model."""

import pytest
import torch
from torch import Tensor

from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.prefix_tree import plan_pass
from persona_interp.models.tokens import token_batch
from persona_interp.types import POOLINGS, Edit, Hookpoint, TokenBatch
from tests.contract.tiny import N_LAYERS, TOLERANCE, Tiny, all_hookpoints, shifting, uneven_batch, words


def rollouts_batch() -> TokenBatch:
    """Two system prompts, each with two questions of different length, each with two answers."""
    systems = [words(14, 10), words(11, 11)]
    prompts = [[*system, *words(2 + k, 20 + k)] for system in systems for k in range(2) for _ in range(2)]
    return token_batch(prompts, [words(3 + i % 4, 40 + i) for i in range(len(prompts))])


def mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def plain_logprobs(logits: Tensor, batch: TokenBatch) -> Tensor:
    picked = logits[:, :-1].log_softmax(-1).gather(-1, batch.ids[:, 1:, None])[..., 0]
    return torch.nn.functional.pad(picked, (1, 0)) * batch.response


def test_this_batch_is_split() -> None:
    batch = rollouts_batch()
    assert len(plan_pass(batch)) == 3
    assert sum(int(segment.mask.sum()) for segment in plan_pass(batch)) < 0.5 * int(batch.mask.sum())


@pytest.mark.parametrize("batch", [uneven_batch(), rollouts_batch()], ids=["whole", "split"])
def test_token_logprobs_equal_the_plain_ones(tiny: Tiny, model: HookedModelBase, batch: TokenBatch) -> None:
    logprobs = model.run(batch, outputs="token_logprobs").token_logprobs
    assert logprobs is not None
    torch.testing.assert_close(logprobs, plain_logprobs(tiny.run(batch).logits, batch), **TOLERANCE)
    assert (logprobs[~batch.response] == 0).all()


@pytest.mark.parametrize("batch", [uneven_batch(), rollouts_batch()], ids=["whole", "split"])
def test_pooled_reads_equal_means_of_plain_ones(tiny: Tiny, model: HookedModelBase, batch: TokenBatch) -> None:
    reads = all_hookpoints(["resid_post"])
    made = model.run(batch, read=reads, pool=POOLINGS, outputs="none")
    masks = {"prompt_last": batch.last_prompt, "prompt_mean": batch.prompt, "response_mean": batch.response}
    streams = tiny.run(batch).streams
    for pooling in POOLINGS:
        expected = torch.stack([mean(streams[h], masks[pooling]) for h in reads], dim=1)
        torch.testing.assert_close(made.pooled[pooling], expected, **TOLERANCE)
    norms = [mean(streams[h].norm(dim=-1, keepdim=True), batch.response)[:, 0] for h in reads]
    assert made.norms is not None
    torch.testing.assert_close(made.norms, torch.stack(norms, dim=1), **TOLERANCE)
    assert made.residuals == {}


@pytest.mark.parametrize("span", ["all", "prompt", "response", "last"])
def test_edits_reach_every_segment(tiny: Tiny, model: HookedModelBase, span: str) -> None:
    batch, hookpoint = rollouts_batch(), Hookpoint(N_LAYERS - 1)
    edits = {Hookpoint(0): (Edit(shifting(0), span),)}  # pyright: ignore
    made = model.run(batch, read=[hookpoint], pool=["response_mean"], outputs="token_logprobs", edits=edits)
    plain = tiny.run(batch, edits=edits)
    assert made.token_logprobs is not None
    torch.testing.assert_close(made.token_logprobs, plain_logprobs(plain.logits, batch), **TOLERANCE)
    expected = mean(plain.streams[hookpoint], batch.response)
    torch.testing.assert_close(made.pooled["response_mean"][:, 0], expected, **TOLERANCE)


def test_pooling_without_a_read_pools_nothing(llama_model: HookedModelBase) -> None:
    made = llama_model.run(rollouts_batch(), pool=["response_mean"], outputs="token_logprobs")
    assert made.pooled == {} and made.norms is None and made.token_logprobs is not None


def test_rows_without_a_response_have_no_mean(llama_model: HookedModelBase) -> None:
    batch = token_batch([words(4, 1), words(5, 2)], [[], words(2, 3)])
    pooled = llama_model.run(batch, read=[Hookpoint(0)], pool=["response_mean"], outputs="none").pooled
    assert pooled["response_mean"].isnan().flatten(1).all(1).tolist() == [True, False]


def test_the_last_token_is_left_out_where_nothing_is_predicted_from_it() -> None:
    batch = rollouts_batch()
    full, short = plan_pass(batch)[-1], plan_pass(batch, predict_only=True)[-1]
    assert int(full.mask.sum()) - int(short.mask.sum()) == len(batch)
    assert short.last.sum() == len(batch) and short.response.sum() == full.response.sum() - len(batch)
    answerless = token_batch([words(12, 1)] * 2 + [words(12, 2)] * 2, [[], words(2, 3)] * 2)
    kept, asked = plan_pass(answerless), plan_pass(answerless, predict_only=True)
    assert len(kept) > 1 and [int(s.mask.sum()) for s in kept] == [int(s.mask.sum()) for s in asked]


@pytest.mark.parametrize("n_tokens", [1, 2, 5])
def test_token_logprobs_of_answers_of_any_length(tiny: Tiny, model: HookedModelBase, n_tokens: int) -> None:
    prompts = [words(14, 10) + words(2 + k, 20) for k in range(2) for _ in range(3)]
    batch = token_batch(prompts, [words(n_tokens if i % 2 else 1, 40 + i) for i in range(len(prompts))])
    logprobs = model.run(batch, outputs="token_logprobs").token_logprobs
    assert logprobs is not None
    torch.testing.assert_close(logprobs, plain_logprobs(tiny.run(batch).logits, batch), **TOLERANCE)


def test_pooling_still_sees_the_last_token(tiny: Tiny, model: HookedModelBase) -> None:
    batch, hookpoint = rollouts_batch(), Hookpoint(N_LAYERS - 1)
    made = model.run(batch, read=[hookpoint], pool=["response_mean"], outputs="token_logprobs")
    expected = mean(tiny.run(batch).streams[hookpoint], batch.response)
    torch.testing.assert_close(made.pooled["response_mean"][:, 0], expected, **TOLERANCE)
