"""When a judge is shown to work: on texts whose trait is known, and on a model's own answers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import Trait, load_trait
from persona_interp.judges.corruption import LOOP_WORDS, corrupted
from persona_interp.judges.protocol import Score
from persona_interp.judges.validity import (
    EXEMPLARS,
    HARD_PAIRS,
    LEAST_AUC,
    OWN_ANSWERS,
    Texts,
    Validity,
    headline_auc,
    scores_on_texts,
    sees_texts,
    sees_weakly,
    validity_on_answers,
    validity_on_texts,
    why_not_shown,
)
from tests.small import TRAIT

EVIL = load_trait("evil")
POSITIVE = {pair.pos for pair in (*hard_pairs(EVIL), *EVIL.exemplars)}


class Planted:
    """Knows the poles of the first answers to hard pairs; `share` of them, in order, and all exemplars."""

    name, description = "planted", "planted"

    def __init__(self, share: float = 1.0) -> None:
        self.known = {pair.pos for pair in hard_pairs(EVIL)[: int(share * len(hard_pairs(EVIL)))]}
        self.known |= {exemplar.pos for exemplar in EVIL.exemplars}

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        values = [90.0 if answer in self.known else 10.0 for answer in answers]
        return [Score(np.nan, np.nan) if question.startswith("Our") else Score(v, v) for question, v in
                zip(questions, values, strict=True)]  # fmt: skip


def one(texts: Texts, auc: float, low: float, high: float = 1.0) -> Validity:
    return Validity("evil", "j", texts, auc, low, high, 84, 42)


def test_auc_on_texts_is_that_of_what_was_planted():
    found = {v.texts: v for v in validity_on_texts("evil", "planted", scores_on_texts(Planted(), EVIL))}
    assert found[HARD_PAIRS].auc == found[EXEMPLARS].auc == 1.0
    unrated = sum(pair.question.startswith("Our") for pair in hard_pairs(EVIL))
    assert unrated > 0 and found[HARD_PAIRS].n_clusters == len(hard_pairs(EVIL)) - unrated
    (half, exemplars) = validity_on_texts("evil", "planted", scores_on_texts(Planted(0.5), EVIL))
    assert 0.7 < half.auc < 0.8 and half.low < half.auc < half.high and exemplars.auc == 1.0


def test_a_trait_without_pairs_has_its_exemplars_alone():
    plain = replace(TRAIT, name="unheard")
    assert [v.texts for v in validity_on_texts("unheard", "planted", scores_on_texts(Planted(), plain))] == [EXEMPLARS]


def test_own_answers_of_both_sides_are_compared_question_by_question():
    positive, questions = np.repeat([True, False], 12), [f"{k % 6}?" for k in range(24)]
    scores = np.where(positive, 60.0, 40.0) + np.arange(24) % 6
    found = validity_on_answers("j", "evil", scores, positive, questions)
    assert (found.texts, found.auc, found.n, found.n_clusters) == (OWN_ANSWERS, 1.0, 24, 6)
    one_sided = validity_on_answers("j", "evil", scores, np.ones(24, dtype=bool), questions)
    assert np.isnan(one_sided.auc) and why_not_shown([one(HARD_PAIRS, 0.9, 0.8), one_sided]) is not None


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([one(HARD_PAIRS, 0.71, 0.6), one(OWN_ANSWERS, 0.6, 0.51)], None),
        ([one(HARD_PAIRS, 0.69, 0.6), one(EXEMPLARS, 1.0, 0.9), one(OWN_ANSWERS, 0.9, 0.8)], "0.69 on hard pairs"),
        ([one(HARD_PAIRS, 0.99, 0.9), one(OWN_ANSWERS, 0.6, 0.49)], "which may be 0.5"),
        ([one(HARD_PAIRS, 0.99, 0.9)], "not tried on the model's own answers"),
        ([one(EXEMPLARS, 0.8, 0.6), one(OWN_ANSWERS, 0.6, 0.51)], None),
        ([one(OWN_ANSWERS, 0.8, 0.6)], None),
        ([one(OWN_ANSWERS, 0.65, 0.6)], "0.65 on own answers"),
        ([one(HARD_PAIRS, np.nan, np.nan), one(OWN_ANSWERS, 0.9, 0.8)], "AUC nan on hard pairs"),
    ],
)
def test_the_rule(found: list[Validity], why: str | None):
    said = why_not_shown(found)
    assert said is None if why is None else said is not None and why in said


def test_weak_views_and_the_number_that_stands_beside():
    weak = [one(HARD_PAIRS, 0.65, 0.52), one(EXEMPLARS, 1.0, 0.9), one(OWN_ANSWERS, 0.7, 0.6)]
    assert sees_weakly(weak) and not sees_texts(weak) and headline_auc(weak) == 0.65 < LEAST_AUC
    assert not sees_weakly([one(HARD_PAIRS, 0.55, 0.45), one(OWN_ANSWERS, 0.7, 0.6)])
    assert headline_auc(weak[1:]) == 1.0 and headline_auc(weak[2:]) == 0.7 and np.isnan(headline_auc([]))


def test_corrupted_answers_are_corrupted_and_nothing_else():
    questions, answers = ["a?", "a?", "b?"], ["one two three four five", "six seven eight nine", "ten eleven twelve"]
    made = corrupted(questions, answers, seed=1)
    assert [sorted(text.split()) for text in made["shuffled"]] == [sorted(text.split()) for text in answers]
    assert made["looped"][0] == "one two three one two" and LOOP_WORDS == 3
    assert made["off-topic"] == [answers[2], answers[2], answers[0]]
    assert "off-topic" not in corrupted(["a?"], ["one two"]) and corrupted(["a?"], [""])["looped"] == [""]
