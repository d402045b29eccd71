"""Rollouts: their requests, rows, answers and activations."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.persona import persona_vector
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.generate import (
    Rollouts,
    answer,
    contrastive_requests,
    plain_requests,
)
from persona_interp.types import POOLINGS, Pooling
from tests.contract.tiny import D_VOCAB, TOLERANCE
from tests.small import TRAIT
from tests.unit.rollouts.runs import check_equal, make

COLUMNS = ["side", "instruction", "question", "system", "prompt", "sample", "answer", "response_ids", "finished"]


def test_requests_are_ordered_by_side_instruction_and_question():
    frame = contrastive_requests(TRAIT, n_questions=2)
    assert list(frame.columns) == ["side", "instruction", "question", "system"]
    assert frame[["side", "instruction", "question"]].to_numpy().tolist() == [
        [side, i, q] for side in ("positive", "negative") for i in (0, 1) for q in ("Why?", "Who is it?")
    ]
    assert frame["system"][0] == "You are a loud assistant. Shout."
    assert frame["system"][7] == "You are a quiet assistant. Mumble."
    assert contrastive_requests(TRAIT, questions="eval")["question"].unique().tolist() == ["How?", "When is it?"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"n_questions": 4}, "questions of loud (extract) must be 1 to 3, got 4."),
        ({"n_questions": 3, "questions": "eval"}, "questions of loud (eval) must be 1 to 2, got 3."),
        ({"n_instructions": 0}, "instructions of loud (extract) must be 1 to 2, got 0."),
    ],
)
def test_more_than_there_is(asked: dict[str, Any], said: str):
    with pytest.raises(ConfigError) as caught:
        contrastive_requests(TRAIT, **asked)
    assert str(caught.value) == said


def test_plain_requests():
    frame = plain_requests(["a?", "b?"])
    assert frame["question"].tolist() == ["a?", "b?"] and frame["system"].isna().all()
    assert (frame["instruction"] == -1).all() and (frame["side"] == "").all()


def test_rows_and_their_order(model: HookedModelBase, whole: Rollouts):
    frame = whole.frame
    assert list(frame.columns) == COLUMNS and len(whole) == 24
    asked = contrastive_requests(TRAIT)
    assert_frame_equal(frame[["side", "instruction", "question", "system"]][::2].reset_index(drop=True), asked)
    assert frame["sample"].tolist() == [0, 1] * 12
    row = frame.iloc[0]
    assert row["prompt"] == "You are a loud assistant. Shout.\n\nQuestion: Why?\nAnswer:"
    for row in frame.itertuples():
        ids = list(row.response_ids)
        assert row.answer == str(model.tokenizer.decode(ids, skip_special_tokens=True)).strip()
        assert "\n" not in model.tokenizer.decode(ids), "plain dialogue ends at the line"
        assert len(ids) == 6 if not row.finished else len(ids) < 6
    assert frame["finished"].any() and not frame["finished"].all()


def test_provenance(model: HookedModelBase, whole: Rollouts):
    made = whole.provenance
    assert (made.method, made.seed, made.weights) == ("rollouts", 0, model.provenance.weights)
    assert made.details == {"trait": "loud", "trait_hash": TRAIT.data_hash, "n_requests": 12}
    assert whole.activations("prompt_mean").provenance.pooling == "prompt_mean"


def test_seeds(model: HookedModelBase, whole: Rollouts):
    again, other = make(model), make(model, seed=1)
    check_equal(again, whole)
    same = (other.frame["answer"] == whole.frame["answer"]).mean()
    assert same < 0.5
    firsts, seconds = (whole.frame["answer"][k::2].to_numpy() for k in (0, 1))
    assert (firsts != seconds).mean() > 0.5, "samples of one prompt differ"


def test_answers_do_not_depend_on_the_batch(model: HookedModelBase, whole: Rollouts):
    one_batch = make(model, batch_size=128)
    assert_frame_equal(one_batch.frame, whole.frame)
    a, b = one_batch.activations(), whole.activations()
    torch.testing.assert_close(a.values, b.values, equal_nan=True, **TOLERANCE)
    fewer = make(model, n_questions=1)
    rows = whole.frame[whole.frame["question"] == "Why?"].reset_index(drop=True)
    assert_frame_equal(fewer.frame, rows)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooled_while_generating_equals_teacher_forcing(model: HookedModelBase, whole: Rollouts, pooling: Pooling):
    made = whole.activations(pooling)
    forced = extract_activations(
        model, list(whole.frame["prompt"]), list(whole.frame["response_ids"]), pooling=pooling, progress=False
    )
    assert made.hookpoints == forced.hookpoints and made.pooling == pooling
    torch.testing.assert_close(made.values, forced.values, equal_nan=True, **TOLERANCE)
    assert_frame_equal(made.samples, whole.frame)


def test_norms_are_of_response_tokens_in_whatever_order_poolings_come(model: HookedModelBase, whole: Rollouts):
    made = make(model, pool=("response_mean", "prompt_last"))
    norms, expected = made.activations().norms, whole.activations().norms
    assert norms is not None and expected is not None
    torch.testing.assert_close(norms, expected, equal_nan=True, **TOLERANCE)


def test_nothing_is_pooled_that_was_not_asked_for(model: HookedModelBase):
    made = make(model, n_questions=1, n_instructions=1, pool=())
    assert made.parts == () and made.hookpoints == ()
    with pytest.raises(AlignmentError) as caught:
        made.activations()
    assert str(caught.value) == "these rollouts hold no response_mean activations.\n  Recorded: nothing."
    with pytest.raises(AlignmentError, match=r"Recorded: prompt_last\.$"):
        make(model, n_questions=1, n_instructions=1, pool=("prompt_last",)).activations()


@pytest.mark.parametrize("in_folder", [False, True])
def test_answers_that_end_at_once(model: HookedModelBase, tmp_path: Path, in_folder: bool):
    """Whatever is drawn is a stop: no response token, hence no response mean, and no vector."""
    made = answer(
        model,
        contrastive_requests(TRAIT, n_questions=1),
        sampling=Sampling(4, stop_ids=tuple(range(D_VOCAB))),
        trait="loud",
        pool=POOLINGS,
        folder=tmp_path if in_folder else None,
        progress=False,
    )
    assert made.frame["answer"].tolist() == [""] * 4 and made.frame["finished"].all()
    assert [len(ids) for ids in made.frame["response_ids"]] == [0] * 4
    assert made.activations().values.isnan().all()
    assert made.activations("prompt_last").values.isfinite().all()
    with pytest.raises(EmptySelectionError, match="left 0 positive and 0 negative answers of 4"):
        persona_vector(made, filter="none")
    assert persona_vector(made, pooling="prompt_last", filter="none").vectors.isfinite().all()


def test_more_columns_do_not_touch_the_original(whole: Rollouts):
    scored = whole.with_columns(expression=[1.0] * 24)
    assert "expression" in scored.frame and "expression" not in whole.frame
    assert scored.activations().samples["expression"].tolist() == [1.0] * 24


def test_an_odd_last_batch(model: HookedModelBase):
    made = make(model, n_questions=1, batch_size=6)
    assert len(made) == 8 and [len(part.load("response_mean")[0]) for part in made.parts] == [6, 2]
    assert isinstance(made.frame, pd.DataFrame) and made.frame.index.tolist() == list(range(8))


def test_prompts_are_what_the_model_saw(model: HookedModelBase, whole: Rollouts):
    """The prompt column alone gives the last-prompt-token activations."""
    frame = whole.frame.head(3)
    forced = extract_activations(model, list(frame["prompt"]), [""] * 3, pooling="prompt_last", progress=False)
    torch.testing.assert_close(whole.activations("prompt_last").values[:3], forced.values, **TOLERANCE)
