"""Cached generation equals running the whole text again for every token."""

from itertools import takewhile

import pytest
import torch

from persona_interp.models.decoding import stop_ids
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import NO_EDITS, POOLINGS, Edit, Edits, Hookpoint, KVPrefix, Span, TokenBatch
from tests.contract.tiny import (
    BACKENDS,
    END_OF_TURN,
    ENDS,
    EOS,
    N_LAYERS,
    TOLERANCE,
    Tiny,
    all_hookpoints,
    prompt_batch,
    prompts_behind_prefix,
    random_prefix,
    shifting,
    words,
)

GREEDY = Sampling(max_new_tokens=8, temperature=0.0)
SAMPLED = Sampling(max_new_tokens=24, n_samples=4, seed=3, stop_ids=(11, 12, 13))


def greedy_by_repetition(run, prompts: list[list[int]], edits: Edits = NO_EDITS, prefix: KVPrefix | None = None):
    """Greedy ids by running every prompt with its whole answer so far, all rows together."""
    answers: list[list[int]] = [[] for _ in prompts]
    finished = [False] * len(prompts)
    for _ in range(GREEDY.max_new_tokens):
        chosen = run(token_batch(prompts, answers), edits=edits, prefix=prefix).logits[:, -1].argmax(-1).tolist()
        for row, token in enumerate(chosen):
            finished[row] = finished[row] or token in ENDS
            answers[row].append(token)
    return [list(takewhile(lambda token: token not in ENDS, ids)) for ids in answers], finished


def prompt_ids(batch: TokenBatch | None = None) -> list[list[int]]:
    batch = prompt_batch() if batch is None else batch
    return [ids[mask].tolist() for ids, mask in zip(batch.ids, batch.mask, strict=True)]


def test_greedy_equals_the_plain_model_run_again(tiny: Tiny, model: HookedModelBase) -> None:
    made = model.generate(prompt_batch(), sampling=GREEDY)
    assert (made.ids, made.finished) == greedy_by_repetition(tiny.run, prompt_ids())
    assert made.texts == [model.tokenizer.decode(ids, skip_special_tokens=True) for ids in made.ids]


@pytest.mark.parametrize(
    ("span", "last_prompt_token"),
    [("all", True), ("prompt", True), ("response", True), ("response", False), ("last", True)],
)
def test_greedy_with_edits_equals_repeated_runs(tiny: Tiny, span: Span, last_prompt_token: bool) -> None:
    edits = {Hookpoint(i): (Edit(shifting(i, scale=1.0), span, last_prompt_token),) for i in (0, 2)}
    expected = greedy_by_repetition(tiny.run, prompt_ids(), edits)
    assert expected[0] != greedy_by_repetition(tiny.run, prompt_ids())[0], "the edit must matter"
    for backend in BACKENDS:
        model = tiny.hooked(backend)
        made = model.generate(prompt_batch(), sampling=GREEDY, edits=edits)
        assert (made.ids, made.finished) == expected
    assert greedy_by_repetition(tiny.hooked("transformer_lens").run, prompt_ids(), edits) == expected


@pytest.mark.parametrize("stream", ["resid_pre", "attn_out", "mlp_out"])
def test_every_stream_can_be_edited_while_generating(tiny: Tiny, stream: str) -> None:
    edits = {Hookpoint(1, stream): (Edit(shifting(1, scale=1.0), "response"),)}  # pyright: ignore
    expected = greedy_by_repetition(tiny.run, prompt_ids(), edits)[0]
    assert [tiny.hooked(b).generate(prompt_batch(), sampling=GREEDY, edits=edits).ids for b in BACKENDS] == [
        expected
    ] * 2


def test_greedy_with_a_prefix_in_each_row_equals_repeated_runs(tiny: Tiny, model: HookedModelBase) -> None:
    prefix, batch = random_prefix(tiny, 3), prompts_behind_prefix(tiny)
    made = model.generate(batch, sampling=GREEDY, prefix=prefix)
    assert (made.ids, made.finished) == greedy_by_repetition(tiny.run, prompt_ids(batch), prefix=prefix)


def test_an_identity_edit_changes_no_sample(model: HookedModelBase) -> None:
    edits = {h: (Edit(shifting(0, scale=0.0)),) for h in all_hookpoints(["resid_post"])}
    plain = model.generate(prompt_batch(), sampling=SAMPLED, read=[Hookpoint(1)], pool=POOLINGS)
    edited = model.generate(prompt_batch(), sampling=SAMPLED, read=[Hookpoint(1)], pool=POOLINGS, edits=edits)
    assert edited.ids == plain.ids
    for pooling in POOLINGS:
        assert torch.equal(plain.pooled[pooling].nan_to_num(), edited.pooled[pooling].nan_to_num())


def test_rows_are_samples_of_prompts_in_order(model: HookedModelBase) -> None:
    made = model.generate(prompt_batch(), sampling=SAMPLED)
    assert len(made.ids) == len(made.texts) == len(made.finished) == 3 * SAMPLED.n_samples
    for i, prompt in enumerate(prompt_ids()):
        alone = model.generate(token_batch([prompt]), sampling=SAMPLED)
        rows = slice(i * SAMPLED.n_samples, (i + 1) * SAMPLED.n_samples)
        assert alone.ids == made.ids[rows]
        assert len({tuple(ids) for ids in alone.ids}) > 1


def test_rows_that_end_early_leave_the_others_alone(model: HookedModelBase) -> None:
    """End-of-text is really sampled here, at different steps, so rows leave the batch on the way."""
    sampling = Sampling(max_new_tokens=24, n_samples=10, seed=1)
    reads = all_hookpoints(["resid_post"])
    made = model.generate(prompt_batch(), sampling=sampling, read=reads, pool=POOLINGS)
    ended = [len(ids) for ids, done in zip(made.ids, made.finished, strict=True) if done]
    assert len(set(ended)) >= 3, "several rows must end, at different steps"
    assert all(not ENDS & set(ids) for ids in made.ids)
    assert all(len(ids) == 24 for ids, done in zip(made.ids, made.finished, strict=True) if not done)
    for i, prompt in enumerate(prompt_ids()):
        alone = model.generate(token_batch([prompt]), sampling=sampling, read=reads, pool=POOLINGS)
        rows = slice(10 * i, 10 * i + 10)
        assert (alone.ids, alone.texts, alone.finished) == (made.ids[rows], made.texts[rows], made.finished[rows])
        assert alone.norms is not None and made.norms is not None
        torch.testing.assert_close(alone.norms, made.norms[rows], equal_nan=True, **TOLERANCE)
        for pooling in POOLINGS:
            torch.testing.assert_close(alone.pooled[pooling], made.pooled[pooling][rows], equal_nan=True, **TOLERANCE)


@pytest.mark.parametrize("edited", [False, True], ids=["plain", "edited"])
def test_pooling_while_generating_equals_a_teacher_forced_pass(model: HookedModelBase, edited: bool) -> None:
    edits = {Hookpoint(0): (Edit(shifting(0), "response"),)} if edited else NO_EDITS
    reads = all_hookpoints(["resid_pre", "resid_post"])
    made = model.generate(prompt_batch(), sampling=SAMPLED, read=reads, pool=POOLINGS, edits=edits)
    prompts = [prompt for prompt in prompt_ids() for _ in range(SAMPLED.n_samples)]
    forced = model.run(token_batch(prompts, made.ids), read=reads, pool=POOLINGS, outputs="none", edits=edits)
    for pooling in POOLINGS:
        torch.testing.assert_close(made.pooled[pooling], forced.pooled[pooling], equal_nan=True, **TOLERANCE)
    assert made.norms is not None and forced.norms is not None
    torch.testing.assert_close(made.norms, forced.norms, equal_nan=True, **TOLERANCE)


def test_shared_prompts_generate_as_singles_do(model: HookedModelBase) -> None:
    """Prompts with a long common beginning are prefilled from it; a prompt that comes twice is prefilled once."""
    system = words(12, 30)
    prompts = [[*system, *words(3, 31)], [*system, *words(5, 32)], words(1, 33), [*system, *words(3, 31)]]
    read, pool = [Hookpoint(N_LAYERS - 1)], POOLINGS
    made = model.generate(token_batch(prompts), sampling=GREEDY, read=read, pool=pool)
    for row, prompt in enumerate(prompts):
        alone = model.generate(token_batch([prompt]), sampling=GREEDY, read=read, pool=pool)
        assert alone.ids == [made.ids[row]]
        for pooling in pool:
            torch.testing.assert_close(alone.pooled[pooling][0], made.pooled[pooling][row], equal_nan=True, **TOLERANCE)


def test_backends_sample_the_same(tiny: Tiny) -> None:
    edits = {Hookpoint(1): (Edit(shifting(0), "response"),)}
    one, other = (tiny.hooked(b).generate(prompt_batch(), sampling=SAMPLED, edits=edits) for b in BACKENDS)
    assert (one.ids, one.texts, one.finished) == (other.ids, other.texts, other.finished)


def test_end_of_text_is_what_tokenizer_config_or_generation_settings_say(llama_model: HookedModelBase) -> None:
    assert llama_model.config.eos_token_id == llama_model.tokenizer.eos_token_id == EOS
    assert stop_ids(llama_model, Sampling(stop_ids=(9,))) == {EOS, END_OF_TURN, 9}


def test_stop_ids_end_a_row(llama_model: HookedModelBase) -> None:
    free = llama_model.generate(prompt_batch(), sampling=GREEDY).ids
    longest = max(range(len(free)), key=lambda row: len(free[row]))
    stop = free[longest][1]
    made = llama_model.generate(prompt_batch(), sampling=Sampling(max_new_tokens=8, temperature=0.0, stop_ids=(stop,)))
    assert made.ids == [ids[: ids.index(stop)] if stop in ids else ids for ids in free]
    assert made.finished[longest] and made.ids != free
