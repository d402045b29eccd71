"""Turns of a conversation as files of many tools hold them: names of roles, calls of tools, and which are answers.

A turn is an object of role and content (or `from` and `value`, as in ShareGPT), a pair of texts [role, text], or, where
no text is a role, each pair is what the user says and what is answered. Names of roles are read whatever their case.

Tools: what the assistant writes to call one has the role `tool_call`, what comes back the role `tool`. Neither is an
answer. A message with words and a call is two turns; a call is kept as the text it has in the file, or as JSON.
"""

import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from itertools import groupby

from persona_interp.data.values import text_of
from persona_interp.errors import DataError
from persona_interp.types import Role, Turn

_NAMES: Mapping[Role, str] = {
    "system": "system developer",
    "user": "user human prompter",
    "assistant": "assistant gpt chatgpt model bot chatbot ai llm",
    "tool": "tool function observation ipython tool_response tool_result tool_results function_response"
    " function_results",
    "tool_call": "tool_call tool_calls function_call function_calls",
}
_ROLES: Mapping[str, Role] = {name: role for role, names in _NAMES.items() for name in names.split()}
KNOWN_ROLES = "system, user (human), assistant (gpt, model, bot), tool (function), tool_call (function_call)"
_ALTERNATING: tuple[Role, ...] = ("user", "assistant")
_CALLS = ("tool_calls", "function_call")
_CALL_PARTS, _REPLY_PARTS = ("tool_use", "tool_call", "function_call"), ("tool_result", "function_call_output")
_THOUGHT_PARTS = ("thinking", "redacted_thinking", "reasoning")
"""What was thought before an answer, which is left out as `reasoning_content` is."""
_CALL = r"<(tool_call|function_?call)>.*?</\1>"
_ONLY_CALLS = re.compile(rf"\s*(?:{_CALL}\s*)+|\s*<function_?call>.*", re.DOTALL)


def answer_positions(turns: Sequence[Turn]) -> list[int]:
    """Where the answers are among turns: what the assistant says in words, once a user has spoken.

    A call of a tool, its reply, a blank turn and a greeting before the first question are context: they are never
    trained on, projected, judged or monitored as an answer.
    """
    asked = next((k for k, turn in enumerate(turns) if turn.role == "user"), len(turns))
    return [k for k, turn in enumerate(turns) if k > asked and turn.role == "assistant" and turn.content.strip()]


def parse_turns(messages: Sequence[object]) -> tuple[Turn, ...]:
    """The turns of a list of messages, as they stand: their order is not looked at.

    Raises:
        DataError: a role is unknown or a content is not a text; the turn is named, 0-based.
    """
    if messages and all(_is_pair(message) for message in messages):
        return _from_pairs([[str(text) for text in message] for message in messages if isinstance(message, list)])
    return tuple(turn for k, message in enumerate(messages) for turn in _turns(message, k))


def is_turn(message: object) -> bool:
    """Whether something has the form of a turn, whoever speaks."""
    if not isinstance(message, Mapping):
        return False
    said = {key for key, value in message.items() if value is not None}
    return {"from", "value"} <= said or ("role" in said and not said.isdisjoint(("content", *_CALLS)))


def _is_pair(message: object) -> bool:
    return isinstance(message, list) and len(message) == 2 and all(isinstance(text, str) for text in message)


def _from_pairs(pairs: Sequence[Sequence[str]]) -> tuple[Turn, ...]:
    known: list[Role] = [role for who, _ in pairs if (role := _ROLES.get(who.strip().lower())) is not None]
    if len(known) < len(pairs):
        known, said = list(_ALTERNATING) * len(pairs), [text for pair in pairs for text in pair]
    else:
        said = [text for _, text in pairs]
    return tuple(Turn(role, text_of(text, f"turn {k}")) for k, (role, text) in enumerate(zip(known, said, strict=True)))


def _turns(message: object, k: int) -> list[Turn]:
    """The turns of one message: one, or its words and what it calls."""
    said = message if isinstance(message, Mapping) else {}
    speaker = next((said[who] for who in ("role", "from") if said.get(who) is not None), None)
    content = next((said[what] for what in ("content", "value") if said.get(what) is not None), None)
    role = _ROLES.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    calls = [said[key] for key in _CALLS if said.get(key) not in (None, "", [], {})]
    if role == "assistant" and calls and content is None:
        content = ""
    if role is None or not isinstance(content, str | list):
        raise DataError(
            f"turn {k} has the role {reprlib.repr(speaker)} and a content of type {type(content).__name__}."
            + (f" Roles: {KNOWN_ROLES}." if role is None else " The content must be a text.")
        )
    found = _by_parts(role, content, k) if isinstance(content, list) else [Turn(role, text_of(content, f"turn {k}"))]
    if role != "assistant":
        return found
    found = [Turn("tool_call", turn.content) if _ONLY_CALLS.fullmatch(turn.content) else turn for turn in found]
    called = [Turn("tool_call", text_of(_as_text(call), f"turn {k}")) for call in calls]
    return [turn for turn in found if turn.content.strip() or not called] + called


def _by_parts(role: Role, content: Sequence[object], k: int) -> list[Turn]:
    """A message of parts; parts that call a tool, or are its reply, are turns of their own."""

    def role_of(part: object) -> Role:
        kind = part.get("type") if isinstance(part, Mapping) else None
        return "tool_call" if kind in _CALL_PARTS else "tool" if kind in _REPLY_PARTS else role

    if role == "assistant":
        content = [part for part in content if not (isinstance(part, Mapping) and part.get("type") in _THOUGHT_PARTS)]
    turns = []
    for own, parts in groupby(content, key=role_of):
        group = list(parts)
        if own == role:
            turns.append(Turn(own, text_of(group, f"turn {k}")))
        else:
            turns += [Turn(own, text_of(_as_text(_payload(part)), f"turn {k}")) for part in group]
    return turns or [Turn(role, "")]


def _payload(part: object) -> object:
    """What a tool gave back, or the whole call without its kind."""
    assert isinstance(part, Mapping), "a part of a kind is an object"
    for key in ("content", "output"):
        if part.get("type") in _REPLY_PARTS and part.get(key) is not None:
            return part[key]
    return {key: value for key, value in part.items() if key != "type"}


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError) as error:
        raise DataError(f"a call of a tool cannot be written as JSON ({error}).") from error
