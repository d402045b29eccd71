"""One process at a time in an output folder: a lock file that says who holds it."""

import glob
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import wraps
from inspect import signature
from pathlib import Path
from secrets import token_hex
from typing import ParamSpec, TypeVar

from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.io import TEMPORARY, is_alive, remove_partial_writes, write_advice

P = ParamSpec("P")
R = TypeVar("R")

NAME = ".persona-interp.lock"
STALE_S = 7 * 24 * 3600.0
"""Age at which a lock of another machine, whose processes cannot be looked up, no longer counts."""

_DAY_S = 24 * 3600.0

_held: set[Path] = set()
"""The locks that this process has, for calls within calls."""


@dataclass(frozen=True)
class Holder:
    """Who holds a folder: a process of a machine, since when (seconds since 1970); the token is of this one lock."""

    host: str
    pid: int
    since: float
    token: str

    @classmethod
    def read(cls, path: Path) -> "Holder | None":
        """What a lock says; None where it is gone or was never finished."""
        for _ in range(5):  # another process may be between making the file and writing it
            try:
                found = json.loads(path.read_text())
                return cls(str(found["host"]), int(found["pid"]), float(found["since"]), str(found["token"]))
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError):
                time.sleep(0.02)
        return None

    def is_at_work(self) -> bool:
        """Whether its process may still run; one with this process's own number was left by an earlier one."""
        if self.host == socket.gethostname():
            return is_alive(self.pid)
        return time.time() - self.since < STALE_S


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone while the block runs, without the temporary files of killed runs.

    A lock that a killed process left is taken over. The same process may enter a folder twice, as a command does that
    calls another.

    Raises:
        ArtefactError: the folder cannot be made or written to.
        ConfigError: another process is at work in the folder; its number, machine and start are named.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    path = folder.absolute() / NAME
    if path in _held:
        yield
        return
    own = Holder(socket.gethostname(), os.getpid(), time.time(), token_hex(8))
    _take(path, own)
    _held.add(path)
    try:
        remove_partial_writes(folder)
        yield
    finally:
        _held.discard(path)
        if Holder.read(path) == own:
            path.unlink(missing_ok=True)
        for place in made:  # a run that was refused leaves no empty folders
            with suppress(OSError):
                place.rmdir()


def alone_in(parameter: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes of a function one that has the folder of a parameter `locked` while it runs, where it is given one."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        asked = signature(function)

        @wraps(function)
        def alone(*arguments: P.args, **options: P.kwargs) -> R:
            folder = asked.bind(*arguments, **options).arguments.get(parameter)
            with nullcontext() if folder is None else locked(Path(folder)):
                return function(*arguments, **options)

        return alone

    return decorate


@contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """A hidden folder that is gone afterwards; those that killed processes left here under this name go first.

    A folder counts as left where the lock in it is of a process that is gone, or where it has none and is a day old.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f".{glob.escape(name)}.*{TEMPORARY}"):
        holder = Holder.read(left / NAME)
        if left.absolute() / NAME not in _held and _is_left(left, holder):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}.", suffix=TEMPORARY) as made, locked(Path(made)):
        yield Path(made)


def _is_left(folder: Path, holder: Holder | None) -> bool:
    if holder is not None:
        return not holder.is_at_work()
    with suppress(FileNotFoundError):
        return time.time() - folder.stat().st_mtime > _DAY_S
    return False


def _take(path: Path, own: Holder) -> None:
    for _ in range(3):
        if _made(path, own):
            return
        holder = Holder.read(path)
        if holder is not None and holder.is_at_work():
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
            raise ConfigError(
                f"another process is at work in {path.parent}: number {holder.pid} on {holder.host}, since {since}.",
                "Wait until it has finished, or choose another folder.",
                f"If there is no such process any more, delete {path}.",
            )
        _clear(path, holder, own)
    raise ConfigError(f"{path.parent} could not be locked: other processes take it at the same time.", "Try again.")


def _made(path: Path, own: Holder) -> bool:
    """Whether the lock was made now; false where there is one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as lock:
            json.dump(asdict(own), lock)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.parent.is_dir():
            return False
        raise ArtefactError(f"could not write {path}: {error.strerror or error}.", write_advice(error)) from error
    return True


def _clear(path: Path, stale: Holder | None, own: Holder) -> None:
    """Take a stale lock away; one that another process has put in its place meanwhile is put back."""
    aside = path.with_name(f"{NAME}.{own.token}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if Holder.read(aside) != stale:
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()
