"""One process at a time in an output folder: a lock file that says who holds it."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.io import is_alive, remove_partial_writes

NAME = ".persona-interp.lock"
STALE_S = 7 * 24 * 3600.0
"""Age at which a lock of another machine, whose processes cannot be looked up, no longer counts."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone while the block runs, without the temporary files of killed runs.

    A lock that a killed process left is taken over. The same process may enter a folder twice, as a command does that
    calls another.

    Raises:
        ConfigError: another process is at work in the folder; its number, machine and start are named.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    path = folder / NAME
    mine = _take(path)
    try:
        if mine:
            remove_partial_writes(folder)
        yield
    finally:
        if mine:
            path.unlink(missing_ok=True)
            for place in made:  # a run that was refused leaves no empty folders
                with suppress(OSError):
                    place.rmdir()


def _take(path: Path) -> bool:
    """Whether the lock was taken now; false where this process had it already."""
    own = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
    for _ in range(3):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x") as lock:
                json.dump(own, lock)
            return True
        except FileExistsError:
            if not path.parent.is_dir():
                raise ArtefactError(
                    f"could not write {path}: {path.parent} is not a folder.", "Choose another one."
                ) from None
            holder = _holder(path)
        except OSError as error:
            raise ArtefactError(
                f"could not write {path}: {error.strerror or error}.", "Choose another folder."
            ) from error
        if holder is not None and (holder["host"], holder["pid"]) == (own["host"], own["pid"]):
            return False
        if holder is not None and _is_held(holder, own["host"]):
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
            raise ConfigError(
                f"another process is at work in {path.parent}: number {holder['pid']} on {holder['host']}, since"
                f" {since}.",
                "Wait until it has finished, or choose another folder.",
                f"If there is no such process any more, delete {path}.",
            )
        path.unlink(missing_ok=True)
    raise ConfigError(f"{path.parent} could not be locked: other processes take it at the same time.", "Try again.")


def _is_held(holder: dict, host: str) -> bool:
    if holder["host"] == host:
        return is_alive(holder["pid"])
    return time.time() - holder["since"] < STALE_S


def _holder(path: Path) -> dict | None:
    """What a lock says; None where it is gone or was never finished."""
    for _ in range(5):  # another process may be between making the file and writing it
        try:
            found = json.loads(path.read_text())
            return {"host": str(found["host"]), "pid": int(found["pid"]), "since": float(found["since"])}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            time.sleep(0.02)
    return None
