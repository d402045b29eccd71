"""Segments put together again are the batch's own rows, masks and marks."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.models.prefix_tree import plan_pass, plan_prefill, shared_prefixes
from persona_interp.models.recorder import Segment
from persona_interp.models.tokens import token_batch
from persona_interp.types import TokenBatch

# Few token ids and few beginnings, so that rows often share long parts or everything.
_TAILS = st.lists(st.integers(1, 3), max_size=4)
_HEADS = st.sampled_from([[], [1] * 9, [1] * 12, [*[1] * 9, 2, 2], [2] * 10, [3]])
_PROMPTS = st.tuples(_HEADS, _TAILS).map(lambda parts: parts[0] + parts[1]).filter(bool)
_ROWS = st.lists(st.tuples(_PROMPTS, _TAILS), min_size=1, max_size=8)


def rebuilt(segments: list[Segment]) -> list[list[tuple[int, bool, bool]]]:
    """Every row of the last segment through its parents: (token, in the response, last of the prompt)."""
    rows: list[list[tuple[int, bool, bool]]] = []
    for segment in segments:
        before = [[] for _ in segment.ids] if segment.parent is None else [rows[p] for p in segment.parent.tolist()]
        rows = [
            [*past, *((int(i), bool(r), bool(x)) for i, m, r, x in zip(*parts, strict=True) if m)]
            for past, *parts in zip(before, segment.ids, segment.mask, segment.response, segment.last, strict=True)
        ]
    return rows


def rows_of(batch: TokenBatch) -> list[list[tuple[int, bool, bool]]]:
    parts = zip(batch.ids, batch.mask, batch.response, batch.last_prompt, strict=True)
    return [[(int(i), bool(r), bool(x)) for i, m, r, x in zip(*row, strict=True) if m] for row in parts]


def marks_only_real_positions(segments: list[Segment]) -> bool:
    return all(not ((s.response | s.last) & ~s.mask).any() for s in segments)


@settings(max_examples=150, deadline=None)
@given(_ROWS)
def test_a_pass_rebuilds_the_batch(rows: list[tuple[list[int], list[int]]]) -> None:
    batch = token_batch([prompt for prompt, _ in rows], [response for _, response in rows])
    segments = plan_pass(batch)
    assert rebuilt(segments) == rows_of(batch)
    assert marks_only_real_positions(segments)
    assert segments[0].parent is None and all(s.parent is not None for s in segments[1:])
    assert sum(int(s.mask.sum()) for s in segments) <= int(batch.mask.sum())


@settings(max_examples=150, deadline=None)
@given(_ROWS)
def test_every_response_token_is_predicted_in_the_last_segment(rows: list[tuple[list[int], list[int]]]) -> None:
    batch = token_batch([prompt for prompt, _ in rows], [response for _, response in rows])
    *earlier, final = plan_pass(batch)
    assert not any((s.response | s.last).any() for s in earlier)
    assert torch.equal(final.last.sum(1), torch.ones(len(batch), dtype=torch.long))
    assert torch.equal(final.response.sum(1), batch.response.sum(1))


@settings(max_examples=150, deadline=None)
@given(st.lists(_PROMPTS, min_size=1, max_size=8))
def test_a_prefill_rebuilds_each_prompt(prompts: list[list[int]]) -> None:
    batch = token_batch(prompts)
    segments, rows = plan_prefill(batch)
    made = rebuilt(segments)
    assert [made[row] for row in rows.tolist()] == rows_of(batch)
    assert len(made) == len({tuple(prompt) for prompt in prompts}), "each distinct prompt once"
    assert marks_only_real_positions(segments)
    assert segments[-1].last[:, -1].all(), "the next token is predicted at the last position"


@settings(max_examples=150, deadline=None)
@given(st.lists(_PROMPTS, min_size=1, max_size=8))
def test_shared_prefixes_leave_a_token_and_save_work(prompts: list[list[int]]) -> None:
    distinct = list({tuple(prompt) for prompt in prompts})
    shared = shared_prefixes(distinct)
    if shared is None:
        return
    assert set(shared) == set(distinct)
    assert all(1 <= n < len(prompt) for prompt, n in shared.items())
    prefixes = {prompt[:n] for prompt, n in shared.items()}
    cost = sum(map(len, prefixes)) + sum(len(prompt) - n for prompt, n in shared.items())
    assert cost < 0.9 * sum(map(len, distinct))


def test_a_long_common_beginning_is_computed_once() -> None:
    head = list(range(1, 21))
    segments, rows = plan_prefill(token_batch([[*head, 30], [*head, 31, 32], [*head, 30]]))
    assert [s.ids.shape for s in segments] == [(1, 20), (2, 2)]
    assert rows.tolist() == [0, 1, 0]


def test_short_or_different_prompts_are_not_split() -> None:
    batch = token_batch([[1, 2, 3], [1, 3, 4], [5] * 20])
    assert len(plan_prefill(batch)[0]) == 1
    assert len(plan_pass(batch)) == 1


def test_a_prompt_of_one_token_is_not_split_off_empty() -> None:
    head = [7] * 12
    segments, _ = plan_prefill(token_batch([[*head, 1], [*head, 2], [7], [9]]))
    assert all(s.mask.any(1).all() for s in segments)
