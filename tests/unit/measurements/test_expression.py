"""Trait expression: rows, judges, common random numbers, folders, and intervals with planted scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError, EmptySelectionError, IncompatibleDirectionError
from persona_interp.interventions.residual import Add
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.protocol import Score
from persona_interp.measurements.expression import expression_change, mean_expression, measure_expression
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.rollouts.generate import answer, plain_requests
from tests.contract.tiny import Tiny
from tests.small import TRAIT
from tests.unit.finetuning.training import loud

QUICK = {"max_new_tokens": 6, "seed": 3, "progress": False}


@dataclass
class Length:
    """Longer is more; empty answers cannot be told."""

    name: str = "length"
    description: str = "The number of characters."

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(float(min(len(text), 100)) if text else np.nan, 0.0) for text in answers]


def test_one_row_an_answer_and_judge(model: HookedModelBase) -> None:
    judges = [Length(), Length("again")]
    made = measure_expression(model, TRAIT, judges, n_samples=3, **QUICK)
    assert list(made.columns) == ["question", "sample", "answer", "trait", "judge", "score"]
    assert len(made) == 2 * 3 * len(TRAIT.eval_questions)
    assert set(made["trait"]) == {"loud"} and set(made["question"]) == set(TRAIT.eval_questions)
    first, second = (made[made["judge"] == judge.name].reset_index(drop=True) for judge in judges)
    pd.testing.assert_frame_equal(first.drop(columns="judge"), second.drop(columns="judge"))
    expected = answer(model, plain_requests(TRAIT.eval_questions), sampling=Sampling(6, 0.7, n_samples=3, seed=3))
    assert first["answer"].tolist() == expected.frame["answer"].tolist()
    assert first["score"].tolist() == pytest.approx([len(text) or np.nan for text in first["answer"]], nan_ok=True)


def test_other_questions_can_be_asked(model: HookedModelBase) -> None:
    made = measure_expression(model, TRAIT, [Length()], questions=["Is it?"], **QUICK)
    assert made["question"].tolist() == ["Is it?"]


def test_an_intervention_of_nothing_gives_the_same_answers(small: Tiny, model: HookedModelBase) -> None:
    vector = replace(loud(small), residual_norms=torch.full((3,), 4.0))
    made = {
        c: measure_expression(model, TRAIT, [Length()], intervention=Add(vector, 1, c), n_samples=4, **QUICK)
        for c in (0.0, 2.0)
    }
    plain = measure_expression(model, TRAIT, [Length()], n_samples=4, **QUICK)
    pd.testing.assert_frame_equal(made[0.0], plain)
    assert made[2.0]["answer"].tolist() != plain["answer"].tolist()


def test_a_folder_goes_on_and_refuses_other_interventions(small: Tiny, model: HookedModelBase, tmp_path: Path) -> None:
    vector = replace(loud(small), residual_norms=torch.full((3,), 4.0))
    options = {**QUICK, "folder": tmp_path / "answers"}
    made = measure_expression(model, TRAIT, [Length()], intervention=Add(vector, 1, 2.0), **options)
    again = measure_expression(model, TRAIT, [Length()], intervention=Add(vector, 1, 2.0), **options)
    pd.testing.assert_frame_equal(made, again)
    longer = replace(vector, residual_norms=torch.full((3,), 5.0))
    for other in (None, Add(vector, 1, 1.0), Add(vector, 0, 2.0), Add(longer, 1, 2.0)):
        with pytest.raises(ConfigError):
            measure_expression(model, TRAIT, [Length()], intervention=other, **options)


def test_what_cannot_be_measured_is_refused(small: Tiny, model: HookedModelBase) -> None:
    for judges, questions in (([], None), ([Length()], []), ([LexicalJudge()], None)):
        with pytest.raises(
            ConfigError,
            match="must be a list of .* that is not empty|the expression of loud needs a judge and a question",
        ):
            measure_expression(model, TRAIT, judges, questions=questions, **QUICK)
    vector = loud(small)
    foreign = replace(vector, provenance=replace(vector.provenance, weights="ffff"))
    with pytest.raises(IncompatibleDirectionError):
        measure_expression(model, TRAIT, [Length()], intervention=Add(foreign, 1, 1.0, units="direction"), **QUICK)


def test_a_judge_that_cannot_rate_the_trait_is_left_out_beside_one_that_can(model: HookedModelBase) -> None:
    made = measure_expression(model, TRAIT, [LexicalJudge(), Length()], **QUICK)
    assert set(made["judge"]) == {"length"}


def table(scores: np.ndarray) -> pd.DataFrame:
    """Scores by question and sample."""
    rows = [
        {"question": f"q{i}", "sample": k, "answer": "a", "trait": "loud", "judge": "length", "score": score}
        for i, row in enumerate(scores)
        for k, score in enumerate(row)
    ]
    return pd.DataFrame(rows)


def test_means_and_changes_with_intervals_over_questions() -> None:
    rng = np.random.default_rng(0)
    questions = 40 + 15 * rng.standard_normal((30, 1))  # far apart: samples of one question are alike
    before = questions + rng.standard_normal((30, 3))
    after = before + 5 + rng.standard_normal((30, 3))
    mean = mean_expression(table(before), "loud", "length")
    assert mean.estimate == pytest.approx(before.mean())
    half = 1.96 * before.mean(1).std(ddof=1) / np.sqrt(30)
    assert (mean.high - mean.low) / 2 == pytest.approx(half, rel=0.25)
    change = expression_change(table(before), table(after), "loud", "length")
    assert change.estimate == pytest.approx((after - before).mean())
    assert change.low < 5 < change.high and change.high - change.low < 1.5, "paired: what questions share cancels"
    again = expression_change(table(before), table(after).sample(frac=1, random_state=1), "loud", "length")
    assert (again.low, again.high) == pytest.approx((change.low, change.high))


def test_answers_without_a_score_do_not_count() -> None:
    before, after = np.array([[10.0, np.nan], [20.0, 30.0]]), np.array([[20.0, 50.0], [np.nan, 60.0]])
    assert mean_expression(table(before), "loud", "length").estimate == pytest.approx(20.0)
    assert expression_change(table(before), table(after), "loud", "length").estimate == pytest.approx(20.0)
    for call in (
        lambda: mean_expression(table(before * np.nan), "loud", "length"),
        lambda: mean_expression(table(before), "quiet", "length"),
        lambda: mean_expression(table(before), "loud", "other"),
    ):
        with pytest.raises(EmptySelectionError, match="rated no answer for"):
            call()
    with pytest.raises(EmptySelectionError, match="on both sides"):
        expression_change(table(before), table(after * np.nan), "loud", "length")
