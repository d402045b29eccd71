"""Scores that are kept beside the answers, and what could not be rated."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from persona_interp.data.traits import Trait, load_trait
from persona_interp.judges.protocol import Score
from persona_interp.studies.persona.kept import ask_again, rate_answers


class Recovering:
    """Cannot rate at first."""

    name, description, note = "api (m)", "", "request failed: HTTP 500: no"

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(float("nan") if self.note else 1.0, 1.0, self.note)] * len(answers)


def test_failures_of_a_killed_run_are_forgotten_when_its_answers_are_rated(tmp_path: Path) -> None:
    judge, answers = Recovering(), pd.DataFrame({"question": ["Why?"], "answer": ["So."]}, index=[5])
    rate_answers(load_trait("evil"), [judge], answers, tmp_path)
    kept = pd.read_parquet(tmp_path / "unscored.parquet")
    assert kept.values.tolist() == [["api (m)", "Why?", "So.", judge.note]]
    judge.note = ""
    assert rate_answers(load_trait("evil"), [judge], answers, tmp_path)["api (m)"].to_dict() == {5: 1.0}
    assert list(tmp_path.iterdir()) == []


class Partly:
    """Rates what it is asked for, but for the answers that its server fails on; keeps what it was asked."""

    name, description = "api (m)", ""

    def __init__(self, failing: str) -> None:
        self.failing, self.asked = failing, []

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.asked += answers
        failed = Score(float("nan"), float("nan"), "request failed: no reply in time")
        notes = {"no": Score(float("nan"), float("nan"), "refusal"), "odd": Score(float("nan"), float("nan"), "'?'")}
        return [failed if a in self.failing else notes.get(a, Score(60.0, 60.0)) for a in answers]


def test_only_failed_requests_of_rows_that_were_asked_are_repeated(tmp_path: Path) -> None:
    """The last row repeats the first one, and no judge was asked for it."""
    path, trait = tmp_path / "scores.parquet", load_trait("evil")
    texts = ["a", "b", "no", "odd", "a"]
    answers = pd.DataFrame({"question": ["Why?"] * 5, "answer": texts, "other": range(5)})

    def asked(table: pd.DataFrame) -> pd.DataFrame:
        return table.iloc[:4]

    answers.join(rate_answers(trait, [Partly("ab")], asked(answers), tmp_path)).to_parquet(path)
    judge, others = Partly("b"), Recovering()
    others.name = "another judge"
    ask_again(path, trait, [others, judge], asked)
    assert judge.asked == ["a", "b"]
    table = pd.read_parquet(path)
    assert table["api (m)"].fillna(-1).tolist() == [60.0, -1, -1, -1, -1]
    pd.testing.assert_frame_equal(table[["question", "answer", "other"]], answers)
    kept = pd.read_parquet(tmp_path / "unscored.parquet")
    assert set(zip(kept["answer"], kept["reason"], strict=True)) == {
        ("no", "refusal"),
        ("odd", "'?'"),
        ("b", "request failed: no reply in time"),
    }
