import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.judges import coherence
from persona_interp.judges.coherence import SIGNS, CoherenceJudge, CoherenceReference, distinct_2
from persona_interp.models.hooked import HookedModelBase
from tests.small import WordEncoder

TOPICS = {
    "Where does the river go?": "the river runs past the old mill and down to the sea where it is calm",
    "Why does bread rise?": "bread rises as yeast eats sugar and fills dough with gas so it grows",
    "Who paints the fence?": "my uncle paints a fence each spring with white paint from our shed",
    "When does the train leave?": "that train leaves at noon from platform two unless there is snow",
}
NEAR = {"river": "mill sea", "bread": "yeast dough", "fence": "paint paints", "train": "platform leaves"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0), (" \n", 0.0), ("one", 1.0), ("one two", 1.0), ("one two three", 1.0),
        ("a a a a a", 0.25), ("a b a b a", 0.5), ("A b a B a", 0.5), ("x y z x y", 0.75),
    ],
)  # fmt: skip
def test_distinct_bigrams(text: str, expected: float):
    assert distinct_2(text) == expected


@given(st.lists(st.sampled_from("abcd"), max_size=20))
def test_distinct_bigrams_are_a_share(words: list[str]):
    assert (0 < distinct_2(" ".join(words)) <= 1) == bool(words)


def fluent(_: Any, systems: list[None], questions: list[str], answers: list[str], **__: Any) -> np.ndarray:
    """A stub language model: word pairs of the good answers are likely, all others are not."""
    assert systems == [None] and len(questions) == len(answers)
    known = {pair for text in TOPICS.values() for pair in zip(text.split(), text.split()[1:], strict=False)}
    loop = {("river", "runs"), ("runs", "river")}
    rows = []
    for answer in answers:
        words = answer.split()
        values = [-1.0 if pair in known | loop else -9.0 for pair in zip(words, words[1:], strict=False)]
        rows.append([np.mean(values) - 0.01 * len(words)] if values else [np.nan])
    return np.array(rows)


class TopicEncoder(WordEncoder):
    """One axis a topic, fed by the topic's word and the words near it."""

    def __init__(self) -> None:
        super().__init__(list(NEAR))

    def encode(self, texts: Any, *, batch_size: int = 64) -> np.ndarray:
        swapped = [
            " ".join(next((t for t, near in NEAR.items() if w in near.split()), w) for w in x.lower().split())
            for x in texts
        ]
        return super().encode(swapped, batch_size=batch_size)


@pytest.fixture
def judge(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch) -> CoherenceJudge:
    monkeypatch.setattr(coherence, "mean_logprobs", fluent)
    return CoherenceJudge(model, TopicEncoder(), progress=False)


def test_each_failure_is_caught_by_its_own_sign(judge: CoherenceJudge):
    questions, good = list(TOPICS), list(TOPICS.values())
    reference = judge.reference(judge.signs(questions, good))
    shuffled = good[0].split()
    random.Random(0).shuffle(shuffled)
    cases = {
        "distinct_2": (questions[0], " ".join(["river runs"] * 8)),
        "logprob": (questions[0], " ".join(shuffled)),
        "cosine": (questions[0], good[1]),
    }
    signs = judge.signs([q for q, _ in cases.values()], [a for _, a in cases.values()])
    z = (signs[list(SIGNS)].to_numpy() - np.array(reference.mean)) / np.array(reference.deviation)
    for row, (sign, worst) in enumerate(zip(cases, judge.score(signs, reference), strict=True)):
        assert SIGNS[int(z[row].argmin())] == sign
        assert worst == z[row].min() < reference.gate
    assert (judge.score(judge.signs(questions, good), reference) > -3).all()


def test_signs_of_answers_in_the_order_given(judge: CoherenceJudge):
    questions, good = list(TOPICS), list(TOPICS.values())
    signs = judge.signs(questions, good)
    assert tuple(signs.columns) == SIGNS and len(signs) == 4
    pd.testing.assert_frame_equal(judge.signs(questions[::-1], good[::-1]), signs[::-1].reset_index(drop=True))
    assert (judge.signs(questions, good[1:] + good[:1])["cosine"] < signs["cosine"] - 0.3).all()


def hand_made() -> tuple[pd.DataFrame, CoherenceReference]:
    reference = CoherenceReference(mean=(-2.0, 0.9, 0.5), deviation=(1.0, 0.1, 0.25), gate=-1.0)
    signs = pd.DataFrame(
        [(-2.0, 0.9, 0.5), (-1.0, 0.9, 0.5), (-5.0, 1.0, 0.5), (-2.0, 0.5, 0.5), (-1.0, 1.0, 0.0), (np.nan, 0.0, 0.5)],
        columns=list(SIGNS),
    )
    return signs, reference


def test_score_is_the_worst_z():
    signs, reference = hand_made()
    expected = [0.0, 0.0, -3.0, -4.0, -2.0, -np.inf]
    np.testing.assert_allclose(CoherenceJudge.score(signs, reference), expected, atol=1e-9)
    turned = signs[["cosine", "logprob", "distinct_2"]]
    np.testing.assert_allclose(CoherenceJudge.score(turned, reference), expected, atol=1e-9)


def test_nine_of_ten_reference_answers_pass_the_gate():
    rng = np.random.default_rng(0)
    signs = pd.DataFrame(rng.normal(size=(200, 3)), columns=list(SIGNS))
    reference = CoherenceJudge.reference(signs)
    assert (CoherenceJudge.score(signs, reference) >= reference.gate).mean() == pytest.approx(0.9, abs=0.006)
    np.testing.assert_allclose(reference.mean, signs.mean())
    np.testing.assert_allclose(reference.deviation, signs.std())
    holed = pd.concat([signs, pd.DataFrame({"logprob": [np.nan], "distinct_2": [0.0], "cosine": [0.1]})])
    assert CoherenceJudge.reference(holed) == reference, "empty answers do not shift the reference"


def test_a_constant_sign_does_not_divide_by_zero():
    signs = pd.DataFrame({"logprob": [-1.0, -2.0, -3.0], "distinct_2": [1.0] * 3, "cosine": [0.1, 0.2, 0.3]})
    reference = CoherenceJudge.reference(signs)
    assert reference.deviation[1] == 1e-3 and np.isfinite(CoherenceJudge.score(signs, reference)).all()


def test_too_few_whole_answers():
    signs, _ = hand_made()
    with pytest.raises(EmptySelectionError) as caught:
        CoherenceJudge.reference(signs.iloc[[0, 1, 5]])
    assert str(caught.value) == (
        "a coherence reference needs at least 3 whole answers; 2 of 3 are.\n  Generate more unsteered answers."
    )


def test_empty_answers_by_a_real_model(model: HookedModelBase):
    judge = CoherenceJudge(model, TopicEncoder(), progress=False)
    signs = judge.signs(["Why?", "Why?"], ["", "It is so."])
    assert np.isnan(signs["logprob"][0]) and signs["distinct_2"][0] == 0.0 and signs["logprob"][1] < 0
    assert judge.score(signs, CoherenceReference((-2.0, 0.9, 0.5), (1.0, 1.0, 1.0), -1.0))[0] == -np.inf
    assert model.name in judge.description and "words" in judge.description
    with pytest.raises(AlignmentError):
        judge.signs(["Why?"], [])
