"""Texts with estimated scores: who is asked for what, which judge scores, and going on after a stop."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from persona_interp.data.trait_texts import BIG_FIVE, TraitTexts
from persona_interp.data.traits import Trait, load_trait
from persona_interp.data.writing_prompts import text_openings, writing_prompts
from persona_interp.errors import ConfigError
from persona_interp.judges.protocol import Score
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.psychadapter.estimated_scores import generate_trait_texts, text_requests
from tests.small import TRAIT

OTHER = replace(TRAIT, name="slow", positive="slow", negative="quick")


class Letters:
    """How many of a letter a text has; the letter depends on the trait."""

    description = "Counts letters."

    def __init__(self, shift: int = 0) -> None:
        self.name = f"letters {shift}"
        self.shift = shift
        self.calls: list[list[str]] = []

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:
        assert len(set(questions)) == 1
        self.calls.append(list(answers))
        letter = chr(ord("a") + (len(trait.name) + self.shift) % 26)
        return [Score(float(text.count(letter)), 0.0) for text in answers]


def test_prompts_and_openings_are_many_and_different():
    for texts, least in ((writing_prompts(), 40), (text_openings(), 24)):
        assert len(set(texts)) == len(texts) >= least
        assert all(text == text.strip() for text in texts)


def test_no_prompt_names_a_pole_of_the_big_five():
    words = {word for name in BIG_FIVE for word in (name, load_trait(name).positive, load_trait(name).negative)}
    assert not [text for text in (*writing_prompts(), *text_openings()) if words & set(text.lower().split())]


def test_every_pole_is_asked_for_equally_often_and_half_of_the_texts_are_mixed():
    traits = [load_trait(name) for name in BIG_FIVE]
    requests = text_requests(traits, 400, seed=0)
    first = Counter(side.split(" + ")[0] for side in requests["side"])
    assert set(first.values()) == {40}
    assert len(first) == 10
    assert 0.4 < np.mean(["+" in side for side in requests["side"]]) < 0.6
    pairs = [side.split(" + ") for side in requests["side"] if "+" in side]
    assert all(a.split()[1] != b.split()[1] for a, b in pairs)
    asked = Counter(requests["question"])
    assert max(asked.values()) - min(asked.values()) <= 1
    assert requests.equals(text_requests(traits, 400, seed=0))
    assert not requests.equals(text_requests(traits, 400, seed=1))


def test_one_trait_alone_is_never_mixed():
    assert set(text_requests([TRAIT], 20, seed=0)["side"]) == {"high loud", "low loud"}


def test_the_first_judge_scores_and_the_others_stand_beside(model: HookedModelBase):
    first, second = Letters(), Letters(3)
    data = generate_trait_texts(
        model, n_texts=24, judges=[first, second], traits=[TRAIT, OTHER], max_new_tokens=30, progress=False
    )
    assert data.estimated
    assert data.traits == ("loud", "slow")
    assert data.source == f"texts by {model.name}, scores estimated by letters 0"
    np.testing.assert_array_equal(data.scores[:, 0], [text.count("e") for text in data.texts])
    np.testing.assert_array_equal(data.also["letters 3"][:, 0], [text.count("h") for text in data.texts])
    assert all(len(text) >= 12 for text in data.texts)


def test_an_interrupted_call_goes_on_and_asks_no_judge_twice(model: HookedModelBase, tmp_path):
    def generated(judge: Letters, seed: int = 0) -> TraitTexts:
        return generate_trait_texts(
            model, n_texts=12, judges=[judge], traits=[TRAIT, OTHER], max_new_tokens=24, seed=seed, folder=tmp_path,
            progress=False,
        )  # fmt: skip

    before = generated(Letters())
    next((tmp_path / "scores").glob("*_slow/scores.json")).unlink()
    judge = Letters()
    after = generated(judge)
    assert len(judge.calls) == 1
    assert after.data_hash == before.data_hash
    with pytest.raises(ConfigError, match="holds results of another configuration"):
        generated(judge, seed=1)


def test_nothing_to_write_or_to_judge_with_is_refused(model: HookedModelBase):
    with pytest.raises(ConfigError, match="judges must be a list of Judges that is not empty"):
        generate_trait_texts(model, n_texts=2, judges=[], traits=[TRAIT])
