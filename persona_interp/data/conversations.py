"""Conversations of a data set: `messages` rows as finetuning files hold them, read row by row with what is unusable."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_interp.io import atomic_write_bytes
from persona_interp.types import Turn


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


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> None:
    """JSON lines of `messages`, as finetuning code everywhere reads them; atomic."""
    lines = [json.dumps({"messages": _messages(c.turns)}, ensure_ascii=False) for c in conversations]
    atomic_write_bytes(path, ("\n".join(lines) + "\n").encode())


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]
