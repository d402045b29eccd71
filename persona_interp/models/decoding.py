"""Sampling loop: distinct prompts are prefilled once, ended rows leave the batch, residuals are pooled on the way."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, PreTrainedConfig, PreTrainedTokenizerBase

from persona_interp.models.cache import is_shared, n_virtual, select_rows, shares_prefixes
from persona_interp.models.forward import Forward, forward_segment, prefix_mask
from persona_interp.models.generation_settings import GenerationSettings, Shaper
from persona_interp.models.prefix_tree import plan_pass, plan_prefill
from persona_interp.models.protocol import Sampling
from persona_interp.models.recorder import Recorder, Segment, Tap
from persona_interp.models.sampling import row_uniforms, sample_tokens
from persona_interp.types import Hookpoint, KVPrefix, TokenBatch

_COMPACT_BELOW = 0.75


@runtime_checkable
class Decodable(Protocol):
    """What the loop asks of a model: see `HookedModelBase`."""

    name: str
    config: PreTrainedConfig
    generation_config: GenerationConfig | None
    generation_settings: GenerationSettings
    tokenizer: PreTrainedTokenizerBase
    device: torch.device

    def tapped(
        self, taps: Mapping[Hookpoint, Tap], *, stop_after: Hookpoint | None = None
    ) -> AbstractContextManager[Forward]:
        """A context of forward passes that call the taps."""
        ...

    def open_cache(self, prefix: KVPrefix | None, n_rows: int) -> DynamicCache:
        """A cache that starts with the virtual tokens, if any."""
        ...


@dataclass
class _State:
    """Rows still being generated: their cache, the mask of their past, and which row of all they are."""

    cache: DynamicCache
    past: Bool[Tensor, "active past"]
    rows: Int[Tensor, " active"]
    tokens: list[list[int]]
    finished: list[bool]


def decode(
    model: Decodable, batch: TokenBatch, recorder: Recorder, sampling: Sampling, prefix: KVPrefix | None
) -> tuple[list[list[int]], list[bool]]:
    """Token ids of every sample without end tokens, and whether it ended by itself.

    A token is run through the model only to predict the next one. So the last token of a sample that reached the
    limit gets one more pass when responses are pooled or watched: every token of the answer is then covered. Nothing
    is predicted from it, so that pass ends after the deepest hookpoint.
    """
    taps = recorder.taps()
    with model.tapped(taps) as forward:
        state, chosen, alive = _sample(model, forward, batch, recorder, sampling, prefix)
    if recorder.wants_last_token and alive.any():
        with model.tapped(taps, stop_after=recorder.deepest) as forward:
            _advance(forward, state, chosen, alive, recorder)
    recorder.finish()
    return state.tokens, state.finished


def _sample(
    model: Decodable,
    forward: Forward,
    batch: TokenBatch,
    recorder: Recorder,
    sampling: Sampling,
    prefix: KVPrefix | None,
) -> tuple[_State, Int[Tensor, " active"], Bool[Tensor, " active"]]:
    """All samples; the tokens chosen last, which the model did not run, and which of them belong to an answer."""
    state, logits = _prefill(model, forward, batch, recorder, sampling, prefix)
    stops = torch.tensor(sorted(stop_ids(model, sampling)), device=logits.device)
    ends = sorted(stop_ids(model, replace(sampling, stop_ids=())))
    shaper = Shaper(model.generation_settings.followed, batch, sampling, ends, model.name)
    prompts = [ids[mask].tolist() for ids, mask in zip(batch.ids.cpu(), batch.mask.cpu(), strict=True)]
    uniforms = row_uniforms(prompts, sampling, continued=not recorder.row_spans).to(logits.device)
    step = 0
    while True:
        logits = shaper.shape(logits, state.rows)
        chosen = sample_tokens(logits, uniforms[state.rows.to(logits.device), step], sampling)
        ended = torch.isin(chosen, stops)
        for row, token, end in zip(state.rows.tolist(), chosen.tolist(), ended.tolist(), strict=True):
            if end:
                state.finished[row] = True
            elif not state.finished[row]:
                state.tokens[row].append(token)
        alive = torch.tensor([not state.finished[row] for row in state.rows.tolist()], device=model.device)
        step += 1
        if step == sampling.max_new_tokens or not alive.any():
            return state, chosen.to(model.device), alive
        shaper.add(chosen.to(model.device), state.rows)
        advanced = _advance(forward, state, chosen.to(model.device), alive, recorder)
        assert advanced is not None, "a pass that predicts a token runs to its end"
        logits = advanced


def stop_ids(model: Decodable, sampling: Sampling) -> set[int]:
    """End-of-text ids of the tokenizer and of the model's generation settings, and those of `sampling`."""
    ends = {model.tokenizer.eos_token_id, *sampling.stop_ids}  # pyright: ignore
    for settings in (model.config, model.generation_config):
        configured = getattr(settings, "eos_token_id", None)
        ends.update(configured if isinstance(configured, list) else [configured])
    return {end for end in ends if end is not None}


def _prefill(
    model: Decodable,
    forward: Forward,
    batch: TokenBatch,
    recorder: Recorder,
    sampling: Sampling,
    prefix: KVPrefix | None,
) -> tuple[_State, Float[Tensor, "sample d_vocab"]]:
    length = n_virtual(prefix) + batch.ids.shape[1] + sampling.max_new_tokens
    segments, rows = [Segment.whole(batch)], torch.arange(len(batch), device=model.device)
    if is_shared(prefix) and shares_prefixes(model.config, length):
        if not recorder.row_spans:
            segments, rows = plan_prefill(batch)
        elif recorder.row_spans <= {"response", "last"}:
            segments = plan_pass(batch)  # equal prompts are one up to their last token, which differs from row to row
    n_prompts = len(segments[0].ids)
    past = prefix_mask(prefix, n_prompts, model.device)
    cache = model.open_cache(prefix, n_prompts)
    logits = None
    for segment in segments:
        logits, past = forward_segment(forward, segment, recorder, cache, past, 1)
    assert logits is not None, "generation never stops a pass early"
    parent = rows.repeat_interleave(sampling.n_samples)
    select_rows(cache, parent)
    recorder.expand(parent)
    n_rows = len(parent)
    state = _State(
        cache=cache,
        past=past[parent],
        rows=torch.arange(n_rows, device=model.device),
        tokens=[[] for _ in range(n_rows)],
        finished=[False] * n_rows,
    )
    return state, logits[parent.to(logits.device), -1]


def _advance(
    forward: Forward,
    state: _State,
    chosen: Int[Tensor, " active"],
    alive: Bool[Tensor, " active"],
    recorder: Recorder,
) -> Float[Tensor, "left d_vocab"] | None:
    """The pass over the chosen tokens, without the rows that ended once they are many."""
    recorder.generated(state.tokens)
    if alive.float().mean() < _COMPACT_BELOW:
        chosen, alive = _compact(state, chosen, alive)
    step = alive[:, None]
    segment = Segment(ids=chosen[:, None], mask=step, response=step, last=torch.zeros_like(step))
    logits, state.past = forward_segment(forward, segment, recorder, state.cache, state.past, 1, state.rows)
    return None if logits is None else logits[:, -1]


def _compact(
    state: _State, chosen: Int[Tensor, " active"], alive: Bool[Tensor, " active"]
) -> tuple[Int[Tensor, " left"], Bool[Tensor, " left"]]:
    """Drop the rows that ended."""
    keep = alive.nonzero()[:, 0]
    select_rows(state.cache, keep)
    state.past, state.rows = state.past[keep], state.rows[keep]
    return chosen[keep], alive[keep]
