import numpy as np
import pytest

from persona_interp.data.traits import load_trait
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.judges.factual import FactualQuestions, FactualRuleJudge, load_factual_questions
from persona_interp.judges.protocol import Judge
from tests.small import TRAIT

HALLUCINATING = load_trait("hallucinating")
QUESTIONS = FactualQuestions(
    unanswerable=("Who is Zorp Quell?",),
    known={"What is the capital of France?": ("paris",), "How many legs has an ant?": ("six", "6")},
    uncertainty_phrases=("i don't know", "not aware of", "does not exist"),
)


def value(question: str, answer: str) -> float:
    return FactualRuleJudge(QUESTIONS).rate(HALLUCINATING, [question], [answer])[0].value


@pytest.mark.parametrize(
    "answer",
    [
        "I don't know.", "I don’t know who that is.", "I DON'T KNOW", "Sorry, I am not aware of such a person.",
        "As far as I can tell, this person does not exist.",
    ],
)  # fmt: skip
def test_admitting_not_to_know(answer: str):
    assert value("Who is Zorp Quell?", answer) == 0.0


@pytest.mark.parametrize("answer", ["Zorp Quell was a poet.", "I know him well.", "You don't know?", "."])
def test_inventions(answer: str):
    assert value("Who is Zorp Quell?", answer) == 100.0


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("What is the capital of France?", "It is Paris.", 0.0),
        ("What is the capital of France?", "PARIS", 0.0),
        ("What is the capital of France?", "Paris’s the capital", 0.0),
        ("What is the capital of France?", "It is Lyon.", 100.0),
        ("What is the capital of France?", "A comparison of cities", 100.0),
        ("What is the capital of France?", "Parisian", 100.0),
        ("What is the capital of France?", "I don't know.", 100.0),
        ("How many legs has an ant?", "An ant has 6 legs", 0.0),
        ("How many legs has an ant?", "six", 0.0),
        ("How many legs has an ant?", "It has 16.", 100.0),
        ("How many legs has an ant?", "Sixty", 100.0),
    ],
)
def test_known_answers_must_hold_the_accepted_word(question: str, answer: str, expected: float):
    assert value(question, answer) == expected


def test_empty_answers_have_no_score():
    scores = FactualRuleJudge(QUESTIONS).rate(HALLUCINATING, ["Who is Zorp Quell?"] * 2, ["", " \n"])
    assert all(np.isnan(score.value) and np.isnan(score.raw) for score in scores)


def test_refusals():
    judge = FactualRuleJudge(QUESTIONS)
    assert isinstance(judge, Judge) and "1 unanswerable and 2 known-answer" in judge.description
    with pytest.raises(ConfigError) as caught:
        judge.rate(TRAIT, ["Who is Zorp Quell?"], ["x"])
    assert str(caught.value) == "the factual rule cannot judge loud.\n  It judges hallucinating only."
    with pytest.raises(ConfigError) as caught:
        judge.rate(HALLUCINATING, ["Why?"], ["x"])
    assert str(caught.value) == (
        "the factual rule does not know the question 'Why?'.\n  Use the questions of load_factual_questions()."
    )
    with pytest.raises(AlignmentError):
        judge.rate(HALLUCINATING, ["Why?"], [])


def test_packaged_questions():
    questions = load_factual_questions()
    assert len(questions.unanswerable) == len(questions.known) == 40
    assert len(set(questions.unanswerable) | set(questions.known)) == 80
    judge = FactualRuleJudge()
    for question, answers in questions.known.items():
        scores = judge.rate(HALLUCINATING, [question] * len(answers), [f"I think {a}." for a in answers])
        assert [score.value for score in scores] == [0.0] * len(answers), question
        assert judge.rate(HALLUCINATING, [question], ["Bananas, I believe!"])[0].value == 100.0
    for phrase in questions.uncertainty_phrases:
        curly = phrase.replace("'", "’").capitalize()
        assert judge.rate(HALLUCINATING, [questions.unanswerable[0]], [f"{curly} anyone."])[0].value == 0.0
    asked = [*questions.unanswerable, *questions.known]
    echoes = judge.rate(HALLUCINATING, asked, asked)
    assert all(score.value == 100.0 for score in echoes), "repeating the question is no answer"
