"""A line of the table of inputs: what is given, and the value or the one paragraph that comes of it.

Each part of the package has a file here with its lines in `ROWS`; `test_inputs.py` runs them all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 2500
"""Characters that an error may have, whatever was given."""


@dataclass(frozen=True, eq=False)
class Given:
    """What rows may use: a folder of their own, and what is made once for all of them."""

    tmp: Path
    model: Path
    traits: tuple[Path, Path]
    vector: Path


@dataclass(frozen=True, eq=False)
class Call:
    """A call from Python.

    Args:
        call: what is done, in this process, with public functions.
        gives: the value that comes of it, or a function that says whether it is right.
        says: else a regular expression that is found in the message of the PersonaInterpError.
    """

    name: str
    call: Callable[[Given], Any]
    gives: Any = None
    says: str | None = None


@dataclass(frozen=True, eq=False)
class Command:
    """A command line, run in another process.

    Args:
        argv: arguments; `{tmp}`, `{model}`, `{trait}`, `{mirrored}` and `{vector}` are filled in.
        code: 0, 1 (what was found cannot be used) or 2 (what was asked for cannot be).
        says: a regular expression that is found in standard output of a success, in standard error of a failure.
        make: writes what the command is given, first.
    """

    name: str
    argv: tuple[str, ...]
    code: int
    says: str
    make: Callable[[Given], Any] | None = None


Row = Call | Command
