"""The logits at responses equal those of the plain model, and prompts that passes share are computed once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from persona_interp.errors import AlignmentError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.kept_prompts import KeptPrompts
from persona_interp.models.tokens import token_batch
from persona_interp.types import Edit, Edits, Hookpoint, TokenBatch
from tests.contract.test_shared_prefixes import rollouts_batch
from tests.contract.tiny import N_LAYERS, TOLERANCE, Tiny, behind_prefix, random_prefix, shifting, uneven_batch, words


def at_responses(logits: Tensor, batch: TokenBatch) -> Tensor:
    """Row after row, the logits of the position before every response token."""
    return torch.cat([row[:-1][mask[1:]] for row, mask in zip(logits, batch.response, strict=True)])


def shifted(layer: int, span: Any, last_prompt_token: bool = True) -> Edits:
    return {Hookpoint(layer): (Edit(shifting(layer), span, last_prompt_token),)}


EDITS: dict[str, Edits] = {
    "none": {},
    "all": shifted(0, "all"),
    "prompt": shifted(1, "prompt"),
    "response": shifted(1, "response"),
    "response alone": shifted(0, "response", False),
    "last": shifted(N_LAYERS - 1, "last"),
    "two layers": {**shifted(0, "response"), **shifted(2, "last")},
}


BATCHES = [
    pytest.param(rollouts_batch(), id="split"),
    pytest.param(uneven_batch(), id="whole", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("batch", BATCHES)
def test_response_logits_are_the_plain_ones(tiny: Tiny, model: HookedModelBase, batch: TokenBatch, edits: Edits):
    made = model.run(batch, outputs="response_logits", edits=edits)
    expected = at_responses(tiny.run(batch, edits=edits).logits, batch)
    assert made.response_logits is not None and made.logits is None and made.token_logprobs is None
    torch.testing.assert_close(made.response_logits, expected, **TOLERANCE)


@pytest.mark.parametrize("batch", BATCHES)
def test_passes_with_kept_prompts_are_the_same(tiny: Tiny, model: HookedModelBase, batch: TokenBatch):
    kept = KeptPrompts()
    for edits in (*EDITS.values(), EDITS["response"]):
        made = model.run(batch, outputs="response_logits", edits=edits, kept=kept)
        expected = at_responses(tiny.run(batch, edits=edits).logits, batch)
        torch.testing.assert_close(made.response_logits, expected, **TOLERANCE)


def test_virtual_tokens_leave_kept_prompts_aside(tiny: Tiny, model: HookedModelBase):
    kept, batch = KeptPrompts(), behind_prefix(tiny)
    model.run(batch, outputs="response_logits", kept=kept)
    prefix = random_prefix(tiny, 1)
    made = model.run(batch, outputs="response_logits", prefix=prefix, kept=kept)
    torch.testing.assert_close(
        made.response_logits, model.run(batch, outputs="response_logits", prefix=prefix).response_logits, **TOLERANCE
    )


class Counting:
    """Tokens that a hookpoint saw."""

    hookpoints = (Hookpoint(0),)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def edit(self, residual: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002
        self.seen.append(residual.shape[0] * residual.shape[1])
        return residual


def test_a_second_pass_computes_only_what_follows_the_prompts(llama_model: HookedModelBase):
    batch = token_batch([words(20, 1), words(20, 2)], [words(3, 3), words(3, 4)])
    kept, counting = KeptPrompts(), Counting()
    edits: Edits = {Hookpoint(0): (Edit(counting.edit, "response"),)}
    for _ in range(2):
        llama_model.run(batch, outputs="response_logits", edits=edits, kept=kept)
    assert counting.seen == [2 * 19, 2 * 3, 2 * 3], "the last token of an answer predicts nothing"
    counting.seen.clear()
    llama_model.run(batch, read=[Hookpoint(0)], pool=["response_mean"], outputs="none", edits=edits, kept=kept)
    assert sum(counting.seen) >= 2 * 23, "a pass that reads sees all tokens"


def test_kept_prompts_of_another_batch_or_model_are_refused(llama: Tiny, llama_model: HookedModelBase):
    kept = KeptPrompts()
    llama_model.run(rollouts_batch(), outputs="response_logits", kept=kept)
    llama_model.run(rollouts_batch(), outputs="response_logits", kept=kept)
    with pytest.raises(AlignmentError, match="of another batch, or of another model"):
        llama_model.run(uneven_batch(), outputs="response_logits", kept=kept)
    other = llama.hooked("nnsight" if llama_model.backend == "transformer_lens" else "transformer_lens")
    with pytest.raises(AlignmentError, match="of another batch, or of another model"):
        other.run(rollouts_batch(), outputs="response_logits", kept=kept)


def test_a_batch_with_an_empty_response(llama: Tiny, llama_model: HookedModelBase):
    batch = token_batch([words(12, 1), words(12, 2), words(12, 3)], [words(2, 4), [], words(3, 5)])
    for kept in (None, KeptPrompts()):
        made = llama_model.run(batch, outputs="response_logits", kept=kept)
        torch.testing.assert_close(made.response_logits, at_responses(llama.run(batch).logits, batch), **TOLERANCE)
