"""What every algorithm may ask of a model: one pass, or sampled continuations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from transformers import PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, ShareAbove0, Temperature
from persona_interp.models.kept_prompts import KeptPrompts
from persona_interp.models.recorder import Watch
from persona_interp.reasoning import Reasoning
from persona_interp.types import (
    NO_EDITS,
    Edits,
    ForwardPass,
    Generation,
    Hookpoint,
    KVPrefix,
    Pooling,
    Provenance,
    TokenBatch,
)

Outputs = Literal["logits", "response_logits", "token_logprobs", "none"]
"""What a pass computes at the end: all logits, those that predict the response tokens, log-probabilities of these
tokens, or nothing (it then stops at the deepest hookpoint read)."""


@checked
@dataclass(frozen=True)
class Sampling:
    """How continuations are drawn.

    Every row draws from its own stream, seeded by (seed, prompt, sample index), so a sample does not depend on
    which rows share its batch, and two runs that differ only in an intervention use common random numbers.

    Temperature, top-k and top-p are those given here: what a model's `generation_config` says of them is left aside.

    Args:
        temperature: 0 is greedy.
        stop_ids: token ids that end a row, besides the tokenizer's end-of-text.
        generation_config: follow the other entries of the model's `generation_config` that shape logits, such as
            `repetition_penalty`, `no_repeat_ngram_size` and `suppress_tokens`, as transformers' `generate` does.
    """

    max_new_tokens: Count = 64
    temperature: Temperature = 1.0
    top_k: Count | None = None
    top_p: ShareAbove0 | None = None
    n_samples: Count = 1
    seed: Seed = 0
    stop_ids: tuple[int, ...] = ()
    generation_config: bool = True


@runtime_checkable
class HookedModel(Protocol):
    """A causal language model whose residual stream can be read and edited at every block."""

    name: str
    backend: str
    n_layers: int
    d_model: int
    tokenizer: PreTrainedTokenizerBase

    @property
    def device(self) -> torch.device:
        """Where token ids go in."""
        ...

    @property
    def provenance(self) -> Provenance:
        """What an artefact made with this model says of it."""
        ...

    def run(
        self,
        batch: TokenBatch,
        *,
        read: Sequence[Hookpoint] = (),
        pool: Sequence[Pooling] = (),
        outputs: Outputs = "logits",
        edits: Edits = NO_EDITS,
        prefix: KVPrefix | None = None,
        grad: bool = False,
        watch: Watch | None = None,
        kept: KeptPrompts | None = None,
    ) -> ForwardPass:
        """One pass over a batch.

        With `pool`, the residuals at `read` are averaged over positions during the pass and the full ones are not
        kept. `grad` keeps the graph, so that gradients flow through edits. A `watch` sees residuals and keeps nothing.
        Passes over one batch that are given the same `kept` compute its prompts once (see `KeptPrompts`).
        """
        ...

    def generate(
        self,
        batch: TokenBatch,
        *,
        sampling: Sampling,
        read: Sequence[Hookpoint] = (),
        pool: Sequence[Pooling] = (),
        edits: Edits = NO_EDITS,
        prefix: KVPrefix | None = None,
        watch: Watch | None = None,
        reasoning: Reasoning = "skip",
    ) -> Generation:
        """Sampled continuations of prompts; residuals at `read` are pooled while generating.

        Responses are pooled after their reasoning block, if they have one, or with it (`reasoning="include"`); the
        texts are whole. A `watch` sees the residuals of every prompt and answer token, as they are computed.
        """
        ...
