"""Scores that are kept beside the answers, and what could not be rated."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from persona_interp.data.traits import Trait, load_trait
from persona_interp.judges.protocol import Score
from persona_interp.main_job.kept import rate_answers


class Recovering:
    """Cannot rate at first."""

    name, description, note = "api (m)", "", "request failed: HTTP 500: no"

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
