"""How a command ends on SIGTERM, which schedulers send before they kill: as on Ctrl-C, with exit code 143.

Nothing here runs when the library is imported: the command line enters `ends_on_sigterm`.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes: 128 and the number of the signal, as shells have it."""


KEPT = " What was finished is kept: run the same command again to go on."


class Terminated(KeyboardInterrupt):
    """SIGTERM came. What cleans up after Ctrl-C cleans up after this."""


@dataclass
class _State:
    pid: int = 0
    told: bool = False
    folder: Path | None = None


_state = _State()


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """A block that SIGTERM ends as Ctrl-C does: one line on standard error, and exit code 143.

    A second SIGTERM ends the process at once. Nothing changes outside the main thread, in a block within such a block,
    or where SIGTERM is ignored or handled by somebody else.

    Raises:
        SystemExit: with 143, once the block has been left.
    """
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not mine or _state.told:
        yield
        return
    _state.pid, _state.folder = os.getpid(), None
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except BaseException:
        if not _state.told:  # else whatever came of the exception on its way, such as an import that failed
            raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if _state.told:
        sys.stderr.write(f"ended by SIGTERM.{kept()}\n")
        raise SystemExit(TERMINATED)


def told() -> bool:
    """Whether SIGTERM came: then nothing else is to be said."""
    return _state.told


def writes_to(folder: Path) -> None:
    """Say that the command keeps what it finishes in a folder."""
    _state.folder = folder


def kept() -> str:
    """The sentence that what was finished is kept, where something is: more than the record of what is made there."""
    found = () if _state.folder is None else _state.folder.rglob("[!.]*")
    try:
        return KEPT if any(p.is_file() and not p.name.startswith(("identity", "config.")) for p in found) else ""
    except OSError:  # a folder that cannot be read or has no possible name
        return ""


def _end(number: int, frame: object) -> NoReturn:
    del frame
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    if os.getpid() != _state.pid:  # a forked worker has nothing to clean up
        os.kill(os.getpid(), number)
    _state.told = True
    raise Terminated
