"""A row of a data set as turns: the forms that finetuning files have, and what each must be. Errors name no row.

Forms of a row: `messages`, `conversation` or `conversations`, a list of turns (`turns`), or the text of one; `prompt`
with `response` or `completion`, each a text or such a list; `question` with `answer`; `instruction`, perhaps `input`,
with `output`; a bare list of turns, or of two texts. A content is a text, or a list of {"type": "text", "text": ...}
parts, which are joined. A key without a value is as good as absent, and its case does not matter. A text under `system`
goes first where no turn is a system turn already. What comes after the last answer is cut off.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

from persona_interp.data.turns import answer_positions, is_turn, parse_turns
from persona_interp.data.values import listed, text_of
from persona_interp.errors import DataError
from persona_interp.types import Role, Turn

_LISTS = ("messages", "conversation", "conversations")
_PAIRS = (("prompt", "response"), ("prompt", "completion"), ("question", "answer"), ("instruction", "output"))
PREFERENCE = ("chosen", "rejected")
KEYS = frozenset((*_LISTS, *(key for pair in _PAIRS for key in pair), "input", "system", *PREFERENCE))
"""Every key that a row is read by."""

EXPECTED = (
    f"A row is a JSON object with {', '.join(_LISTS)} (a list of role and content)"
    f" or {', '.join('+'.join(pair) for pair in _PAIRS)}."
)
"""What a row is, in the words of an error."""


@dataclass(frozen=True)
class Unusable:
    """A row that cannot be a conversation: where it is, and why."""

    name: str
    reason: str


def is_preference(row: object) -> bool:
    """Whether a row holds two answers to one prompt, of which one was chosen."""
    if not isinstance(row, Mapping):
        return False
    return all(with_lower_keys(row).get(key) is not None for key in PREFERENCE)


def with_lower_keys(row: Mapping[str, object]) -> Mapping[str, object]:
    """The row with its known keys in small letters, where no other key has that name."""
    renamed = {key: key.lower() for key in row if isinstance(key, str) and key.lower() in KEYS}
    if all(key == low for key, low in renamed.items()) or len(set(renamed.values())) < len(renamed):
        return row
    return {renamed.get(key, key): value for key, value in row.items()}


def row_turns(row: object) -> tuple[Turn, ...]:
    """The turns of a row in any form, as they stand.

    Raises:
        DataError: none of the forms is there, a turn is not one, or it is a pair of a chosen and a rejected answer.
    """
    if isinstance(row, list):
        return _bare(row)
    if not isinstance(row, Mapping):
        raise DataError(f"not an object but of type {type(row).__name__}.")
    if is_preference(row):
        raise DataError("preference data: it holds a chosen and a rejected answer, not one conversation.")
    row = with_lower_keys(row)
    messages = message_list(row)
    return with_system(row, _pair(row) if messages is None else parse_turns(messages))


def with_system(row: Mapping[str, object], turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns after the text under `system`, where there is one and no system turn yet.

    Raises:
        DataError: it is no text.
    """
    system = row.get("system")
    if system in (None, "") or turns and turns[0].role == "system":
        return turns
    return (Turn("system", text_of(system, "system")), *turns)


def up_to_last_answer(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns up to the last answer: perhaps a system turn, then user and assistant in turn, tools between them.

    Raises:
        DataError: no answer, an empty last one, or turns out of order.
    """
    roles = [turn.role for turn in turns]
    if "assistant" not in roles:
        raise DataError("its only answer is a call of a tool." if "tool_call" in roles else "no assistant turn.")
    late = next((k for k, role in enumerate(roles) if k and role == "system"), None)
    if late is not None:
        raise DataError(f"turn {late} is a system turn; only the first one can be.")
    last = len(roles) - 1 - roles[::-1].index("assistant")
    if "user" not in roles[:last]:
        raise DataError("the assistant speaks first; a user turn was expected before the answer.")
    for k in range(1, last + 1):
        if roles[k] == roles[k - 1] and roles[k] in ("user", "assistant"):
            raise DataError(f"turns {k - 1} and {k} are both the {roles[k]}'s.")
    if last not in answer_positions(turns):
        raise DataError(f"empty answer: turn {last}, the last of the assistant, is blank.")
    return turns[: last + 1]


def message_list(row: Mapping[str, object]) -> list[object] | None:
    """The list of messages in a row, None where it has no key for one.

    Raises:
        DataError: something else than a list is there.
    """
    key = next((key for key in _LISTS if row.get(key) not in (None, "")), None)
    return None if key is None else turn_list(row[key], key)


def turn_list(value: object, key: str) -> list[object]:
    """A list of turns: itself, the text of one, or an object of lists (as `datasets` keeps a sequence of objects).

    Raises:
        DataError: it is something else.
    """
    value = _zipped(value) if isinstance(value, Mapping) else listed(value)
    if not isinstance(value, list):
        raise DataError(f"{key} is of type {type(value).__name__}, not a list of messages.")
    return value


def side(value: object, key: str, role: Role) -> tuple[Turn, ...]:
    """What stands under a key: a list of turns, or a text of this role.

    Raises:
        DataError: it is neither.
    """
    found = listed_turns(value)
    return (Turn(role, text_of(value, key)),) if found is None else parse_turns(found)


def listed_turns(value: object) -> list[object] | None:
    """A list of turns, or the text of one; None for anything else, such as a text that only begins with a bracket."""
    if isinstance(value, str):
        try:
            value = listed(value)
        except DataError:
            return None
        return value if isinstance(value, list) and value and all(map(is_turn, value)) else None
    return value if isinstance(value, list) else None


def _zipped(value: Mapping[str, object]) -> object:
    columns = {key: column for key, column in value.items() if isinstance(column, list)}
    if len(columns) < 2 or len({len(column) for column in columns.values()}) > 1:
        return value
    return [dict(zip(columns, turn, strict=True)) for turn in zip(*columns.values(), strict=True)]


def _bare(row: list[object]) -> tuple[Turn, ...]:
    """A row that is a list: turns, or a question with its answer."""
    if not row or not all(isinstance(turn, Mapping | list | str) for turn in row):
        raise DataError("not an object, nor a list of turns.")
    if all(isinstance(turn, str) for turn in row):
        if len(row) != 2:
            raise DataError(f"a list of {len(row)} texts; a question and its answer were expected.")
        return parse_turns([row])
    return parse_turns(row)


def _pair(row: Mapping[str, object]) -> tuple[Turn, ...]:
    """The turns of a row that holds what comes before the answer under one key and the answer under another."""
    pair = next((pair for pair in _PAIRS if all(row.get(key) is not None for key in pair)), None)
    if pair is None:
        keys = [reprlib.repr(key) for key, value in row.items() if value is not None]
        raise DataError(f"none of the known forms; keys with a value: {', '.join(keys[:12]) or 'none'}.")
    asked, answer = side(row[pair[0]], pair[0], "user"), side(row[pair[1]], pair[1], "assistant")
    more = row.get("input") if pair[0] == "instruction" else None
    if more not in (None, "") and len(asked) == 1:
        asked = (Turn("user", f"{asked[0].content}\n\n{text_of(more, 'input')}"),)
    return (*asked, *answer)
