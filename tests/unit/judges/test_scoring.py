import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.judges import scoring
from persona_interp.judges.scoring import Row, mean_logprobs, plan_passes
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import ForwardPass, TokenBatch
from tests.contract.tiny import Tiny

SYSTEMS = [None, "Be loud and be rude to whoever asks.", "Be quiet, please."]


def rows_of(lengths: list[int], *, n_systems: int = 2, per_question: int = 4) -> list[Row]:
    """Answers of these lengths, so many to a question, after every system prompt."""
    rows = []
    for s in range(n_systems):
        for i, length in enumerate(lengths):
            question = i // per_question
            prompt = (1, *[10 + s] * 20, *[100 + question] * (3 + question % 4), 2)
            rows.append(Row(s, prompt, tuple(range(1000 * i, 1000 * i + length))))
    return rows


def direct(small: Tiny, system: str | None, question: str, answer: str) -> float:
    """Mean log-probability of the answer's tokens, by the plain model and one row."""
    tokenizer = small.hooked("nnsight").tokenizer
    head = "" if system is None else f"{system}\n\n"
    prompt = tokenizer(f"{head}Question: {question}\nAnswer:", add_special_tokens=False)["input_ids"]
    response = tokenizer(answer, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logprobs = small.plain(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return float(logprobs[range(len(response)), response].mean())


@pytest.mark.parametrize(("logits", "tokens"), [(150_000_000, 16_384), (150_000_000, 300), (1, 16_384)])
def test_scores_equal_the_plain_model_s(
    small: Tiny, model: HookedModelBase, monkeypatch: pytest.MonkeyPatch, logits: int, tokens: int
):
    """Whatever the passes: answers of one token, of many, empty ones, repeated ones."""
    monkeypatch.setattr(scoring, "_LOGIT_BUDGET", logits)
    monkeypatch.setattr(scoring, "_TOKEN_BUDGET", tokens)
    questions = [q for q in ("Why?", "Who was it, and when?", "How?") for _ in range(5)]
    answers = ["NO!", "It was me, so it was.", "x", "", "NO!"] * 3
    table = mean_logprobs(model, SYSTEMS, questions, answers, progress=False)
    expected = [
        [direct(small, s, q, a) if a else np.nan for s in SYSTEMS] for q, a in zip(questions, answers, strict=True)
    ]
    np.testing.assert_allclose(table, expected, rtol=1e-4, atol=1e-4)


class Counting:
    """A model that counts the tokens its passes compute and the rows they hold."""

    def __init__(self, model: HookedModelBase, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[TokenBatch] = []
        run = model.run

        def counted(batch: TokenBatch, **options: object) -> ForwardPass:
            self.batches.append(batch)
            return run(batch, **options)  # pyright: ignore

        monkeypatch.setattr(model, "run", counted)


def test_equal_answers_are_computed_once(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch):
    counting = Counting(model, monkeypatch)
    table = mean_logprobs(model, SYSTEMS, ["Why?"] * 6, ["NO!", "hm"] * 3, progress=False)
    assert sum(len(batch) for batch in counting.batches) == 2 * len(SYSTEMS)
    assert (table[:2] == table[2:4]).all() and (table[:2] == table[4:]).all()


def test_a_prompt_is_computed_in_one_pass():
    rows = rows_of([40] * 80)
    passes = plan_passes(rows, vocabulary=49_152)
    assert len(passes) > 2
    for system, prompt in {(row.system, row.prompt) for row in rows}:
        assert sum(any((r.system, r.prompt) == (system, prompt) for r in chunk) for chunk in passes) == 1


def test_a_prompt_with_too_many_answers_is_cut():
    rows = rows_of([40] * 200, n_systems=1, per_question=200)
    passes = plan_passes(rows, vocabulary=49_152)
    assert max(map(len, passes)) == 150_000_000 // (41 * 49_152)
    assert sum(map(len, passes)) == 200


def test_answers_of_very_different_length_are_parted():
    """Padding every short answer to a long one would cost more than computing the questions twice."""
    rows = rows_of([5, 5, 5, 100] * 10)
    padded = sum(len(chunk) * max(len(row.response) for row in chunk) for chunk in plan_passes(rows, vocabulary=100))
    assert padded == sum(len(row.response) for row in rows)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 3), st.sampled_from([50, 50_000, 10**7]))
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_one_pass_that_fits(lengths: list[int], n_systems: int, vocabulary: int):
    rows = rows_of(lengths, n_systems=n_systems)
    passes = plan_passes(rows, vocabulary=vocabulary)
    assert sorted(row.response + row.prompt for chunk in passes for row in chunk) == sorted(
        row.response + row.prompt for row in rows
    )
    assert len({row for chunk in passes for row in chunk}) == len(rows)
    for chunk in passes:
        longest = max(len(row.response) for row in chunk)
        assert len(chunk) == 1 or len(chunk) * (longest + 1) * vocabulary <= 150_000_000
        assert len(chunk) == 1 or len(chunk) * (longest + max(len(row.prompt) for row in chunk)) <= 16_384


def test_no_rows_make_no_pass():
    assert plan_passes([], vocabulary=10) == []
