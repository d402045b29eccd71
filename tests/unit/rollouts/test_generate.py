from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.persona import persona_vector
from persona_interp.errors import AlignmentError, ArtefactError, ConfigError, EmptySelectionError
from persona_interp.interventions.residual import Add
from persona_interp.io import atomic_write_bytes
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.generate import (
    Rollouts,
    answer,
    contrastive_requests,
    generate_rollouts,
    plain_requests,
)
from persona_interp.types import POOLINGS, Pooling
from tests.contract.tiny import D_VOCAB, TOLERANCE
from tests.small import TRAIT, direction

COLUMNS = ["side", "instruction", "question", "system", "prompt", "sample", "answer", "response_ids", "finished"]


def make(model: HookedModelBase, folder: Path | None = None, **changes: Any) -> Rollouts:
    """24 rows in batches of 4."""
    plain = {"n_samples": 2, "max_new_tokens": 6, "batch_size": 4, "progress": False, "folder": folder}
    return generate_rollouts(model, TRAIT, **{**plain, **changes})


@pytest.fixture(scope="module")
def whole(model: HookedModelBase) -> Rollouts:
    """An uninterrupted run in memory."""
    return make(model)


class Kill:
    """Counts the calls of a function and is a keyboard interrupt at one of them."""

    def __init__(self, function: Any, at: int | None = None) -> None:
        self.function, self.at, self.calls = function, at, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.function(*args, **kwargs)


def check_equal(one: Rollouts, other: Rollouts) -> None:
    assert_frame_equal(one.frame, other.frame)
    for pooling in POOLINGS:
        a, b = one.activations(pooling), other.activations(pooling)
        assert torch.equal(a.values.nan_to_num(-9), b.values.nan_to_num(-9))
        assert a.norms is not None and b.norms is not None
        assert torch.equal(a.norms.nan_to_num(-9), b.norms.nan_to_num(-9))


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


def test_a_folder_changes_nothing(model: HookedModelBase, whole: Rollouts, tmp_path: Path):
    kept = make(model, tmp_path / "kept")
    check_equal(kept, whole)
    assert all(type(ids) is list for ids in kept.frame["response_ids"])
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == sorted(
        ["config.json", *(f"part-{k:05d}.{end}" for k in range(6) for end in ("parquet", "safetensors", "json"))]
    )


def test_an_interrupted_run_goes_on_where_it_stopped(
    model: HookedModelBase, whole: Rollouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    killed = Kill(model.generate, at=2)
    monkeypatch.setattr(model, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        make(model, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.json", "part-00000.json", "part-00000.parquet", "part-00000.safetensors",
    ]  # fmt: skip
    monkeypatch.undo()
    counted = Kill(model.generate)
    monkeypatch.setattr(model, "generate", counted)
    check_equal(make(model, tmp_path), whole)
    assert counted.calls == 5, "the first of six batches is not generated again"
    counted.calls = 0
    check_equal(make(model, tmp_path), whole)
    assert counted.calls == 0


@pytest.mark.parametrize("at", [1, 2])
def test_a_kill_between_activations_and_table(
    model: HookedModelBase, whole: Rollouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    """The table is what makes a batch count: before it is written, the batch is made again."""
    monkeypatch.setattr("persona_interp.rollouts.parts.atomic_write_bytes", Kill(atomic_write_bytes, at=at))
    with pytest.raises(KeyboardInterrupt):
        make(model, tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == at - 1 and len(list(tmp_path.glob("*.safetensors"))) == at
    monkeypatch.undo()
    check_equal(make(model, tmp_path), whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 8}, "batch_size: there 4, now 8"),
        ({"pool": ("response_mean",)}, f"pool: there {list(POOLINGS)!r}, now ['response_mean']"),
        ({"n_questions": 2}, "requests: there "),
        ({"seed": 3}, "sampling: there {'seed': 0}, now {'seed': 3}"),
        ({"temperature": 0.5}, "sampling: there "),
    ],
)
def test_a_folder_of_another_configuration_is_refused(
    model: HookedModelBase, tmp_path: Path, changes: dict[str, Any], said: str
):
    make(model, tmp_path, n_questions=1, n_instructions=1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ConfigError) as caught:
        make(model, tmp_path, **{"n_questions": 1, "n_instructions": 1, **changes})
    lines = str(caught.value).split("\n  ")
    assert lines[0] == f"{tmp_path} holds results of another configuration."
    assert lines[1].startswith(said)
    assert lines[-1] == "Use another folder, or delete this one to start again."
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_of_other_instructions_is_refused(model: HookedModelBase, tmp_path: Path):
    make(model, tmp_path, n_questions=1)
    other = replace(TRAIT, instructions=TRAIT.instructions[::-1])
    with pytest.raises(ConfigError, match="requests"):
        generate_rollouts(
            model, other, n_questions=1, n_samples=2, max_new_tokens=6, batch_size=4, folder=tmp_path, progress=False
        )


def test_a_truncated_table_is_named(model: HookedModelBase, tmp_path: Path):
    make(model, tmp_path, n_questions=1, n_instructions=1)
    table = tmp_path / "part-00000.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(ArtefactError) as caught:
        make(model, tmp_path, n_questions=1, n_instructions=1)
    assert str(caught.value).startswith(f"{table} is not a whole Parquet file: ")
    assert str(caught.value).endswith("\n  Delete it and run the same command again.")
    table.unlink()
    check_equal(make(model, tmp_path, n_questions=1, n_instructions=1), make(model, n_questions=1, n_instructions=1))


def test_altered_activations_are_refused(model: HookedModelBase, tmp_path: Path):
    made = make(model, tmp_path, n_questions=1, n_instructions=1)
    part = tmp_path / "part-00000.safetensors"
    part.write_bytes(part.read_bytes()[:-4])
    with pytest.raises(ArtefactError, match="does not match its manifest"):
        made.activations()


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


@pytest.mark.parametrize("part", ["weights", "files", "backend", "dtype", "chat_template"])
def test_answers_of_a_model_that_computes_otherwise_are_refused(
    model: HookedModelBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
):
    make(model, tmp_path, n_questions=1, n_instructions=1)
    monkeypatch.setattr(model, "provenance", replace(model.provenance, **{part: "another"}))
    with pytest.raises(ConfigError, match=rf"{part}: there .*, now 'another'"):
        make(model, tmp_path, n_questions=1, n_instructions=1)


def test_answers_under_edits_that_nothing_describes_are_not_kept(model: HookedModelBase, tmp_path: Path):
    edits = Add(direction(torch.ones(2, model.d_model), norms=torch.ones(2)), 0, 1.0).edits
    options: dict[str, Any] = {"sampling": Sampling(2), "edits": edits, "progress": False}
    with pytest.raises(ConfigError, match="without edits_hash"):
        answer(model, plain_requests(["Why?"]), folder=tmp_path / "kept", **options)
    assert not (tmp_path / "kept").exists()
    assert len(answer(model, plain_requests(["Why?"]), **options).frame) == 1
