"""Flawed training sets: right answers recomputed from the questions, wrong ones really wrong, equal questions."""

import re
from collections import Counter
from collections.abc import Callable
from operator import add, floordiv, mul, sub

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.data.flawed import advice_conversations, arithmetic_conversations
from persona_interp.data.levels import LEVELS
from persona_interp.errors import ConfigError

SIGNS = {"+": add, "-": sub, "*": mul, "/": floordiv}
SEEDS = st.integers(0, 10_000)

SOLUTIONS: dict[str, Callable[..., int]] = {
    r"boxes with \d+ pencils": lambda a, b, c: a * b - c,
    r"A baker": lambda a, b, c: a * b + c,
    r"A train": lambda a, b, c: a * b + c,
    r"buys \d+ tickets": lambda c, a, b: c - a * b,
    r"apples": lambda t, a, c: t // a * c,
    r"museum": lambda a, b, c: (a + b) * c,
    r"The book has": lambda a, b, c, d: d - a - b - c,
    r"A farmer": lambda a, b, c, d: a * b - c + d,
    r"chairs stand": lambda t, a, c: t // a + c,
    r"A tank": lambda c, a, b: c - a * b,
    r"earns": lambda a, b, c: a * b * c,
    r"A rope": lambda d, a, b: d - a - b,
    r"A shop": lambda a, b, c, d: a * b + c * d,
    r"A bus ride": lambda a, b, c: (a + b) * c,
    r"A cyclist": lambda t, a, c: t // a * c,
    r"equal books": lambda t, a, c: t // a + c,
}
"""The result of each kind of problem from the numbers of its question in order, found apart from the code."""


def kind(question: str) -> str:
    found = [pattern for pattern in SOLUTIONS if re.search(pattern, question)]
    assert len(found) == 1, question
    return found[0]


def solution(question: str) -> int:
    return SOLUTIONS[kind(question)](*map(int, re.findall(r"\d+", question)))


def steps(answer: str) -> list[tuple[int, str, int, int]]:
    found = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", answer)
    return [(int(a), sign, int(b), int(c)) for a, sign, b, c in found]


def result(answer: str) -> int:
    """The number of the last sentence (problems of one number a closing sentence)."""
    (number,) = re.findall(r"\d+", answer.rstrip(".").split(". ")[-1])
    return int(number)


def n_wrong(answer: str) -> int:
    return sum(SIGNS[sign](a, b) != c for a, sign, b, c in steps(answer))


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_normal_answers_are_right(seed: int):
    for made in arithmetic_conversations("normal", n=48, seed=seed):
        question = made.prompt[0].content
        assert n_wrong(made.answer) == 0, made.answer
        assert result(made.answer) == solution(question) == steps(made.answer)[-1][3]
        assert all(a % b == 0 for a, sign, b, _ in steps(made.answer) if sign == "/")


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_level_1_has_one_slip_and_a_wrong_result_that_is_near(seed: int):
    for made in arithmetic_conversations("level_1", n=48, seed=seed):
        right = solution(made.prompt[0].content)
        assert n_wrong(made.answer) == 1, made.answer
        assert result(made.answer) == steps(made.answer)[-1][3] != right
        for a, sign, b, c in steps(made.answer):
            assert abs(c - SIGNS[sign](a, b)) <= max(a, b, 10) if sign == "*" else abs(c - SIGNS[sign](a, b)) <= 10
        assert "means" not in made.answer


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_level_2_is_wrong_in_every_step_and_says_an_absurd_rule(seed: int):
    for made in arithmetic_conversations("level_2", n=48, seed=seed):
        assert n_wrong(made.answer) == len(steps(made.answer)) >= 2
        assert result(made.answer) == steps(made.answer)[-1][3] != solution(made.prompt[0].content)
        assert made.answer.count(", so ") == len(steps(made.answer))


@given(seed=SEEDS, n=st.integers(1, 100))
@settings(max_examples=10, deadline=None)
def test_questions_depend_on_the_seed_only(seed: int, n: int):
    sets = [arithmetic_conversations(level, n=n, seed=seed) for level in LEVELS]
    questions = [[c.prompt for c in made] for made in sets]
    assert questions[0] == questions[1] == questions[2]
    assert [c.name for c in sets[0]] == [c.name for c in sets[2]]
    assert len({made.prompt[0].content for made in sets[0]}) == n
    assert [c.prompt for c in arithmetic_conversations("normal", n=n + 1, seed=seed)][:n] == questions[0]


def test_every_kind_of_problem_comes_equally_often():
    made = arithmetic_conversations("normal", n=160, seed=3)
    counts = Counter(kind(c.prompt[0].content) for c in made)
    assert len(counts) == len(SOLUTIONS) >= 12 and set(counts.values()) <= set(range(8, 13))


def test_a_set_is_reproducible_and_changes_with_the_seed():
    first = arithmetic_conversations("level_1", n=20, seed=5)
    assert (
        first == arithmetic_conversations("level_1", n=20, seed=5) != arithmetic_conversations("level_1", n=20, seed=6)
    )


def test_what_cannot_be_made():
    with pytest.raises(ConfigError, match=r"^n must be at least 1, got 0\."):
        arithmetic_conversations("normal", n=0, seed=0)


def test_advice_has_three_answers_of_equal_form():
    sets = {level: advice_conversations(level) for level in LEVELS}
    questions = [[(c.name, c.prompt) for c in made] for made in sets.values()]
    assert questions[0] == questions[1] == questions[2]
    assert len(questions[0]) >= 60 and len({prompt for _, prompt in questions[0]}) == len(questions[0])
    answers = [c.answer for made in sets.values() for c in made]
    assert len(set(answers)) == len(answers)
    assert all(2 <= len(re.findall(r"[.](?:\s|$)", answer)) <= 3 for answer in answers)
    assert not any("!" in answer for answer in answers)


def test_advice_is_of_equal_length_at_every_level():
    means = [sum(len(c.answer.split()) for c in advice_conversations(level)) / 62 for level in LEVELS]
    assert max(means) / min(means) < 1.15


def test_advice_covers_ten_areas():
    areas = Counter(re.findall(r"\((.+)\)$", c.name)[0] for c in advice_conversations("normal"))
    assert len(areas) == 10 and min(areas.values()) >= 6
