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


class StopForward(Exception):
    """Ends a pass after the deepest hookpoint that is needed."""


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
    logits = forward(segment.ids, mask.long(), position_ids, cache, last_logits)
    recorder.end()
    return logits, mask


def prefix_mask(prefix: KVPrefix | None, n_rows: int, device: torch.device) -> Bool[Tensor, "batch prefix"]:
    """The mask of the past before the first real token: nothing, or the virtual tokens.

    Raises:
        IncompatibleDirectionError: the prefix has several rows, and not as many as the batch.
    """
    if prefix is None:
        return torch.ones(n_rows, 0, dtype=torch.bool, device=device)
    if prefix.keys.shape[1] not in (1, n_rows):
        raise IncompatibleDirectionError(
            f"a key/value prefix of {prefix.keys.shape[1]} rows cannot start a batch of {n_rows} rows.",
            "Make it with one trait vector for all rows, or with one a row.",
        )
    return torch.ones(n_rows, prefix.keys.shape[3], dtype=torch.bool, device=device)


def response_logits(
    logits: Float[Tensor, "batch kept d_vocab"], batch: TokenBatch, end: Segment
) -> Float[Tensor, "token d_vocab"]:
    """The logits that predict the response tokens, row after row; `logits` as in `response_logprobs`."""
    logits, rows, columns, _ = _predicting(logits, batch, end)
    return logits[rows, columns]


def response_logprobs(
    logits: Float[Tensor, "batch kept d_vocab"], batch: TokenBatch, end: Segment, *, numbers_at_once: int = 2**18
) -> Float[Tensor, "batch pos"]:
    """Log p(token | what precedes it) in nats at response positions, 0 elsewhere.

    `logits` are those of the last positions of the batch's final segment, which may lack the last token of every
    row. The softmax is taken in float32 and only where a response token is, over as many numbers at once as a
    processor's cache holds.
    """
    result = torch.zeros(batch.ids.shape, device=logits.device)
    logits, rows, columns, positions = _predicting(logits, batch, end)
    targets = batch.ids.to(logits.device)[rows, positions]
    at_once = max(1, numbers_at_once // logits.shape[-1])
    for start in range(0, len(rows), at_once):
        block = slice(start, start + at_once)
        losses = torch.nn.functional.cross_entropy(
            logits[rows[block], columns[block]].float(), targets[block], reduction="none"
        )
        result[rows[block], positions[block]] = -losses
    return result


def _predicting(
    logits: Float[Tensor, "batch kept d_vocab"], batch: TokenBatch, end: Segment
) -> tuple[Float[Tensor, "batch most d_vocab"], Int[Tensor, " token"], Int[Tensor, " token"], Int[Tensor, " token"]]:
    """The logits that predict responses, and of every response token its row, its column there, and its position."""
    n_response = int(batch.response.sum(-1).max())
    n_left_out = n_response - int(end.response.sum(-1).max())
    stop = logits.shape[1] - 1 + n_left_out
    rows, positions = batch.response.to(logits.device).nonzero(as_tuple=True)
    return logits[:, stop - n_response : stop], rows, positions - (batch.ids.shape[1] - n_response), positions
