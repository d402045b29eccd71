"""Conversations of a data set: rows as finetuning files hold them, read row by row with what is unusable.

The forms of a row are described in `rows`, the kinds of files in `streams`. Every command and function reads by these.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_interp.arguments import checked
from persona_interp.data.rows import EXPECTED, Unusable, is_preference, row_turns, up_to_last_answer
from persona_interp.data.sources import shown
from persona_interp.data.streams import stream_rows
from persona_interp.errors import DataError
from persona_interp.io import atomic_write_bytes, sha256_json
from persona_interp.types import Turn

_SHOWN = 3


@checked
@dataclass(frozen=True)
class Conversation:
    """Turns in order, and where they come from, for errors and tables. The last turn is the assistant's."""

    name: str
    turns: tuple[Turn, ...]

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """Everything before the last answer."""
        return self.turns[:-1]

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.turns[-1].content


@dataclass(frozen=True)
class ConversationSet:
    """The usable conversations of a file, in its order, and the rows left out."""

    conversations: tuple[Conversation, ...]
    unusable: tuple[Unusable, ...] = ()


def question_and_answer(question: str, answer: str, *, system: str | None = None, name: str = "") -> Conversation:
    """A conversation of one question and its answer."""
    first = [] if system is None else [Turn("system", system)]
    return Conversation(name, (*first, Turn("user", question), Turn("assistant", answer)))


def conversations_hash(data: Sequence[Conversation]) -> str:
    """A name for conversations in their order, from every role and text."""
    return sha256_json([[[turn.role, turn.content] for turn in talk.turns] for talk in data])[:16]


@checked
def write_conversations(path: Path, conversations: Iterable[Conversation]) -> None:
    """JSON lines of `messages`, as finetuning code everywhere reads them; atomic."""
    lines = [json.dumps({"messages": _messages(c.turns)}, ensure_ascii=False) for c in conversations]
    atomic_write_bytes(path, ("\n".join(lines) + "\n").encode())


def stream_conversations(source: str | Path, *, start: int = 0) -> Iterator[tuple[int, Conversation | Unusable]]:
    """(number, row) of every row of a data set from number `start` on, as `stream_rows` reads them.

    Raises:
        ArtefactError, ConfigError, DataError: as there.
    """
    return ((k, parse_row(row, name)) for k, (name, row) in stream_rows(source, start=start))


@checked
def read_conversations(source: str | Path) -> ConversationSet:
    """Every conversation of a data set in any form that `stream_rows` reads; a bad row becomes unusable.

    Names are `file.jsonl, line 7`, counted from 1. Blank lines are skipped and counted.

    Raises:
        DataError: no row is usable, or one is a pair of a chosen and a rejected answer.
        ArtefactError: the file is missing, empty, or cannot be read.
    """
    usable, unusable = [], []
    for _, (name, row) in stream_rows(source):
        if is_preference(row):
            raise DataError(
                f"{shown(source)} is preference data: {name}, holds a chosen and a rejected answer to one prompt.",
                "Conversations were expected. `persona-interp screen` compares the answers of such pairs along persona"
                " vectors. To train on the chosen ones, write each with its prompt as a conversation of its own.",
            )
        found = parse_row(row, name)
        (unusable if isinstance(found, Unusable) else usable).append(found)
    if not usable:
        first = (f"{row.name}: {row.reason}" for row in unusable[:_SHOWN])
        raise DataError(
            f"{shown(source)} holds no usable conversation: {len(unusable)} rows were left out.", *first, EXPECTED
        )
    return ConversationSet(tuple(usable), tuple(unusable))


def parse_row(row: object, name: str) -> Conversation | Unusable:
    """The conversation of a row, or why it cannot be one."""
    if isinstance(row, Unusable):
        return Unusable(name, row.reason)
    try:
        return Conversation(name, up_to_last_answer(row_turns(row)))
    except DataError as error:
        return Unusable(name, str(error))


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]
