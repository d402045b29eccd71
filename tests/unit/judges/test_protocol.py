from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.data.traits import Trait
from persona_interp.errors import AlignmentError, TraitError
from persona_interp.judges.protocol import (
    Calibration,
    Judge,
    Score,
    calibrate,
    judged_parts,
    require_exemplars,
    score_rollouts,
)
from tests.small import TRAIT, rollouts

finite = st.floats(-1e3, 1e3)


class LengthJudge:
    name = "length"
    description = "counts letters"

    def __init__(self) -> None:
        self.traits: list[str] = []

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.traits.append(trait.name)
        return [Score(float(len(answer)), 0.0) for answer in answers]


def test_exemplar_means_score_80_and_20():
    calibration = calibrate([2.0, 4.0], [-1.0, 0.0], source="x")
    assert calibration(3.0) == pytest.approx(80) and calibration(-0.5) == pytest.approx(20)
    assert calibration(1.25) == pytest.approx(50)


@given(finite, st.floats(1e-3, 1e3), finite, finite)
def test_scores_rise_with_the_raw_value_and_stay_in_range(centre: float, scale: float, a: float, b: float):
    low, high = (Calibration(centre, scale)(raw) for raw in sorted((a, b)))
    assert 0 <= low <= high <= 100


@pytest.mark.parametrize("raw", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_has_no_score(raw: float):
    value = Calibration(0.0, 1.0)(raw)
    assert value != value


@pytest.mark.parametrize("positive", [[1.0], [0.5], [float("nan")]])
def test_a_judge_that_does_not_see_the_trait_is_refused(positive: list[float]):
    with pytest.raises(TraitError) as caught:
        calibrate(positive, [1.0], source="this judge for loud")
    assert str(caught.value) == (
        f"cannot calibrate this judge for loud: it rates positive exemplars ({positive[0]:.3f}) no higher than negative"
        " ones (1.000).\n  This judge does not see this trait. Use another one, or better exemplars."
    )


def test_exemplars_are_required():
    require_exemplars(TRAIT, "x", at_least=3)
    with pytest.raises(TraitError) as caught:
        require_exemplars(replace(TRAIT, exemplars=TRAIT.exemplars[:1]), "this judge")
    assert str(caught.value) == (
        "this judge needs at least 2 exemplar answers a pole; loud has 1.\n"
        '  Add "exemplars": [{"question": ..., "pos": ..., "neg": ...}, ...] to the trait file.'
    )


def test_questions_and_answers_must_be_as_many():
    judged_parts(["a"], ["b"])
    with pytest.raises(AlignmentError) as caught:
        judged_parts(["a"], [])
    assert str(caught.value) == "got 1 questions and 0 answers.\n  Give one each."


def test_scoring_rollouts_adds_a_column():
    frame = pd.DataFrame({"question": ["a", "b"], "answer": ["xx", ""]})
    judge = LengthJudge()
    assert isinstance(judge, Judge)
    made = rollouts(frame, torch.zeros(2, 1, 4))
    scored = score_rollouts(judge, made, TRAIT)
    assert scored.frame["expression"].tolist() == [2.0, 0.0] and "expression" not in made.frame
    score_rollouts(judge, replace(made, trait="evil"))
    assert judge.traits == ["loud", "evil"]
    with pytest.raises(TraitError, match="no trait is called 'loud'"):
        score_rollouts(judge, made)
