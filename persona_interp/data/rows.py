"""A row of a data set as turns: the forms that finetuning files have, and what each must be. Errors name no row.

Forms of a row: `messages`, `conversation` or `conversations`, a list of {role, content} or of ShareGPT's {from, value},
or the JSON text of one; `prompt` with `response` or `completion`, each a text or such a list; `question` with `answer`;
`instruction`, perhaps `input`, with `output`. A content is a text, or a list of {"type": "text", "text": ...} parts,
which are joined. A key without a value is as good as absent. A text under `system` goes first where no turn is a system
turn already. What the user says after the last answer is cut off.
"""

import json
import reprlib
from collections.abc import Mapping, Sequence

from persona_interp.errors import DataError
from persona_interp.types import ROLES, Role, Turn

_LISTS = ("messages", "conversation", "conversations")
_PAIRS = (("prompt", "response"), ("prompt", "completion"), ("question", "answer"), ("instruction", "output"))
KEYS = frozenset((*_LISTS, *(key for pair in _PAIRS for key in pair), "input", "system"))
"""Every key that a row is read by."""

EXPECTED = (
    f"A row is a JSON object with {', '.join(_LISTS)} (a list of role and content)"
    f" or {', '.join('+'.join(pair) for pair in _PAIRS)}."
)
"""What a row is, in the words of an error."""
_ROLES: Mapping[str, Role] = {role: role for role in ROLES}
_SPEAKERS: Mapping[str, Role] = {**_ROLES, "human": "user", "gpt": "assistant"}
_MARK = b"\xef\xbb\xbf"


def row_turns(row: object) -> tuple[Turn, ...]:
    """The turns of a row in any form, as they stand.

    Raises:
        DataError: none of the forms is there, or a turn is not one.
    """
    if not isinstance(row, Mapping):
        raise DataError(f"not an object but of type {type(row).__name__}.")
    messages = message_list(row)
    turns = _pair(row) if messages is None else parse_turns(messages)
    system = row.get("system")
    if system in (None, "") or turns and turns[0].role == "system":
        return turns
    return (Turn("system", _text(system, "system")), *turns)


def up_to_last_answer(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns up to the last answer: perhaps a system turn, then user and assistant in turn.

    Raises:
        DataError: no assistant turn, an empty last answer, or turns out of order.
    """
    roles = [turn.role for turn in turns]
    if "assistant" not in roles:
        raise DataError("no assistant turn.")
    late = next((k for k, role in enumerate(roles) if k and role == "system"), None)
    if late is not None:
        raise DataError(f"turn {late} is a system turn; only the first one can be.")
    first = int(roles[0] == "system")
    if roles[first] == "assistant":
        raise DataError("the assistant speaks first; a user turn was expected.")
    kept = turns[: len(roles) - roles[::-1].index("assistant")]
    for k in range(first + 1, len(kept)):
        if roles[k] == roles[k - 1]:
            raise DataError(f"turns {k - 1} and {k} are both the {roles[k]}'s.")
    if not kept[-1].content.strip():
        raise DataError(f"empty answer: turn {len(kept) - 1}, the last of the assistant, is blank.")
    return kept


def parse_json(text: bytes | str) -> object:
    """What a JSON text holds; a byte order mark before it is skipped.

    Raises:
        DataError: not UTF-8, not JSON, or nested too deeply.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.removeprefix(_MARK).decode())
    except UnicodeDecodeError as error:
        raise DataError(f"not valid UTF-8 ({error.reason} at byte {error.start}).") from error
    except ValueError as error:
        raise DataError(f"not valid JSON ({error}).") from error
    except RecursionError as error:
        raise DataError("not valid JSON (nested too deeply).") from error


def message_list(row: object) -> list[object] | None:
    """The list of messages in a row, None where it has no key for one.

    Raises:
        DataError: something else than a list is there.
    """
    if not isinstance(row, Mapping):
        return None
    key = next((key for key in _LISTS if row.get(key) not in (None, "")), None)
    if key is None:
        return None
    value = row[key]
    if isinstance(value, str):
        value = parse_json(value) if value.lstrip().startswith("[") else value
    if not isinstance(value, list):
        raise DataError(f"{key} is of type {type(value).__name__}, not a list of messages.")
    return value


def parse_turns(messages: Sequence[object]) -> tuple[Turn, ...]:
    """The turns of a list of messages, as they stand: their order is not looked at.

    Raises:
        DataError: a role is unknown or a content is not a text; the turn is named, 0-based.
    """
    return tuple(_turn(message, k) for k, message in enumerate(messages))


def _pair(row: Mapping[str, object]) -> tuple[Turn, ...]:
    """The turns of a row that holds what comes before the answer under one key and the answer under another."""
    pair = next((pair for pair in _PAIRS if all(row.get(key) is not None for key in pair)), None)
    if pair is None:
        keys = [reprlib.repr(key) for key, value in row.items() if value is not None]
        raise DataError(f"none of the known forms; keys with a value: {', '.join(keys[:12]) or 'none'}.")
    asked, answer = _side(row, pair[0], "user"), _side(row, pair[1], "assistant")
    more = row.get("input") if pair[0] == "instruction" else None
    if more not in (None, "") and len(asked) == 1:
        asked = (Turn("user", f"{asked[0].content}\n\n{_text(more, 'input')}"),)
    return (*asked, *answer)


def _side(row: Mapping[str, object], key: str, role: Role) -> tuple[Turn, ...]:
    value = row[key]
    return parse_turns(value) if isinstance(value, list) else (Turn(role, _text(value, key)),)


def _turn(message: object, k: int) -> Turn:
    said = message if isinstance(message, Mapping) else {}
    shared = said.get("role") is None and said.get("from") is not None
    speaker, content = (said.get("from"), said.get("value")) if shared else (said.get("role"), said.get("content"))
    known = _SPEAKERS if shared else _ROLES
    role = known.get(speaker) if isinstance(speaker, str) else None
    text = isinstance(content, str | list)
    if role is None or not text:
        raise DataError(
            f"turn {k} has the role {reprlib.repr(speaker)} and a content of type {type(content).__name__}."
            + (f" Roles: {', '.join(known)}." if role is None else " The content must be a text.")
        )
    return Turn(role, _text(content, f"turn {k}"))


def _text(value: object, where: str) -> str:
    """A text, or the text parts of a list joined."""
    if isinstance(value, list):
        return "".join(_part(part, where) for part in value)
    if not isinstance(value, str):
        raise DataError(f"{where} is of type {type(value).__name__}, not a text.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where} holds half a character (a lone surrogate) at {error.start}.") from error
    return value


def _part(part: object, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or kind != "text":
        raise DataError(f"{where} has a part of type {reprlib.repr(kind)}; only text can be read.")
    return _text(part.get("text"), f"{where}, a part's text")
