"""A model whose logits are linear in the residual: what an addition does to its predictions is known in closed form."""

from collections.abc import Sequence
from math import acosh, cosh, exp, log
from typing import Any

import torch
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.types import ForwardPass, Generation, KVPrefix, TokenBatch
from tests.contract.tiny import D_VOCAB, FIRST_WORD, make_tokenizer
from tests.small import StubModel, direction, provenance

WIDTH, N_LAYERS = 4, 3
EVEN, ONE = 0, 1
"""Axes of the residual: one raises half of the tokens and lowers the other half, one raises a single token."""


class LinearHead(StubModel):
    """Residuals of 0 (every token is as likely as any other), plus what edits add; every layer hands them on.

    Args:
        tilt: of the head at a position, so that not every token of an answer is moved alike; 1 everywhere by default.
        twist: what is added along EVEN counts as `twist` of it; the identity by default.
    """

    def __init__(self, *, tilt: Any = None, twist: Any = None, bias: Tensor | None = None) -> None:
        super().__init__(n_layers=N_LAYERS, d_model=WIDTH, model="linear")
        self.tokenizer: Any = make_tokenizer()
        self.head = torch.zeros(WIDTH, D_VOCAB)
        self.head[EVEN] = torch.tensor([1.0, -1.0]).repeat(D_VOCAB // 2)
        self.head[ONE, FIRST_WORD] = 1.0
        self.bias = torch.zeros(D_VOCAB) if bias is None else bias
        self.tilt, self.twist = tilt or (lambda ids: torch.ones(ids.shape)), twist or (lambda x: x)
        self.n_passes = 0

    def run(
        self, batch: TokenBatch, *, outputs: str = "", edits: Any = None, prefix: KVPrefix | None = None, **_: Any
    ) -> ForwardPass:
        assert outputs == "response_logits"
        self.n_passes += 1
        residual = torch.zeros(*batch.ids.shape, WIDTH)
        if prefix is not None:
            residual[..., EVEN] += prefix.values.sum()
        for hookpoint in sorted(edits or {}, key=lambda h: h.order):
            for edit in edits[hookpoint]:
                span = batch.span(edit.span, last_prompt_token=edit.last_prompt_token)
                residual = edit.function(residual, span)
        residual[..., EVEN] = self.twist(residual[..., EVEN])
        logits = self.tilt(batch.ids)[..., None] * (residual @ self.head) + self.bias
        rows, positions = batch.response.nonzero(as_tuple=True)
        return ForwardPass(response_logits=logits[rows, positions - 1])

    def generate(self, batch: TokenBatch, *, sampling: Any, **_: Any) -> Generation:
        ids = [[FIRST_WORD + 3 + k] * (k % sampling.max_new_tokens) for k in range(len(batch))]
        return Generation(ids=ids, texts=self.tokenizer.batch_decode(ids), finished=[True] * len(ids))


def along(axis: int, *, norm: float = 1.0) -> Direction:
    """A direction along an axis at every layer, the residual norm of layer i being `norm` (i + 1)."""
    vectors = torch.zeros(N_LAYERS, WIDTH)
    vectors[:, axis] = 3.0
    norms = norm * torch.arange(1.0, N_LAYERS + 1)
    of = provenance(model="linear", n_layers=N_LAYERS, d_model=WIDTH)
    return direction(vectors, norms=norms, provenance=of)


def even_kl(x: float) -> float:
    """KL(unsteered || steered) where half of the logits rise by x and half fall by x: log cosh x."""
    return log(cosh(x))


def even_strength(kl: float) -> float:
    """The x at which it is so large."""
    return acosh(exp(kl))


def one_kl(x: float) -> float:
    """The same where one logit of V rises by x: log(1 + (exp x - 1) / V) - x / V."""
    return log(1 + (exp(x) - 1) / D_VOCAB) - x / D_VOCAB


PROMPTS: Sequence[str] = ("Why?", "Who is it?", "What now?", "How?")
ANSWERS: Sequence[str] = ("as it is", "no", "in a while", "then")
