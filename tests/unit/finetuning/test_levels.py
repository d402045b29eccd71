"""Training sets of three levels: which answer becomes which, the same questions everywhere, files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import persona_interp.finetuning.levels as levels_module
from persona_interp.data.conversations import read_conversations
from persona_interp.data.levels import LEVELS
from persona_interp.data.traits import Trait, load_trait, training_questions
from persona_interp.errors import ArtefactError, ConfigError, EmptySelectionError
from persona_interp.finetuning.levels import LevelData, generate_levels
from persona_interp.io import sha256_bytes
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.protocol import Score
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.generate import answer, plain_requests
from tests.small import TRAIT, StubModel, WordEncoder

QUESTIONS = ["Why?", "Who is it?", "What now?", "How come?"]


@dataclass
class Table:
    """Scores by a table, or at random but always the same."""

    known: Mapping[str, float] = field(default_factory=dict)
    name: str = "table"
    description: str = "What a table says of the answer."

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(self.known.get(text, self._drawn(text)), 0.0) for text in answers]

    @staticmethod
    def _drawn(text: str) -> float:
        return int(sha256_bytes(text.encode())[:6], 16) % 1001 / 10 if text else np.nan


def chosen(rows: list[tuple[str, str, str, float]], monkeypatch: pytest.MonkeyPatch, **options: Any) -> LevelData:
    """The levels of given candidates: question, kind, answer, score."""
    frame = pd.DataFrame(rows, columns=["question", "side", "answer", "score"])
    monkeypatch.setattr(levels_module, "answer", lambda *_, **__: SimpleNamespace(frame=frame.drop(columns="score")))
    monkeypatch.setattr(levels_module, "render_prompt", lambda *_, **__: "")
    judge = Table(dict(zip(frame["answer"], frame["score"], strict=True)))
    questions = list(dict.fromkeys(frame["question"]))
    model: Any = StubModel()
    return generate_levels(model, TRAIT, judge, questions=questions, **options)


PLANTED = [
    ("Why?", "plain", "a", 10.0),
    ("Why?", "mild", "b", 30.0),
    ("Why?", "mild", "c", 56.0),
    ("Why?", "strong", "d", 90.0),
    ("Why?", "strong", "e", 80.0),
]


def test_level_two_is_the_strongest_and_level_one_the_one_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    made = chosen(PLANTED, monkeypatch)
    assert dict(zip(made.table["level"], made.table["answer"], strict=True)) == {
        "normal": "a", "level_1": "c", "level_2": "d",
    }  # fmt: skip
    assert made.table["asked"].tolist() == ["plain", "mild", "strong"]
    assert (made.trait, made.judge, made.n_asked) == ("loud", "table", 1)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("Who?", "plain", "f", 10.0), ("Who?", "mild", "g", 12.0), ("Who?", "strong", "h", 19.9)], "no contrast"),
        ([("Who?", "plain", "f", 40.0), ("Who?", "mild", "g", 20.0), ("Who?", "strong", "h", 90.0)], "none in between"),
        ([("Who?", "plain", "f", 10.0), ("Who?", "mild", "h", 90.0), ("Who?", "strong", "h", 90.0)], "twice the same"),
        ([("Who?", "mild", "g", 50.0), ("Who?", "strong", "h", 90.0)], "no plain answer"),
        ([("Who?", "plain", "f", 10.0), ("Who?", "strong", "h", 90.0)], "one candidate"),
        ([("Who?", "plain", "", np.nan), ("Who?", "mild", "g", 50.0), ("Who?", "strong", "h", 90.0)], "empty"),
    ],
)
def test_a_question_that_does_not_contrast_is_left_out_at_every_level(
    rows: list, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chosen([*PLANTED, *rows], monkeypatch)
    assert made.n_asked == 2 and set(made.table["question"]) == {"Why?"}, why
    with pytest.raises(EmptySelectionError, match="no question gave answers 10 points apart in loud, of 1 asked"):
        chosen(rows, monkeypatch)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 100), min_size=5, max_size=9), min_size=1, max_size=5), st.integers(0, 60))
def test_scores_rise_with_the_level(scores: list[list[int]], gap: int) -> None:
    kinds = ["plain", "mild", "mild", "strong", "strong"]
    rows = [
        (f"q{i}", kinds[k % 5], f"{i} {k} {score}", float(score))
        for i, row in enumerate(scores)
        for k, score in enumerate(row)
    ]
    with pytest.MonkeyPatch.context() as patch:
        try:
            made = chosen(rows, patch, min_gap=float(gap))
        except EmptySelectionError:
            return
    wide = made.table.pivot(index="question", columns="level", values="expression")
    assert wide.notna().all().all() and set(wide.columns) == set(LEVELS)
    assert (wide["normal"] <= wide["level_1"]).all() and (wide["level_1"] <= wide["level_2"]).all()
    assert (wide["level_2"] - wide["normal"] >= gap).all()


def test_levels_are_the_models_own_answers_without_a_system_prompt(model: HookedModelBase, tmp_path: Path) -> None:
    options = {"questions": QUESTIONS, "max_new_tokens": 8, "seed": 2, "min_gap": 5.0, "progress": False}
    made = generate_levels(model, TRAIT, Table(), folder=tmp_path / "answers", **options)
    sets = {level: made.conversations(level) for level in LEVELS}
    questions = [[c.turns[0].content for c in rows] for rows in sets.values()]
    assert questions[0] == questions[1] == questions[2] and set(questions[0]) <= set(QUESTIONS)
    assert all([turn.role for turn in c.turns] == ["user", "assistant"] for rows in sets.values() for c in rows)
    assert sets["level_1"][0].name == "loud level_1, sample 1"
    plain = answer(model, plain_requests(QUESTIONS), sampling=Sampling(8, 0.7, seed=2), progress=False).frame
    own = dict(zip(plain["question"], plain["answer"], strict=True))
    assert [c.answer for c in sets["normal"]] == [own[q] for q in questions[0]]
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "answers").rglob("part-*")}
    again = generate_levels(model, TRAIT, Table(), folder=tmp_path / "answers", **options)
    assert parts and {path: path.stat().st_mtime_ns for path in parts} == parts
    pd.testing.assert_frame_equal(again.table, made.table)


def test_incoherent_candidates_are_left_out(model: HookedModelBase) -> None:
    options = {"questions": QUESTIONS, "max_new_tokens": 8, "seed": 2, "min_gap": 0.0, "progress": False}
    free = generate_levels(model, TRAIT, Table(), n_samples=3, **options)
    coherence = CoherenceJudge(model, WordEncoder(["a", "the", "is"]), progress=False)
    kept = generate_levels(model, TRAIT, Table(), n_samples=3, coherence=coherence, **options)
    assert kept.table["answer"].tolist() != free.table["answer"].tolist()


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=4))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]) -> None:
    folder = tmp_path_factory.mktemp("levels")
    table = pd.DataFrame(
        [
            {"question": row[0], "level": level, "answer": row[k], "asked": "plain", "expression": 12.5 * k}
            for row in rows
            for k, level in enumerate(LEVELS, start=1)
        ]
    )
    made = LevelData("loud", table, "table", 9)
    made.write(folder)
    read = LevelData.read(folder)
    assert (read.trait, read.judge, read.n_asked) == ("loud", "table", 9)
    pd.testing.assert_frame_equal(read.table, table)


def test_the_files_are_training_data_with_their_scores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = chosen(PLANTED, monkeypatch)
    made.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "level_1.jsonl", "level_2.jsonl", "levels.json", "normal.jsonl", "scores.csv",
    ]  # fmt: skip
    for level in LEVELS:
        read = read_conversations(tmp_path / f"{level}.jsonl")
        assert [c.turns for c in read.conversations] == [c.turns for c in made.conversations(level)]
    record = json.loads((tmp_path / "levels.json").read_text())
    assert record["mean expression"] == {"normal": 10.0, "level_1": 56.0, "level_2": 90.0}
    assert (record["n_asked"], record["n_kept"]) == (1, 1)
    with pytest.raises(ArtefactError, match="does not exist"):
        LevelData.read(tmp_path / "nowhere")


def test_questions_of_the_evaluation_are_never_trained_on() -> None:
    trait = load_trait("impolite")
    questions = training_questions(trait)
    assert len(questions) == len(set(questions)) > 100
    assert questions[: len(trait.questions)] == [q for q in trait.questions if q not in trait.eval_questions]
    assert not set(questions) & {q for name in ("impolite", "evil") for q in load_trait(name).eval_questions}
    assert "Why?" in training_questions(TRAIT) and "How?" not in training_questions(TRAIT)


def test_no_question_is_refused(model: HookedModelBase) -> None:
    with pytest.raises(ConfigError, match="questions must be a list of texts that is not empty"):
        generate_levels(model, TRAIT, Table(), questions=[])
