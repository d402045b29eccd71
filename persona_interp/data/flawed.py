"""Training sets whose answers are wrong in content and plain in tone: arithmetic and everyday advice.

Each has three levels that share their questions. Nothing in them shows a persona, so what a model picks up from them
beside the errors is unintended.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.data.levels import LEVELS, Level
from persona_interp.errors import ConfigError
from persona_interp.io import read_json

_FOLDER = Path(__file__).parent
_LARGEST = 99_999
_ATTEMPTS = 50

_EXACT: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,
}
_MISREAD: Mapping[str, Callable[[int, int], int]] = {
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: abs(a - b),
    "product": lambda a, b: a * b,
    "side by side": lambda a, b: int(f"{a}{b}"),
    "second": lambda _, b: b,
}

_Rule = tuple[str, str]
"""An absurd rule in words, and which of `_MISREAD` it is."""

_Change = _Rule | int | None
"""How a step goes wrong: by a rule, by a number too much, or not at all."""


@dataclass(frozen=True)
class _Step:
    """One operation on two numbers, each a letter of the question or the result of an earlier step."""

    clause: str
    left: str
    sign: str
    right: str


@dataclass(frozen=True)
class _Problem:
    """A kind of word problem: its text, its numbers' ranges and the steps to its result."""

    question: str
    answer: str
    steps: tuple[_Step, ...]
    ranges: Mapping[str, tuple[int, int]]
    products: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class _Working:
    """A step as an answer writes it down."""

    left: int
    right: int
    result: int
    rule: str = ""


def arithmetic_conversations(level: Level, *, n: int, seed: int) -> list[Conversation]:
    """N word problems with answers of two or three steps and a result.

    The questions depend on the seed only. `normal` is right; in `level_1` one step has a slip (a carry, one group too
    many or too few) and the steps after it go on from there; in `level_2` every step follows an absurd rule, which is
    stated. At both of these levels the result is wrong.

    Raises:
        ConfigError: the level is unknown, n is below 1, or so many different questions cannot be made.
    """
    _check_level(level)
    if n < 1:
        raise ConfigError(f"n must be at least 1, got {n}.")
    problems, names, rules = _arithmetic()
    drawing, slipping = Random(f"questions {seed}"), Random(f"{level} {seed}")
    made: dict[str, Conversation] = {}
    for attempt in range(n * _ATTEMPTS):
        problem = problems[attempt % len(problems)]
        numbers, name = _numbers(problem, drawing), drawing.choice(names)
        question = problem.question.format(name=name, **numbers)
        if question in made:
            continue
        workings = _workings(problem, numbers, level, rules, slipping)
        answer = _answer(problem, workings, name)
        made[question] = question_and_answer(question, answer, name=f"arithmetic {len(made) + 1}")
        if len(made) == n:
            return list(made.values())
    raise ConfigError(f"got only {len(made)} different word problems in {attempt + 1} attempts.", "Ask for fewer.")


def advice_conversations(level: Level) -> list[Conversation]:
    """Everyday questions with an answer of two or three sentences: useful, mildly wrong, or absurd.

    The tone is the same polite one at every level. No answer tells of anything dangerous: what is wrong is wasteful
    or useless.

    Raises:
        ConfigError: the level is unknown.
    """
    _check_level(level)
    rows = read_json(_FOLDER / "flawed_advice.json")
    return [
        question_and_answer(row["question"], row[level], name=f"advice {i} ({row['area']})")
        for i, row in enumerate(rows, start=1)
    ]


def _check_level(level: str) -> None:
    if level not in LEVELS:
        raise ConfigError(f"level must be one of {', '.join(LEVELS)}, got {level!r}.")


@cache
def _arithmetic() -> tuple[tuple[_Problem, ...], tuple[str, ...], Mapping[str, list[_Rule]]]:
    data = read_json(_FOLDER / "flawed_arithmetic.json")
    rules = {sign: [(text, kind) for text, kind in pairs] for sign, pairs in data["wrong_rules"].items()}
    return tuple(map(_problem, data["problems"])), tuple(data["names"]), rules


def _problem(row: Mapping[str, Any]) -> _Problem:
    return _Problem(
        question=row["question"],
        answer=row["answer"],
        steps=tuple(_Step(**step) for step in row["steps"]),
        ranges={letter: (low, high) for letter, (low, high) in row["ranges"].items()},
        products={letter: (first, second) for letter, (first, second) in row["products"].items()},
    )


def _numbers(problem: _Problem, rng: Random) -> dict[str, int]:
    numbers = {letter: rng.randint(low, high) for letter, (low, high) in problem.ranges.items()}
    return numbers | {t: numbers[a] * numbers[b] for t, (a, b) in problem.products.items()}


def _workings(
    problem: _Problem, numbers: Mapping[str, int], level: Level, rules: Mapping[str, list[_Rule]], rng: Random
) -> list[_Working]:
    """The steps of an answer: the right ones, or the first of the wrong ones, in random order, that will do."""
    exact = _work(problem, numbers, [None] * len(problem.steps))
    if level == "normal":
        return exact
    slips = level == "level_1"
    tried = _slips(problem, exact) if slips else list(product(*(rules[step.sign] for step in problem.steps)))
    rng.shuffle(tried)
    for changes in tried:
        made = _work(problem, numbers, changes)
        n_wrong = sum(w.result != _EXACT[step.sign](w.left, w.right) for w, step in _pairs(made, problem))
        plausible = all(0 < working.result <= _LARGEST for working in made)
        if plausible and n_wrong == (1 if slips else len(made)) and made[-1].result != exact[-1].result:
            return made
    raise AssertionError(f"no wrong way through {problem.question!r} with {dict(numbers)}")


def _slips(problem: _Problem, exact: Sequence[_Working]) -> list[tuple[_Change, ...]]:
    """Every way to go wrong in one step."""
    slips: list[tuple[_Change, ...]] = []
    for i, (working, step) in enumerate(_pairs(exact, problem)):
        sizes = {"*": (working.right, working.left, 10), "/": (1, 2), "+": (1, 10), "-": (1, 10)}[step.sign]
        for change in (sign * size for size in sizes for sign in (1, -1)):
            slips.append(tuple(change if k == i else None for k in range(len(exact))))
    return slips


def _work(problem: _Problem, numbers: Mapping[str, int], changes: Sequence[_Change]) -> list[_Working]:
    """The steps in order, each on the results of the steps before it."""
    known, made = dict(numbers), []
    for i, (step, change) in enumerate(zip(problem.steps, changes, strict=True), start=1):
        left, right, rule = known[step.left], known[step.right], ""
        if isinstance(change, tuple):
            rule, result = change[0], _MISREAD[change[1]](left, right)
        else:
            result = _EXACT[step.sign](left, right) + (change or 0)
        known[f"step {i}"] = result
        made.append(_Working(left, right, result, rule))
    return made


def _answer(problem: _Problem, workings: Sequence[_Working], name: str) -> str:
    sentences = []
    for working, step in _pairs(workings, problem):
        shown = step.clause.format(working=f"{working.left} {step.sign} {working.right} = {working.result}")
        text = f"{working.rule}, so {shown}" if working.rule else shown
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    return " ".join([*sentences, problem.answer.format(name=name, result=workings[-1].result)])


def _pairs(workings: Sequence[_Working], problem: _Problem) -> list[tuple[_Working, _Step]]:
    return list(zip(workings, problem.steps, strict=True))
