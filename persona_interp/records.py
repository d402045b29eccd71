"""JSON files: read with limits, and checked against what their values must be."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from persona_interp.errors import ArtefactError, PersonaInterpError
from persona_interp.files import MIB, atomic_write_bytes, read_bytes, shown
from persona_interp.texts import path_part, text_fault

MOST_JSON = 64 * MIB
"""Bytes of a JSON file that is read: the largest that this package writes have a few."""
REMEDY = "Restore it, or delete it and run the same command again."
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MARK = b"\xef\xbb\xbf"
_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_WORDS: Mapping[type, str] = {
    **{dict: "an object", list: "a list", str: "a text", bool: "true or false"},
    **{int: "a whole number", float: "a number", NoneType: "null"},
}


@dataclass(frozen=True)
class Rule:
    """What a value of a JSON file must be.

    Args:
        expected: in words, as they follow "Expected".
        holds: whether a value is of this kind, its parts aside.
        parts: name, value and rule of each part of it.
    """

    expected: str
    holds: Callable[[Any], bool]
    parts: Callable[[Any], Iterable[tuple[str, Any, "Rule"]]] = lambda _: ()


Kind = type | tuple[type, ...] | Rule
Kinds = Mapping[str, Kind]
"""Keys of a JSON object with what their values may be: Python types, or a rule."""


class _Absent:
    """The value of a key that is not there."""


_ABSENT = _Absent()


def text(longest: int = 1000) -> Rule:
    """A text of one line that can be printed and saved; not empty."""
    return Rule(
        f"a line of 1 to {longest:,} characters",
        lambda value: isinstance(value, str) and 0 < len(value) <= longest and value.isprintable(),
    )


def long_text(longest: int) -> Rule:
    """A text of any number of lines that can be printed and saved."""
    return Rule(
        f"a text of at most {longest:,} characters, without NUL",
        lambda value: isinstance(value, str) and text_fault(value, longest) is None,
    )


def name(what: str) -> Rule:
    """A text that files can be named after."""

    def holds(value: Any) -> bool:
        try:
            return isinstance(value, str) and path_part(value, what) == value
        except PersonaInterpError:
            return False

    return Rule(f"a name of 1 to 80 bytes that a file can have, of a {what}", holds)


def whole(low: int, high: int) -> Rule:
    """A whole number in a range, both ends in it."""
    return Rule(f"a whole number from {low} to {high:,}", lambda value: type(value) is int and low <= value <= high)


def number(low: int | float, high: int | float = float("inf")) -> Rule:
    """A finite number, not below or above these."""
    return Rule(
        f"a finite number of at least {low:g}" + ("" if high == float("inf") else f" and at most {high:g}"),
        lambda value: type(value) in (int, float) and low <= value <= high and abs(value) < float("inf"),
    )


def one_of(choices: Sequence[str]) -> Rule:
    """One of several texts."""
    return Rule(" or ".join(choices), lambda value: isinstance(value, str) and value in choices)


def or_null(rule: Rule) -> Rule:
    """A value that may be null."""
    return Rule(
        f"{rule.expected}, or null",
        lambda value: value is None or rule.holds(value),
        lambda value: () if value is None else rule.parts(value),
    )


def list_of(rule: Rule, least: int, most: int) -> Rule:
    """A list of values of one kind."""
    return Rule(
        f"a list of {least} to {most:,}",
        lambda value: isinstance(value, list) and least <= len(value) <= most,
        lambda value: ((f"[{k}]", part, rule) for k, part in enumerate(value)),
    )


def texts_of(rule: Rule, most: int = 1000) -> Rule:
    """An object whose keys are not known beforehand, and whose values are of one kind."""
    return Rule(
        f"an object of at most {most:,} keys",
        lambda value: isinstance(value, dict) and len(value) <= most,
        lambda value: ((f".{key:.60}", part, rule) for key, part in value.items()),
    )


def fields(keys: Kinds, optional: Kinds | None = None) -> Rule:
    """An object with these keys, and perhaps with others."""
    needed = {key: _rule(kind) for key, kind in keys.items()}
    allowed = {key: _rule(kind) for key, kind in (optional or {}).items()}
    return Rule(
        "an object" + (f" with {', '.join(needed)}" if needed else ""),
        lambda value: isinstance(value, dict),
        lambda value: (
            *((f".{key}", value.get(key, _ABSENT), rule) for key, rule in needed.items()),
            *((f".{key}", value[key], rule) for key, rule in allowed.items() if key in value),
        ),
    )


ANYTHING = Rule("anything", lambda _: True)


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically, with sorted keys so that equal content is equal bytes.

    Raises:
        ArtefactError: it cannot be written, or a text in it holds half of a surrogate pair, and could not be read.
    """
    written = (json.dumps(data, indent=2, sort_keys=True, default=str) + "\n").encode()
    if fault := _half_pair(data, written):
        raise ArtefactError(f"{shown(path)} was not written: {fault}.", "Give texts and names in UTF-8.")
    atomic_write_bytes(path, written)


def read_json(path: Path, *, remedy: str = "Restore it or delete it and make it again.") -> Any:
    """Read a JSON file.

    Args:
        remedy: what to do where the file cannot be used.

    Raises:
        ArtefactError: it is missing, no regular file or larger than 64 MiB, or cannot be read as JSON: truncated, not
            UTF-8, nested too deep, with a key twice in one object, or with half of a surrogate pair in a text.
    """
    data = read_bytes(path, most=MOST_JSON, remedy=remedy)
    try:
        return parse_json(data)
    except ValueError as error:
        raise ArtefactError(
            f"{shown(path)} is not valid JSON: {' '.join(str(error).split())[:300]}.",
            f"It may be truncated. {remedy}",
        ) from error


def parse_json(data: bytes) -> Any:
    """What JSON in UTF-8 holds, with or without a byte order mark.

    Raises:
        ValueError: as of `read_json`; says what is wrong.
    """
    if other := next((name for mark, name in _MARKS.items() if data.startswith(mark)), None):
        raise ValueError(f"it is {other}: save it as UTF-8")
    try:
        found = json.loads(data.removeprefix(_MARK).decode(), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({error}); if it is Latin-1 or UTF-16, save it as UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if fault := _half_pair(found, data):
        raise ValueError(fault)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"an object has the key {twice[:60]!r} twice")
    return found


def _half_pair(found: Any, written: bytes) -> str | None:
    """What is wrong where a text holds half of a surrogate pair."""
    if not _SURROGATE.search(written):
        return None
    try:
        json.dumps(found, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        return f"a text in it holds half of a surrogate pair (\\u{half:04x}), which no encoding has"
    return None


def read_record(
    path: Path, keys: Kinds | None = None, *, optional: Kinds | None = None, remedy: str = REMEDY
) -> dict[str, Any]:
    """Read a JSON file that holds an object with these keys.

    Args:
        keys: each with the Python type of its value, several, or a rule; `bool` is no `int`, and an `int` is a `float`.
        optional: keys that may be missing, but not of another type.
        remedy: what to do where the file cannot be used.

    Raises:
        ArtefactError: it is missing, no JSON or no object, or a key is missing or of another type; names the key, what
            is there and what was expected.
    """
    found = read_json(path, remedy=remedy)
    if not isinstance(found, dict):
        raise ArtefactError(f"{path} holds {_shown(found)}.", "Expected an object.", remedy)
    check_record(path, found, keys or {}, optional=optional, remedy=remedy)
    return found


def check_record(
    path: Path, found: Mapping[str, Any], keys: Kinds, *, optional: Kinds | None = None, remedy: str = REMEDY
) -> None:
    """Refuse an object of a JSON file that lacks one of these keys, or has one with a value of another kind.

    Raises:
        ArtefactError: names the file, the key, what is there and what was expected.
    """
    for at, value, rule in fields(keys, optional).parts(found):
        _check(path, at.removeprefix("."), value, rule, found, remedy)


def _check(path: Path, at: str, value: Any, rule: Rule, found: Mapping[str, Any], remedy: str) -> None:
    if value is _ABSENT:
        held = ", ".join(sorted(found)[:8]) or "nothing"
        raise ArtefactError(f"{path} has no {at}.", f"Expected {rule.expected}; it has {held[:160]}.", remedy)
    if not rule.holds(value):
        raise ArtefactError(f"{path}: {at} is {_shown(value)}.", f"Expected {rule.expected}.", remedy)
    for name, part, own in rule.parts(value):
        _check(path, f"{at}{name}", part, own, value if isinstance(value, dict) else found, remedy)


def _rule(kind: Kind) -> Rule:
    """The rule that Python types stand for."""
    if isinstance(kind, Rule):
        return kind
    kinds = kind if isinstance(kind, tuple) else (kind,)
    allowed = (*kinds, int) if float in kinds else kinds
    return Rule(
        " or ".join(_WORDS[one] for one in kinds),
        lambda value: isinstance(value, allowed) and (bool in kinds or not isinstance(value, bool)),
    )


def _shown(value: Any) -> str:
    """A JSON value in a message: what it is, and itself where it is short."""
    name = _WORDS.get(type(value), type(value).__name__)
    if isinstance(value, str) and len(value) > 60:
        return f"a text of {len(value):,} characters, {value[:50]!r}…"
    return f"{name}, {value!r:.60}" if isinstance(value, bool | int | float | str) else name
