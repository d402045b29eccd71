from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.data.traits import Exemplar
from persona_interp.errors import AlignmentError, TraitError
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.protocol import Judge
from tests.small import TRAIT, WordEncoder, rollouts

WORDS = ["rude", "kind", "soup", "rain", "news"]
KIND = replace(
    TRAIT,
    exemplars=tuple(
        Exemplar(f"about {topic}?", f"rude rude {topic}", f"kind {topic} kind") for topic in ("soup", "rain", "news")
    ),
)


@pytest.fixture
def judge() -> EmbeddingJudge:
    return EmbeddingJudge(WordEncoder(WORDS))


def test_answers_are_ordered_along_the_difference_of_the_poles(judge: EmbeddingJudge):
    answers = ["rude rude rude", "rude kind", "nothing", "kind kind kind"]
    values = [score.value for score in judge.rate(KIND, ["soup?"] * 4, answers)]
    assert values[0] > 80 and values[3] < 20
    assert values[0] > values[1] > values[3]
    assert values[1] == pytest.approx(50) and values[2] == pytest.approx(50)


def test_raw_score_is_the_projection_on_the_unit_difference(judge: EmbeddingJudge):
    positive, negative = (
        judge.encoder.encode([f"{e.question} {getattr(e, pole)}" for e in KIND.exemplars]).mean(0)
        for pole in ("pos", "neg")
    )
    axis = (positive - negative) / np.linalg.norm(positive - negative)
    expected = judge.encoder.encode(["soup? rude soup"])[0] @ axis
    assert judge.rate(KIND, ["soup?"], ["rude soup"])[0].raw == pytest.approx(float(expected), abs=1e-6)


def test_no_exemplar_is_judged_by_itself(judge: EmbeddingJudge):
    """Answers that share no word but the topic: each axis without an exemplar points away from it."""
    words = ["a", "b", "c", "d", "e", "f"]
    alone = replace(TRAIT, exemplars=tuple(Exemplar("x?", p, n) for p, n in (("a", "b"), ("c", "d"), ("e", "f"))))
    lonely = EmbeddingJudge(WordEncoder(words))
    with pytest.raises(TraitError, match="no higher than negative"):
        lonely.rate(alone, ["x?"], ["a"])
    assert judge.rate(KIND, ["x?"], ["rude"])[0].value > 50


def test_empty_answers_have_no_score(judge: EmbeddingJudge):
    scores = judge.rate(KIND, ["soup?"] * 3, ["", " \n", "rude"])
    assert [np.isnan(score.value) for score in scores] == [True, True, False]
    assert np.isnan(scores[0].raw)


def test_the_axis_is_made_once_a_trait(judge: EmbeddingJudge):
    encoder = judge.encoder
    assert isinstance(encoder, WordEncoder)
    judge.rate(KIND, ["soup?"], ["rude"])
    first = encoder.calls
    judge.rate(KIND, ["soup?"], ["rude"])
    assert encoder.calls == first + 1
    judge.rate(replace(KIND, exemplars=KIND.exemplars[::-1]), ["soup?"], ["rude"])
    assert encoder.calls > first + 2


def test_refusals(judge: EmbeddingJudge):
    with pytest.raises(TraitError, match=r"embedding \(words\) needs at least 3 exemplar answers a pole; loud has 2\."):
        judge.rate(replace(KIND, exemplars=KIND.exemplars[:2]), ["soup?"], ["rude"])
    with pytest.raises(AlignmentError, match="got 1 questions and 2 answers"):
        judge.rate(KIND, ["soup?"], ["rude", "kind"])


def test_scoring_rollouts(judge: EmbeddingJudge):
    frame = pd.DataFrame({"question": ["soup?", "rain?"], "answer": ["rude", "kind"]})
    scored = judge.score(rollouts(frame, torch.zeros(2, 1, 4)), KIND)
    assert scored.frame["expression"][0] > 50 > scored.frame["expression"][1]
    assert isinstance(judge, Judge) and judge.name == "embedding (words)" and "not truth" in judge.description
