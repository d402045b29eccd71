"""One forward pass over a segment, and the log-probabilities that come out of it."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from persona_interp.errors import IncompatibleDirectionError
from persona_interp.models.cache import select_rows
from persona_interp.models.recorder import Recorder, Segment
from persona_interp.types import KVPrefix, TokenBatch


@runtime_checkable
class Forward(Protocol):
    """One forward pass of the backend's model, taps firing; None where it stopped early."""

    def __call__(
        self,
        ids: Int[Tensor, "batch pos"],
        mask: Int[Tensor, "batch past_and_pos"],
        position_ids: Int[Tensor, "batch pos"],
        cache: DynamicCache | None,
        last_logits: int,
    ) -> Float[Tensor, "batch kept d_vocab"] | None:
        """Logits of the last `last_logits` positions (0: all)."""
        ...


def forward_segment(
    forward: Forward,
    segment: Segment,
    recorder: Recorder,
    cache: DynamicCache | None,
    past: Bool[Tensor, "row_before past"],
    last_logits: int,
    rows: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch kept d_vocab"] | None, Bool[Tensor, "batch past_and_pos"]]:
    """The pass over one segment on top of the cache; returns logits and the grown mask of the past."""
    if segment.parent is not None:
        past = past[segment.parent]
        if cache is not None:
            select_rows(cache, segment.parent)
    mask = torch.cat([past, segment.mask], dim=1)
    position_ids = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, past.shape[1] :]
    recorder.begin(segment, rows)
    return forward(segment.ids, mask.long(), position_ids, cache, last_logits), mask


def prefix_mask(prefix: KVPrefix | None, n_rows: int, device: torch.device) -> Bool[Tensor, "batch prefix"]:
    """The mask of the past before the first real token: nothing, or the virtual tokens.

    Raises:
        IncompatibleDirectionError: the prefix was made for another number of rows.
    """
    if prefix is None:
        return torch.ones(n_rows, 0, dtype=torch.bool, device=device)
    if prefix.keys.shape[1] != n_rows:
        raise IncompatibleDirectionError(
            f"a key/value prefix of {prefix.keys.shape[1]} rows cannot start a batch of {n_rows} rows.",
            "Make it with one trait vector a row.",
        )
    return torch.ones(n_rows, prefix.keys.shape[3], dtype=torch.bool, device=device)


def response_logprobs(
    logits: Float[Tensor, "batch kept d_vocab"], batch: TokenBatch, *, rows_at_once: int = 8
) -> Float[Tensor, "batch pos"]:
    """Log p(token | what precedes it) in nats at response positions, 0 elsewhere.

    `logits` are those of the last positions; the softmax is taken in float32, a few rows at a time.
    """
    n = logits.shape[1] - 1
    result = torch.zeros(batch.ids.shape, device=logits.device)
    if n == 0:
        return result
    for start in range(0, len(batch), rows_at_once):
        rows = slice(start, start + rows_at_once)
        chunk, targets = logits[rows, :-1].float(), batch.ids[rows, -n:].to(logits.device)
        picked = chunk.gather(-1, targets[..., None])[..., 0] - chunk.logsumexp(-1)
        result[rows, -n:] = picked * batch.response[rows, -n:].to(picked.device)
    return result
