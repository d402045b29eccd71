"""Conversations of a data set: rows as finetuning files hold them, read row by row with what is unusable.

The forms of a row are described in `rows`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_interp.arguments import checked
from persona_interp.data.rows import EXPECTED, parse_json, row_turns, up_to_last_answer
from persona_interp.errors import DataError
from persona_interp.io import atomic_write_bytes, read_bytes, sha256_json
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
class Unusable:
    """A row that cannot be a conversation: where it is, and why."""

    name: str
    reason: str


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


@checked
def read_conversations(path: Path) -> ConversationSet:
    """Every conversation of a JSONL file; a bad line becomes unusable, and the rest goes on.

    Names are `file.jsonl, line 7`, counted from 1. Blank lines are skipped and counted.

    Raises:
        DataError: no line is usable.
        ArtefactError: the file is missing or cannot be read.
    """
    found = [
        parse_line(line, f"{path.name}, line {k}")
        for k, line in enumerate(read_bytes(path).split(b"\n"), start=1)
        if line.strip()
    ]
    usable = tuple(row for row in found if isinstance(row, Conversation))
    unusable = tuple(row for row in found if isinstance(row, Unusable))
    if not usable:
        first = (f"{row.name}: {row.reason}" for row in unusable[:_SHOWN])
        raise DataError(f"{path} holds no usable conversation: {len(unusable)} lines were left out.", *first, EXPECTED)
    return ConversationSet(usable, unusable)


def parse_row(row: object, name: str) -> Conversation | Unusable:
    """The conversation of a row, or why it cannot be one."""
    try:
        return Conversation(name, up_to_last_answer(row_turns(row)))
    except DataError as error:
        return Unusable(name, str(error))


def parse_line(line: bytes, name: str) -> Conversation | Unusable:
    """The conversation of a line of JSON, or why it cannot be one."""
    try:
        row = parse_json(line)
    except DataError as error:
        return Unusable(name, str(error))
    return parse_row(row, name)


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]
