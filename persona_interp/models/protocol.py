"""What every algorithm may ask of a model: one pass, or sampled continuations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from transformers import PreTrainedTokenizerBase

from persona_interp.errors import ConfigError
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

Outputs = Literal["logits", "token_logprobs", "none"]
"""What a pass computes at the end: all logits, log-probabilities of the response tokens, or nothing (it then
stops at the deepest hookpoint read)."""


@dataclass(frozen=True)
class Sampling:
    """How continuations are drawn.

    Every row draws from its own stream, seeded by (seed, prompt, sample index), so a sample does not depend on
    which rows share its batch, and two runs that differ only in an intervention use common random numbers.

    Args:
        temperature: 0 is greedy.
        stop_ids: token ids that end a row, besides the tokenizer's end-of-text.
    """

    max_new_tokens: int = 64
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    n_samples: int = 1
    seed: int = 0
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot be sampled with."""
        checks = {
            "max_new_tokens must be at least 1": self.max_new_tokens >= 1,
            "n_samples must be at least 1": self.n_samples >= 1,
            "temperature must not be negative": self.temperature >= 0,
            "top_k must be at least 1": self.top_k is None or self.top_k >= 1,
            "top_p must be in (0, 1]": self.top_p is None or 0 < self.top_p <= 1,
        }
        for rule, holds in checks.items():
            if not holds:
                raise ConfigError(f"cannot sample with {self}.", f"{rule}.")


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
    ) -> ForwardPass:
        """One pass over a batch.

        With `pool`, the residuals at `read` are averaged over positions during the pass and the full ones are not
        kept. `grad` keeps the graph, so that gradients flow through edits. A `watch` sees residuals and keeps nothing.
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
