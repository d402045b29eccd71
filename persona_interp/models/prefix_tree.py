"""Splitting a batch so that tokens which rows share are computed once.

A batch of contrastive rollouts repeats itself: few system prompts, each with many questions, each with several
answers. Shared prompt beginnings are one segment, the rest of each distinct prompt the next, and the rows' own
ends the last. Every segment continues rows of the one before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from persona_interp.models.recorder import Segment
from persona_interp.types import TokenBatch

Tokens = tuple[int, ...]
_MIN_SHARED = 8
_WORTHWHILE = 0.9


@dataclass(frozen=True)
class _Level:
    """Token rows of one segment, the row of the level before that each continues, and their response lengths."""

    tokens: list[Tokens]
    parent: list[int] | None
    n_response: list[int]
    ends_prompt: bool
    n_reasoning: list[int] | None = None


def plan_pass(batch: TokenBatch, *, predict_only: bool = False, apart: bool = False) -> list[Segment]:
    """Segments of a teacher-forced pass; all but the last prompt token of each row may be shared.

    The last prompt token stays with the response, so that every response token is predicted in the final segment.

    Args:
        predict_only: leave out the last response token of every row, from which nothing is predicted. Only where
            the batch is split and every row has a response.
        apart: all that is shared is in segments of its own, so that the last begins with the last prompt token of
            every row.
    """
    rows, n_response = _rows(batch), batch.response.sum(-1).tolist()
    cuts = [len(row) - n - 1 for row, n in zip(rows, n_response, strict=True)]
    if min(cuts) < 1:
        return [Segment.whole(batch)]
    heads = [row[:cut] for row, cut in zip(rows, cuts, strict=True)]
    tails = [row[cut:] for row, cut in zip(rows, cuts, strict=True)]
    distinct = {head: i for i, head in enumerate(dict.fromkeys(heads))}
    levels, parents = _shared_levels(list(distinct))
    parent = [distinct[head] for head in heads]
    if apart or len(distinct) < len(rows):
        levels.append(_Level([rest for rest, _ in parents], _index(parents), [0] * len(parents), ends_prompt=False))
    elif not levels:
        return [Segment.whole(batch)]
    else:
        tails = [parents[p][0] + tail for p, tail in zip(parent, tails, strict=True)]
        parent = [parents[p][1] for p in parent]
    if predict_only and min(n_response) > 0:
        tails, n_response = [tail[:-1] for tail in tails], [n - 1 for n in n_response]
    n_reasoning = None if batch.n_reasoning is None else batch.n_reasoning.tolist()
    levels.append(_Level(tails, parent, n_response, ends_prompt=True, n_reasoning=n_reasoning))
    return [_pad(level, batch.ids.device) for level in levels]


def plan_prefill(batch: TokenBatch) -> tuple[list[Segment], Int[Tensor, " batch"]]:
    """Segments that compute each distinct prompt once, and for every row of the batch the prompt it has."""
    rows = _rows(batch)
    distinct = {row: i for i, row in enumerate(dict.fromkeys(rows))}
    levels, parents = _shared_levels(list(distinct))
    levels.append(_Level([rest for rest, _ in parents], _index(parents), [0] * len(parents), ends_prompt=True))
    device = batch.ids.device
    return [_pad(level, device) for level in levels], torch.tensor([distinct[row] for row in rows], device=device)


def shared_prefixes(prompts: Sequence[Tokens]) -> dict[Tokens, int] | None:
    """How many first tokens of each prompt to compute with its group, or None where sharing saves little.

    Prompts are sorted and cut into groups wherever neighbours share fewer than t tokens; t is the one that leaves
    the fewest tokens to compute. Every prompt keeps a token of its own, so one of a single token rules sharing out.
    """
    if min(map(len, prompts)) < 2:
        return None
    ordered = sorted(prompts)
    common = [_common(a, b) for a, b in zip(ordered, ordered[1:], strict=False)]
    best_cost, best = _WORTHWHILE * sum(map(len, prompts)), None
    for threshold in sorted({c for c in common if c >= _MIN_SHARED}):
        lengths = _group_lengths(ordered, common, threshold)
        prefixes = {prompt[:n] for prompt, n in lengths.items()}
        cost = sum(map(len, prefixes)) + sum(len(prompt) - n for prompt, n in lengths.items())
        if cost < best_cost:
            best_cost, best = cost, lengths
    return best


def _shared_levels(prompts: list[Tokens]) -> tuple[list[_Level], list[tuple[Tokens, int]]]:
    """The level of shared beginnings (if any), and for every prompt its rest and the row it continues (-1: none)."""
    shared = shared_prefixes(prompts)
    if shared is None:
        return [], [(prompt, -1) for prompt in prompts]
    prefixes = {p: i for i, p in enumerate(dict.fromkeys(prompt[: shared[prompt]] for prompt in prompts))}
    level = _Level(list(prefixes), None, [0] * len(prefixes), ends_prompt=False)
    return [level], [(prompt[shared[prompt] :], prefixes[prompt[: shared[prompt]]]) for prompt in prompts]


def _index(parents: Sequence[tuple[Tokens, int]]) -> list[int] | None:
    rows = [row for _, row in parents]
    return None if -1 in rows else rows


def _group_lengths(ordered: Sequence[Tokens], common: Sequence[int], threshold: int) -> dict[Tokens, int]:
    lengths: dict[Tokens, int] = {}
    start = 0
    for end in range(1, len(ordered) + 1):
        if end < len(ordered) and common[end - 1] >= threshold:
            continue
        group = ordered[start:end]
        shared = min(common[start : end - 1], default=threshold)
        shared = max(1, min(shared, *(len(prompt) - 1 for prompt in group)))
        lengths.update(dict.fromkeys(group, shared))
        start = end
    return lengths


def _common(a: Tokens, b: Tokens) -> int:
    for n, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return n
    return min(len(a), len(b))


def _rows(batch: TokenBatch) -> list[Tokens]:
    return [tuple(ids[mask].tolist()) for ids, mask in zip(batch.ids.cpu(), batch.mask.cpu(), strict=True)]


def _pad(level: _Level, device: torch.device) -> Segment:
    n_rows, width = len(level.tokens), max(map(len, level.tokens))
    ids = torch.zeros(n_rows, width, dtype=torch.long)
    mask, response, last, answer = (torch.zeros(n_rows, width, dtype=torch.bool) for _ in range(4))
    skipped = [0] * n_rows if level.n_reasoning is None else level.n_reasoning
    for i, (row, n, skip) in enumerate(zip(level.tokens, level.n_response, skipped, strict=True)):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = True
        response[i, width - n :] = n > 0
        answer[i, width - n + min(skip, n) :] = n > skip
        last[i, width - n - 1] = level.ends_prompt
    parent = None if level.parent is None else torch.tensor(level.parent, device=device)
    ids, mask, response, last, answer = (part.to(device) for part in (ids, mask, response, last, answer))
    return Segment(ids, mask, response, last, parent, answer)
