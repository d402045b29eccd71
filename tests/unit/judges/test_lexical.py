import numpy as np
import pytest

from persona_interp.data.traits import list_traits, load_trait
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.judges.lexical import LEXICAL_SIGNS, LexicalJudge, LexicalSign
from persona_interp.judges.protocol import Judge
from tests.small import TRAIT

OPTIMISTIC, IMPOLITE = load_trait("optimistic"), load_trait("impolite")
KIND, UNKIND, PLAIN = "Wonderful, I love it!", "Awful, I hate it!", "The train leaves at nine."


def values(trait, *answers: str) -> list[float]:
    return [score.value for score in LexicalJudge().rate(trait, ["Why?"] * len(answers), list(answers))]


def test_kind_words_are_optimistic_and_unkind_ones_impolite():
    kind, plain, unkind = values(OPTIMISTIC, KIND, PLAIN, UNKIND)
    assert kind > 75 > plain == 50 > 25 > unkind
    mirrored = values(IMPOLITE, KIND, PLAIN, UNKIND)
    np.testing.assert_allclose(mirrored, [100 - kind, 50, 100 - unkind])


def test_raw_is_the_compound_whatever_the_sign():
    kind = LexicalJudge().rate(IMPOLITE, ["Why?"], [KIND])[0]
    assert kind.value == pytest.approx(50 - 50 * kind.raw)
    assert 0.5 < kind.raw < 1


@pytest.mark.parametrize("answer", ["", "  \n"])
def test_an_empty_answer_has_no_score(answer: str):
    assert np.isnan(values(OPTIMISTIC, answer)).all()


def test_a_question_does_not_enter():
    judge = LexicalJudge()
    assert judge.rate(OPTIMISTIC, [KIND], [PLAIN]) == judge.rate(OPTIMISTIC, [UNKIND], [PLAIN])


def test_a_trait_without_a_sign_is_refused():
    judge = LexicalJudge()
    assert judge.unable(TRAIT) is not None
    with pytest.raises(ConfigError) as error:
        judge.rate(TRAIT, ["Why?"], ["Yes."])
    assert str(error.value).startswith(
        "the lexical judge has no signed reading of loud.\n  It rates optimistic, impolite, "
    )


def test_unequal_numbers_are_refused():
    with pytest.raises(AlignmentError, match="got 2 questions and 1 answers"):
        LexicalJudge().rate(OPTIMISTIC, ["Why?", "How?"], ["Yes."])


def test_a_sign_can_be_declared():
    judge = LexicalJudge({"loud": LexicalSign(-1, "shouting is rude")})
    assert judge.unable(TRAIT) is None
    assert judge.unable(OPTIMISTIC) is not None
    assert judge.rate(TRAIT, ["Why?"], [UNKIND])[0].value > 75
    assert "− for loud" in judge.description


def test_every_declared_trait_exists_and_mirrors_have_the_opposite_sign():
    assert set(LEXICAL_SIGNS) <= set(list_traits())
    for name, rule in LEXICAL_SIGNS.items():
        opposite = LEXICAL_SIGNS.get(f"low_{name}")
        assert opposite is None or opposite.sign == -rule.sign


@pytest.mark.parametrize("name", LEXICAL_SIGNS)
def test_no_declared_sign_is_contradicted_by_the_exemplars(name: str):
    """Not that it separates them (they were written with balanced valence): that its mean does not point away."""
    trait = load_trait(name)
    positive = values(trait, *(e.pos for e in trait.exemplars))
    negative = values(trait, *(e.neg for e in trait.exemplars))
    wins = np.mean([(p > n) + (p == n) / 2 for p in positive for n in negative])
    assert wins >= 0.5


def test_it_is_a_judge_and_the_signs_cannot_be_changed():
    judge = LexicalJudge()
    assert isinstance(judge, Judge)
    with pytest.raises(TypeError):
        judge.signs["evil"] = LexicalSign(-1, "")  # type: ignore
    assert "no meaning and no irony" in judge.description
