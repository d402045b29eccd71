"""Spots: places in answers right before an emoji, and ends of sentences of other answers that no emoji follows."""

from collections.abc import Sequence
from dataclasses import dataclass

from pandas import DataFrame

from persona_interp.measurements.emoji import EMOJI
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import render_prompt
from persona_interp.studies.emoji.texts import INVITATION, INVITED, SENTENCE_END
from persona_interp.tables import rows_of

_MOST = 3
"""Spots of a kind that a question has at most."""


@dataclass(frozen=True, eq=False)
class Spot:
    """A prompt with an answer up to some place, as the model sees it.

    Args:
        question: that was asked.
        emoji: whether an emoji came next.
    """

    question: str
    text: str
    emoji: bool


def spots_of(model: HookedModel, answers: DataFrame) -> list[Spot]:
    """The spots of answers to questions with three emoji: of each answer the place before its first emoji.

    Of an answer without an emoji it is the end of its first sentence that something follows. At most three of a kind a
    question, in the order of the answers.

    Args:
        answers: with `condition`, `question` and `answer`.
    """
    found: list[Spot] = []
    for row in rows_of(answers[answers["condition"] == INVITED]):
        answer = row["answer"] or ""
        first = EMOJI.search(answer)
        before = answer[: first.start()].rstrip() if first is not None else _first_sentence(answer)
        if before is None:
            continue
        prompt = render_prompt(model.tokenizer, f"{row['question']}{INVITATION}")
        gap = " " if model.tokenizer.chat_template is None and before else ""
        spot = Spot(row["question"], f"{prompt}{gap}{before}", first is not None)
        if sum(one.question == spot.question and one.emoji == spot.emoji for one in found) < _MOST:
            found.append(spot)
    return found


def before_emoji(spots: Sequence[Spot]) -> list[Spot]:
    """Those that an emoji follows."""
    return [spot for spot in spots if spot.emoji]


def with_both(spots: Sequence[Spot]) -> list[Spot]:
    """Those of questions that have spots of both kinds."""
    both = {spot.question for spot in spots if spot.emoji} & {spot.question for spot in spots if not spot.emoji}
    return [spot for spot in spots if spot.question in both]


def _first_sentence(answer: str) -> str | None:
    """The answer to the end of its first sentence; None where nothing follows one."""
    spaces = (k for k, character in enumerate(answer) if character.isspace())
    return next((answer[:k] for k in spaces if SENTENCE_END.search(answer[:k])), None)
