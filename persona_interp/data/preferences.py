"""Preference data: two answers to one prompt, of which one was chosen.

Forms of a row: `chosen` and `rejected`, each a text or a list of turns, after `prompt` (or `question`, or `instruction`
and perhaps `input`), a text or such a list; or without a prompt, where both are whole conversations that agree up to
their last answers: lists of turns (TRL, UltraFeedback), or texts in which "Human:" and "Assistant:" begin the turns
after blank lines (hh-rlhf). `system` is read as in other rows.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from persona_interp.data.conversations import Conversation
from persona_interp.data.rows import (
    PREFERENCE,
    Unusable,
    is_preference,
    side,
    up_to_last_answer,
    with_lower_keys,
    with_system,
)
from persona_interp.data.streams import stream_rows
from persona_interp.data.values import text_of
from persona_interp.errors import DataError
from persona_interp.types import Role, Turn

_PROMPTS = ("prompt", "question", "instruction")
_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_ROLES: Mapping[str, Role] = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt; both conversations are the same up to the last turn."""

    name: str
    chosen: Conversation
    rejected: Conversation

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """What comes before either answer."""
        return self.chosen.prompt


def stream_pairs(source: str | Path, *, start: int = 0) -> Iterator[tuple[int, Pair | Unusable]]:
    """(number, row) of every row of preference data from number `start` on, as `stream_rows` reads them.

    Raises:
        ArtefactError, ConfigError, DataError: as there.
    """
    return ((k, parse_pair(row, name)) for k, (name, row) in stream_rows(source, start=start))


def parse_pair(row: object, name: str) -> Pair | Unusable:
    """The pair of a row, or why it cannot be one."""
    if isinstance(row, Unusable):
        return Unusable(name, row.reason)
    if not isinstance(row, Mapping) or not is_preference(row):
        return Unusable(name, f"not a preference pair: it lacks {' or '.join(PREFERENCE)}.")
    try:
        chosen, rejected = (up_to_last_answer(_turns(with_lower_keys(row), key)) for key in PREFERENCE)
        _check(chosen, rejected)
    except DataError as error:
        return Unusable(name, str(error))
    return Pair(name, Conversation(name, chosen), Conversation(name, rejected))


def _turns(row: Mapping[str, object], key: str) -> tuple[Turn, ...]:
    """The whole conversation that ends in one of the answers."""
    asked = next((side(row[name], name, "user") for name in _PROMPTS if row.get(name) not in (None, "", [])), ())
    if len(asked) == 1 and row.get("instruction") and (more := row.get("input")):
        asked = (Turn("user", f"{asked[0].content}\n\n{text_of(more, 'input')}"),)
    answer = side(row[key], key, "assistant")
    spoken = answer[0].content if len(answer) == 1 and answer[0].role == "assistant" else ""
    if _SPEAKER.match(spoken):
        return with_system(row, _dialogue(spoken))
    if len(asked) == 1 and spoken and _SPEAKER.match(asked[0].content):
        before = asked[0].content.rstrip().removesuffix("Assistant:").rstrip()
        return with_system(row, _dialogue(f"{before}\n\nAssistant: {spoken}"))
    if any(turn.role == "user" for turn in answer):
        return with_system(row, answer)
    if not asked:
        raise DataError(f"no prompt: {key} is an answer alone, and there is none of {', '.join(_PROMPTS)}.")
    return with_system(row, (*asked, *answer))


def _dialogue(text: str) -> tuple[Turn, ...]:
    """The turns of a text that names who speaks before each."""
    _, *parts = _SPEAKER.split(text)
    return tuple(Turn(_ROLES[who], said.strip()) for who, said in zip(parts[::2], parts[1::2], strict=True))


def _check(chosen: tuple[Turn, ...], rejected: tuple[Turn, ...]) -> None:
    if chosen == rejected:
        raise DataError("the chosen and the rejected answer are the same.")
    if chosen[:-1] != rejected[:-1]:
        same = sum(1 for _ in takewhile(lambda turns: turns[0] == turns[1], zip(chosen, rejected, strict=False)))
        raise DataError(f"chosen and rejected differ before their last answers, at turn {same}; they share no prompt.")
