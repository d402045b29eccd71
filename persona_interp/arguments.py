"""Arguments of public functions and fields of public dataclasses, checked at the border by their annotations.

`checked` refuses what an annotation excludes, before anything else is done, with a `ConfigError` that names the
argument. Numbers and lists with bounds for annotations are in `bounds.py`, what an annotation means is in `kinds.py`.
"""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from inspect import Parameter, signature
from pathlib import PurePath
from typing import Any, TypeVar, get_type_hints

from persona_interp.errors import ConfigError
from persona_interp.kinds import Kind, Wrong, kind_of

What = TypeVar("What", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Parameters:
    """The kinds of a function's parameters: by place, by name, and of those in `*more` and `**others`."""

    places: Sequence[tuple[str, Kind | None]]
    named: Mapping[str, Kind]
    more: tuple[str, Kind | None]
    others: Kind | None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "_Parameters":
        """Read from its annotations."""
        hints = get_type_hints(function, include_extras=True)
        known = {name: kind_of(hint) for name, hint in hints.items() if name != "return"}
        places, named, more, others = [], {}, ("", None), None
        for name, parameter in signature(function).parameters.items():
            kind = known.get(name)
            if parameter.kind is Parameter.VAR_POSITIONAL:
                more = name, kind
            elif parameter.kind is Parameter.VAR_KEYWORD:
                others = kind
            else:
                if parameter.kind is not Parameter.KEYWORD_ONLY:
                    places.append((name, kind))
                if kind is not None:
                    named[name] = kind
        return cls(places, named, more, others)


def checked(what: What) -> What:
    """A function, or a dataclass, that refuses arguments which its annotations exclude.

    Raises:
        ConfigError: when it is called so; names the argument, what it must be and what was given.
    """
    if not isinstance(what, type):
        return _checked(what, what.__qualname__.removesuffix(".__init__"))  # pyright: ignore
    what.__init__ = _checked(what.__init__, what.__qualname__)
    return what  # pyright: ignore


def _checked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    parameters = cache(lambda: _Parameters.of(function))  # at the first call, when all names are there

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        known = parameters()
        taken = list(arguments)
        at = ""
        try:
            for i, value in enumerate(arguments):
                at, kind = known.places[i] if i < len(known.places) else known.more
                if kind is not None:
                    taken[i] = kind.take(value)
            for at, value in options.items():
                kind = known.named.get(at, known.others)
                if kind is not None:
                    options[at] = kind.take(value)
        except Wrong as wrong:
            raise ConfigError(
                f"{at}{wrong.where} must be {wrong.must}, got {_shown(wrong.value)}.",
                *wrong.advice,
                f"It is an argument of {name}.",
            ) from None
        return function(*taken, **options)

    call.__checked__ = True  # pyright: ignore
    return call


def _shown(value: object) -> str:
    """A value in one short line, whatever it is."""
    if isinstance(value, bool | int | float | str | bytes | list | tuple | dict | set | PurePath | None):
        try:
            return " ".join(_SHORT.repr(value).split())[:200]
        except Exception:
            pass  # a number of thousands of digits, or a list of what cannot be shown
    elif type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        return repr(value)
    article = "an" if type(value).__name__[0] in "AEIOUaeiou" else "a"
    return f"{article} {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
