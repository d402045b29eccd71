"""Spots: places in answers right before an emoji, and ends of sentences that no emoji follows."""

from collections.abc import Sequence
from dataclasses import dataclass

from pandas import DataFrame

from persona_interp.measurements.emoji import EMOJI, has_emoji
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import render_prompt
from persona_interp.studies.emoji.texts import INVITED, SENTENCE_END
from persona_interp.tables import rows_of


@dataclass(frozen=True, eq=False)
class Spot:
    """A prompt with an answer up to some place, as the model sees it, and whether an emoji came next.

    Args:
        question: that was asked.
    """

    question: str
    text: str
    emoji: bool


def spots_of(model: HookedModel, answers: DataFrame, invitation: str, *, most: int) -> list[Spot]:
    """The first spot of every answer: before its first emoji, or after its first sentence where it has no emoji.

    As many of either kind, at most `most`, in the order of the answers, one question after the other.

    Args:
        answers: with `question`, `answer`, under the questions with the invitation behind them.
    """
    found: dict[bool, list[Spot]] = {True: [], False: []}
    for row in rows_of(answers):
        before = _before(row["answer"] or "")
        if before is None:
            continue
        prompt = render_prompt(model.tokenizer, row["question"] + invitation)
        gap = " " if model.tokenizer.chat_template is None and before else ""
        emoji = has_emoji(row["answer"])
        found[emoji].append(Spot(row["question"], f"{prompt}{gap}{before}", emoji))
    n = min(most, len(found[True]), len(found[False]))
    return found[True][:n] + found[False][:n]


def invited(answers: DataFrame) -> DataFrame:
    """The answers to questions with three emoji."""
    return answers[answers["condition"] == INVITED]


def _before(answer: str) -> str | None:
    """The answer up to its first emoji, or to the end of its first sentence that something follows."""
    if not answer:
        return None
    if (first := EMOJI.search(answer)) is not None:
        return answer[: first.start()].rstrip()
    ends = [k for k in range(1, len(answer)) if answer[k].isspace() and SENTENCE_END.search(answer[:k])]
    return answer[: ends[0]] if ends else None


def questions_of(spots: Sequence[Spot]) -> list[str]:
    """The question of each spot: what its interval is over."""
    return [spot.question for spot in spots]
