"""The hard pairs: enough of them, apart from what judges are made of, and as long with the trait as without it."""

from dataclasses import replace

import numpy as np
import pytest

from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import list_traits, load_trait
from tests.small import TRAIT

NAMES = [name for name in list_traits() if not name.startswith("low_")]


@pytest.mark.parametrize("name", NAMES)
def test_pairs_of_every_trait_are_many_and_apart_from_its_own_texts(name: str):
    trait, pairs = load_trait(name), hard_pairs(load_trait(name))
    assert len(pairs) >= 40
    questions = [pair.question for pair in pairs]
    own = {*trait.questions, *trait.eval_questions, *(exemplar.question for exemplar in trait.exemplars)}
    assert len(set(questions)) == len(questions) and not own & set(questions)
    answers = [*(pair.pos for pair in pairs), *(pair.neg for pair in pairs)]
    assert len(set(answers)) == len(answers)
    assert not {*(e.pos for e in trait.exemplars), *(e.neg for e in trait.exemplars)} & set(answers)


@pytest.mark.parametrize("name", NAMES)
def test_neither_pole_is_longer(name: str):
    lengths = np.array([[len(pair.pos.split()), len(pair.neg.split())] for pair in hard_pairs(load_trait(name))])
    assert abs(np.log(lengths[:, 0] / lengths[:, 1]).mean()) < 0.05
    assert (np.abs(np.log(lengths[:, 0] / lengths[:, 1])) < np.log(1.35)).mean() > 0.9


def test_the_low_pole_has_them_the_other_way_round_and_other_traits_none():
    high, low = hard_pairs(load_trait("openness")), hard_pairs(load_trait("low_openness"))
    assert [(pair.question, pair.pos, pair.neg) for pair in low] == [(p.question, p.neg, p.pos) for p in high]
    assert hard_pairs(TRAIT) == () and len(hard_pairs(replace(TRAIT, name="evil"))) >= 40
