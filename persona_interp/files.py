"""Files that somebody gives: opened only where they are regular files of a size that can be read."""

import errno
import os
import stat
from pathlib import Path

from persona_interp.errors import ArtefactError

MIB = 2**20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_READ_ADVICE = {
    errno.ELOOP: "Its symbolic links lead back to themselves: give the file itself.",
    errno.ENAMETOOLONG: "A name has at most 255 bytes: give a shorter path.",
    errno.ENOTDIR: "A part of the path is a file, not a folder.",
    errno.EACCES: "Change its permissions, or give another.",
    errno.EPERM: "Change its permissions, or give another.",
}


def shown(path: Path | str, longest: int = 300) -> str:
    """A path in a message: its middle left out where it is long."""
    text = str(path)
    return text if len(text) <= longest else f"{text[: longest // 2]}…{text[-longest // 2 :]}"


def file_size(path: Path, *, most: int | None = None, remedy: str = "") -> int:
    """Bytes of a regular file, which is not opened.

    Args:
        most: the largest size that is taken.
        remedy: what to do where the file cannot be used.

    Raises:
        ArtefactError: there is none, it cannot be reached, it is a folder, a pipe, a socket or a device, which might be
            waited for without end, or it is larger.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise ArtefactError(f"{shown(path)} does not exist.", f"In {shown(path.parent)}: {_near(path)}.") from error
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise ArtefactError(f"{shown(path)!r} is no path: it holds a character that no path has.") from error
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is not None:
        raise ArtefactError(f"{shown(path)} is {kind}.", "Expected a file.", *_given(remedy))
    if most is not None and found.st_size > most:
        size = f"{found.st_size / MIB:,.0f} MiB"
        raise ArtefactError(
            f"{shown(path)} was not read: it has {size}, at most {most / MIB:,.0f} are expected.", *_given(remedy)
        )
    return found.st_size


def read_bytes(path: Path, *, most: int | None = None, remedy: str = "") -> bytes:
    """Read a regular file whole, with an error that names it and says what is in its folder.

    Args:
        most: the largest size, in bytes, that is read.
        remedy: what to do where the file cannot be used.

    Raises:
        ArtefactError: as for `file_size`, or the system does not let it be read.
    """
    file_size(path, most=most, remedy=remedy)
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    except MemoryError as error:
        raise ArtefactError(f"{shown(path)} does not fit in memory.") from error


def unreadable(path: Path, error: OSError) -> ArtefactError:
    """The error for a file that the system does not let be read, with what to do."""
    reason = error.strerror or os.strerror(error.errno or errno.EIO)
    return ArtefactError(f"could not read {shown(path)}: {reason}.", *_given(_READ_ADVICE.get(error.errno or 0, "")))


def _near(path: Path) -> str:
    """Eight names of the folder in which a file was looked for."""
    try:
        return ", ".join(sorted(shown(one.name, 60) for one in path.parent.iterdir())[:8]) or "nothing"
    except OSError:
        return "nothing"


def _given(remedy: str) -> tuple[str, ...]:
    return (remedy,) if remedy else ()
