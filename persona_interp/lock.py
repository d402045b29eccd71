"""One process at a time in an output folder: a lock file that says who holds it."""

import glob
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import wraps
from inspect import signature
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import ParamSpec, TypeVar

from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.files import TEMPORARY, is_alive, read_bytes, remove_partial_writes, shown, write_advice

P = ParamSpec("P")
R = TypeVar("R")

NAME = ".persona-interp.lock"
_LONGEST = 10_000
"""Bytes of a lock."""
STALE_S = 7 * 24 * 3600.0
"""Age at which a lock of another machine, whose processes cannot be looked up, no longer counts."""

_DAY_S = 24 * 3600.0


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
        try:
            found = json.loads(read_bytes(path, most=_LONGEST))
            holder = cls(str(found["host"]), int(found["pid"]), float(found["since"]), str(found["token"]))
            time.localtime(holder.since)  # a damaged one may name no time
            return holder
        except (ArtefactError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def is_at_work(self) -> bool:
        """Whether its process may still run; one with this process's own number was left by an earlier one."""
        if self.host == socket.gethostname():
            return is_alive(self.pid)
        return time.time() - self.since < STALE_S


@dataclass
class _Held:
    """A lock of this process: what it says, the folders that were made for it, and how many calls are inside."""

    holder: Holder
    made: list[Path]
    n_inside: int = 0


_held: dict[Path, _Held] = {}
"""The folders that this process has, for calls within calls and in other threads."""
_changing = Lock()
"""Held by the thread that enters or leaves a folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone while the block runs, without the temporary files of killed runs.

    A lock that a killed process left is taken over. The same process may enter a folder several times, as a command
    does that calls another, and from several threads; the last to leave gives it back.

    Raises:
        ArtefactError: the folder cannot be made or written to.
        ConfigError: another process is at work in the folder; its number, machine and start are named.
    """
    folder = _real(folder)
    with ExitStack() as stack:
        with _changing:
            if folder not in _held:
                made = _missing(folder)
                own = Holder(socket.gethostname(), os.getpid(), time.time(), token_hex(8))
                _take(folder / NAME, own)
                _held[folder] = _Held(own, made)
            _held[folder].n_inside += 1
            stack.callback(_leave, folder)
            if _held[folder].n_inside == 1:
                remove_partial_writes(folder)
        yield


def _real(folder: Path) -> Path:
    """One path of a folder that has several, by links or `..`."""
    try:
        return Path(os.path.realpath(folder))
    except ValueError as error:
        raise ArtefactError(f"{shown(folder)!r} is no path: it holds a character that no path has.") from error


def _missing(folder: Path) -> list[Path]:
    """A folder and those above it that are not there."""
    try:
        return [place for place in (folder, *folder.parents) if not place.exists()]
    except OSError as error:
        raise ArtefactError(
            f"could not write {shown(folder)}: {error.strerror or error}.", write_advice(error)
        ) from error


def _leave(folder: Path) -> None:
    with _changing:
        held = _held[folder]
        held.n_inside -= 1
        if held.n_inside:
            return
        del _held[folder]
        if Holder.read(folder / NAME) == held.holder:
            (folder / NAME).unlink(missing_ok=True)
        for place in held.made:  # a run that was refused leaves no empty folders
            with suppress(OSError):
                place.rmdir()


def alone_in(parameter: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes of a function one that has the folder of a parameter `locked` while it runs, where it is given one."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        asked = signature(function)
        assert parameter in asked.parameters, f"{function.__qualname__} has no parameter {parameter}"

        @wraps(function)
        def alone(*arguments: P.args, **options: P.kwargs) -> R:
            folder = asked.bind(*arguments, **options).arguments.get(parameter)
            with nullcontext() if folder is None else locked(Path(folder)):
                return function(*arguments, **options)

        return alone

    return decorate


@contextmanager
def scratch_folder(parent: Path, name: str, elsewhere: str) -> Iterator[Path]:
    """A hidden folder that is gone afterwards; those that killed processes left here under this name go first.

    A folder counts as left where the lock in it is of a process that is gone, or where it has none and is a day old.

    Args:
        elsewhere: how to have it in another place, for the message.

    Raises:
        ArtefactError: it cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}.", suffix=TEMPORARY)
    except OSError as error:
        raise ArtefactError(
            f"could not write {parent}: {error.strerror or error}.", write_advice(error, elsewhere)
        ) from error
    for left in parent.glob(f".{glob.escape(name)}.*{TEMPORARY}"):
        holder = Holder.read(left / NAME)
        with _changing:
            ours = _real(left) in _held
        if not ours and _is_left(left, holder):
            shutil.rmtree(left, ignore_errors=True)
    with scratch as made, locked(Path(made)):
        yield Path(made)


def _is_left(folder: Path, holder: Holder | None) -> bool:
    if holder is not None:
        return not holder.is_at_work()
    with suppress(FileNotFoundError):
        return time.time() - folder.stat().st_mtime > _DAY_S
    return False


def _take(path: Path, own: Holder) -> None:
    for _ in range(3):
        _create(path, own)
        holder = Holder.read(path)
        if holder == own:
            return
        if holder is not None and holder.is_at_work():
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
            raise ConfigError(
                f"another process is at work in {path.parent}: number {holder.pid} on {holder.host}, since {since}.",
                "Wait until it has finished, or choose another folder.",
                f"If there is no such process any more, delete {path}.",
            )
        _clear(path, holder, own)
    raise ConfigError(f"{path.parent} could not be locked: other processes take it at the same time.", "Try again.")


def _create(path: Path, own: Holder) -> None:
    """Create the lock, unless there is one."""
    written = _beside(path, own)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(json.dumps(asdict(own)))
        _place(written, path)
    except OSError as error:
        if not isinstance(error, FileExistsError) or not path.parent.is_dir():
            raise ArtefactError(f"could not write {path}: {error.strerror or error}.", write_advice(error)) from error
    finally:
        with suppress(OSError):
            written.unlink()


def _clear(path: Path, stale: Holder | None, own: Holder) -> None:
    """Take a stale lock away; one that another process has put in its place meanwhile is put back."""
    aside = _beside(path, own)
    if path.is_dir():
        raise ArtefactError(f"{path} is a folder.", "It stands where a lock is needed: move it away.")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if Holder.read(aside) != stale:
            with suppress(FileExistsError):
                _place(aside, path)
        aside.unlink()


def _beside(path: Path, own: Holder) -> Path:
    """A name beside a lock, of a file that the next run removes where this process is killed."""
    return path.with_name(f"{NAME}.{own.pid}-{own.token}{TEMPORARY}")


def _place(written: Path, path: Path) -> None:
    """Give a lock its name, whole at once; on a file system without links it is seen empty for a moment."""
    try:
        os.link(written, path)
    except FileExistsError:
        raise
    except OSError:
        text = written.read_text()
        with path.open("x") as lock:
            lock.write(text)
