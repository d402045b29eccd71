"""What an annotation says of a value: `kind_of` makes of it a check, which gives the value back or says what is wrong.

Numbers of numpy become Python's, a list becomes a tuple where a tuple is meant, an array or Series of one axis a list,
and text a path. Nothing else is converted: a number in quotes, True as a number and a text as a list are refused.
"""

import collections.abc
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from persona_interp.bounds import INT64, Bounds, NotEmpty, Prose


class Wrong(Exception):
    """A value that is refused: what it must be, what it is, advice, and whether it is of the right kind at least."""

    def __init__(self, must: str, value: object, *advice: str, near: bool = False) -> None:
        super().__init__(must)
        self.must, self.value, self.advice, self.near = must, value, advice, near
        self.where = ""


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Args:
        one: what a value must be, and `many` what several must be, in words.
        take: gives a value back, or raises `Wrong`.
        all_fit: a quick test of a list: True where all its entries are right as they are.
        rank: the order in which the kinds of a union are tried.
    """

    one: str
    many: str
    take: Callable[[Any], Any]
    all_fit: Callable[[Sequence[Any]], bool] = lambda entries: not entries
    rank: int = 1


def kind_of(hint: Any) -> Kind:
    """The kind of value that an annotation stands for."""
    origin, arguments, extras = get_origin(hint), get_args(hint), ()
    if origin is Annotated:
        hint, extras = arguments[0], hint.__metadata__
        origin, arguments = get_origin(hint), get_args(hint)
    simple = {bool: lambda: _TRUTH, str: lambda: _text(prose=Prose() in extras), Path: lambda: _PATH}
    if hint in (int, float):
        bounds = next((extra for extra in extras if isinstance(extra, Bounds)), None)
        return _whole(bounds or INT64) if hint is int else _number(bounds or Bounds())
    if hint in simple:
        return simple[hint]()
    if origin in (Union, UnionType):
        return _any_of(arguments)
    if origin is Literal:
        return _choice(arguments)
    if origin is tuple and arguments[1:] != (...,):
        return _together([kind_of(argument) for argument in arguments])
    if origin in (tuple, list, collections.abc.Sequence):
        entry = Annotated[str, Prose()] if arguments[0] is str else arguments[0]
        return _several(kind_of(entry), empty=NotEmpty() not in extras, as_tuple=origin is tuple)
    if origin in (dict, collections.abc.Mapping):
        return _mapping(*(kind_of(argument) for argument in arguments))
    if origin is collections.abc.Callable:
        return _instance(callable, "a function", "functions")
    if origin is not None:
        hint = origin
    hint = getattr(hint, "array_type", hint)  # of jaxtyping
    if hint is NoneType or hint is None:
        return _instance(lambda value: value is None, "None", "None", rank=0)
    if not isinstance(hint, type) or hint in (object, Any):
        return Kind("anything", "things", lambda value: value, lambda _: True)
    article = "an" if hint.__name__[0] in "AEIOU" else "a"
    return _instance(hint, f"{article} {hint.__name__}", f"{hint.__name__}s", rank=0)


def _whole(bounds: Bounds) -> Kind:
    def take(value: Any) -> int:
        if type(value) is not int:
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise Wrong("a whole number", value)
            value = int(value)
        if not bounds.hold(value):
            raise Wrong(str(bounds), value, near=True)
        return value

    def all_fit(entries: Sequence[Any]) -> bool:
        return set(map(type, entries)) <= {int} and (
            not entries or (bounds.hold(min(entries)) and bounds.hold(max(entries)))
        )

    return Kind("a whole number", "whole numbers", take, all_fit, rank=0)


def _number(bounds: Bounds) -> Kind:
    def take(value: Any) -> float:
        if type(value) is not float:
            if isinstance(value, bool) or not isinstance(value, Real):
                raise Wrong("a finite number", value)
            try:
                value = float(value)
            except OverflowError:
                raise Wrong("a finite number", value, near=True) from None
        if not math.isfinite(value):
            raise Wrong("a finite number", value, near=True)
        if not bounds.hold(value):
            raise Wrong(str(bounds), value, near=True)
        return value

    def all_fit(entries: Sequence[Any]) -> bool:
        return (
            set(map(type, entries)) <= {float} and all(map(math.isfinite, entries)) and all(map(bounds.hold, entries))
        )

    return Kind("a finite number", "finite numbers", take, all_fit)


def _take_truth(value: Any) -> bool:
    if value is True or value is False:
        return value
    if type(value).__name__ in ("bool", "bool_"):  # of numpy
        return bool(value)
    raise Wrong("True or False", value)


_TRUTH = Kind("True or False", "True or False", _take_truth, lambda entries: set(map(type, entries)) <= {bool}, rank=0)


def _is_printable(text: str) -> bool:
    """Whether it can be written to a file: half a surrogate pair cannot."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _text(*, prose: bool) -> Kind:
    def take(value: Any) -> str:
        if not isinstance(value, str):
            raise Wrong("text", value)
        if not _is_printable(value):
            raise Wrong("text without lone surrogates (decode it with errors='replace')", value, near=True)
        if not prose and "\0" in value:
            raise Wrong("text without the character NUL", value, near=True)
        return value

    def all_fit(entries: Sequence[Any]) -> bool:
        return prose and set(map(type, entries)) <= {str} and all(map(_is_printable, entries))

    return Kind("text", "texts", take, all_fit, rank=0)


def _take_path(value: Any) -> Path:
    if not isinstance(value, Path | str) or not str(value):
        raise Wrong("a path", value)
    _text(prose=False).take(str(value))
    return value if isinstance(value, Path) else Path(value)


_PATH = Kind("a path", "paths", _take_path)


def _choice(choices: tuple[Any, ...]) -> Kind:
    one = _listed([str(choice) for choice in choices])
    kinds = tuple(type(choice) for choice in choices)

    def take(value: Any) -> Any:
        if isinstance(value, kinds) and value in choices and isinstance(value, bool) <= (bool in kinds):
            return value
        near = get_close_matches(value, [str(c) for c in choices], n=1, cutoff=0.7) if isinstance(value, str) else []
        raise Wrong(one, value, *[f"Did you mean {word}?" for word in near], near=isinstance(value, kinds))

    return Kind(one, f"of {one}", take)


def _any_of(hints: Sequence[Any]) -> Kind:
    members = sorted((kind_of(hint) for hint in hints), key=lambda kind: kind.rank)
    one = _listed([kind.one for kind in members if kind.one != "None"])
    one += " or None" if any(kind.one == "None" for kind in members) else ""

    def take(value: Any) -> Any:
        best = Wrong(one, value)
        if (
            isinstance(value, str) and not value and Path in hints and Any not in hints
        ):  # which would be the working folder
            raise Wrong(f"{one} that is not empty", value)
        for member in members:
            try:
                return member.take(value)
            except Wrong as wrong:
                if wrong.where or wrong.near:
                    best = wrong
        raise best

    def all_fit(entries: Sequence[Any]) -> bool:
        return any(member.all_fit(entries) for member in members)

    return Kind(one, _listed([kind.many for kind in members]), take, all_fit)


def _several(entry: Kind, *, empty: bool, as_tuple: bool) -> Kind:
    one = f"a list of {entry.many}"

    def take(value: Any) -> Any:
        if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise Wrong(one, value, *(["Put it in a list."] if isinstance(value, str) else []))
        if not (empty or value):
            raise Wrong(f"{one} that is not empty", value, near=True)
        if not entry.all_fit(value):
            taken = [_at(f"[{i}]", entry, each) for i, each in enumerate(value)]
            if any(new is not old for new, old in zip(taken, value, strict=True)):
                value = tuple(taken) if isinstance(value, tuple) else taken
        return tuple(value) if as_tuple else value

    return Kind(one, f"lists of {entry.many}", take)


def _together(parts: Sequence[Kind]) -> Kind:
    one = f"({', '.join(part.one for part in parts)})"

    def take(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) != len(parts):
            raise Wrong(one, value)
        return tuple(_at(f"[{i}]", part, each) for i, (part, each) in enumerate(zip(parts, value, strict=True)))

    return Kind(one, f"of the form {one}", take)


def _mapping(key: Kind, entry: Kind) -> Kind:
    one = f"a dictionary from {key.many} to {entry.many}"

    def take(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Wrong(one, value)
        taken = {_at(" key", key, name): _at(f"[{name!r:.60}]", entry, each) for name, each in value.items()}
        return value if all(new is old for new, old in zip(taken.values(), value.values(), strict=True)) else taken

    return Kind(one, f"dictionaries from {key.many} to {entry.many}", take)


def _instance(of: Any, one: str, many: str, rank: int = 1) -> Kind:
    is_one = (lambda value: isinstance(value, of)) if isinstance(of, type) else of

    def take(value: Any) -> Any:
        if not is_one(value) or (of is Iterable and isinstance(value, str | bytes)):
            raise Wrong(one, value)
        return value

    def all_fit(entries: Sequence[Any]) -> bool:
        return set(map(type, entries)) <= {of}

    return Kind(one, many, take, all_fit, rank)


def _at(where: str, kind: Kind, value: Any) -> Any:
    try:
        return kind.take(value)
    except Wrong as wrong:
        wrong.where = where + wrong.where
        raise


def _listed(words: Sequence[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
