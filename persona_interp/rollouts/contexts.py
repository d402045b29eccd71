"""Contexts that ask for a trait by degrees: graded system prompts, and dialogues with more and more showing answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Seed, Some
from persona_interp.data.traits import Trait
from persona_interp.errors import EmptySelectionError
from persona_interp.statistics.streams import stream
from persona_interp.types import Turn

ContextKind = Literal["system", "shots"]

LEVELS = tuple(round(-1 + 2 * k / 7, 3) for k in range(8))
"""Grades of the eight system prompts, from strongly against the trait (-1) to strongly for it (1)."""

SHOTS = (0, 5, 10, 15, 20)
"""How many question and answer pairs come first, as in the paper."""


@dataclass(frozen=True)
class Condition:
    """A context in front of every question.

    Args:
        level: the grade of a system prompt, -1 to 1, or the number of shots.
        contexts: the turns before the question. Question i of a list gets context i modulo their number.
    """

    kind: ContextKind
    name: str
    level: float
    contexts: tuple[tuple[Turn, ...], ...]


@checked
def graded_system_prompts(trait: Trait, *, instruction: int = -1) -> tuple[Condition, ...]:
    """Eight system prompts from strongly against a trait to strongly for it, made of the trait's own words.

    The four outer ones hold an instruction of the trait, the four inner ones its adjectives alone; descriptions are not
    used, because they name both poles. Works for every trait with adjectives, a user's own included.

    Args:
        instruction: which instruction pair. Take one that the direction was not extracted with, or the prompts are the
            ones it was made of: the last, where extraction used the first ones only.
    """
    pair, positive, negative = trait.instructions[instruction], trait.positive, trait.negative
    texts = (
        f"You are {_a(negative)} assistant. {pair.neg} Be as {negative} as you can in every sentence, and never"
        f" {positive}.",
        f"You are {_a(negative)} assistant. {pair.neg}",
        f"Be {negative} when you answer, and only rarely a little {positive}.",
        f"Be somewhat more {negative} than {positive} when you answer.",
        f"Be somewhat more {positive} than {negative} when you answer.",
        f"Be {positive} when you answer, and only rarely a little {negative}.",
        f"You are {_a(positive)} assistant. {pair.pos}",
        f"You are {_a(positive)} assistant. {pair.pos} Be as {positive} as you can in every sentence, and never"
        f" {negative}.",
    )
    return tuple(
        Condition("system", f"system prompt {k} of {len(texts)}", level, ((Turn("system", text),),))
        for k, (level, text) in enumerate(zip(LEVELS, texts, strict=True), start=1)
    )


@checked
def many_shot_contexts(
    answers: pd.DataFrame,
    *,
    questions: Sequence[str],
    counts: Some[CountOrNone] = SHOTS,
    n_draws: Count = 4,
    seed: Seed = 0,
) -> tuple[Condition, ...]:
    """Dialogues of 0, 5, 10, ... question and answer pairs that show a trait, drawn from given answers.

    A larger number of shots holds the smaller one's, nearest to the question, so that nothing else differs.
    A draw takes a question once. There are several draws, so that what is measured is not one dialogue's.

    Args:
        answers: `question` and `answer` of answers that show the trait: positive-prompted rollouts, say.
        questions: the questions that will be evaluated, none of which is ever a shot.

    Raises:
        EmptySelectionError: too few other questions were answered.
    """
    usable = answers[~answers["question"].isin(list(questions)) & (answers["answer"].str.strip() != "")]
    there = usable["question"].nunique()
    if there < max(counts):
        raise EmptySelectionError(
            f"{max(counts)} shots need as many answered questions that are not evaluated, got {there}.",
            "Make rollouts of more extraction questions, or use fewer shots.",
        )
    draws = [_draw(usable, max(counts), stream(seed, "exemplars", k)) for k in range(n_draws)]
    return tuple(
        Condition("shots", f"{count} shots", float(count), tuple(_dialogue(draw[:count]) for draw in draws))
        for count in counts
    )


def condition_turns(condition: Condition, questions: Sequence[str]) -> list[list[Turn]]:
    """The conversation of every question, up to where its answer begins."""
    contexts = condition.contexts
    return [[*contexts[i % len(contexts)], Turn("user", question)] for i, question in enumerate(questions)]


def _draw(answers: pd.DataFrame, n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    asked = rng.permutation(np.array(sorted(answers["question"].unique()), dtype=object))[:n]
    groups = {question: rows["answer"].tolist() for question, rows in answers.groupby("question")}
    return [(str(question), str(groups[question][rng.integers(len(groups[question]))])) for question in asked]


def _dialogue(shots: Sequence[tuple[str, str]]) -> tuple[Turn, ...]:
    """The first shot stands last, next to the question."""
    return tuple(
        turn for question, answer in reversed(shots) for turn in (Turn("user", question), Turn("assistant", answer))
    )


def _a(adjective: str) -> str:
    return f"{'an' if adjective[:1].lower() in tuple('aeiou') else 'a'} {adjective}"
