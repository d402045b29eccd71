"""Files: read only where they are regular files of a size that can be read, written whole or not at all."""

import errno
import os
import re
import stat
import tempfile
from pathlib import Path

from persona_interp.errors import ArtefactError

MIB = 2**20
MOST_WHOLE = 1024 * MIB
"""Bytes of a table or a text that is read whole."""
TEMPORARY = ".persona-interp.tmp"
"""How the name of every temporary file of this program ends, so that no other file is ever taken for one."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_WRITE_ADVICE = {
    errno.ENOSPC: "Free space",
    errno.EDQUOT: "Free space of your quota",
    errno.EACCES: "Change the permissions of the folder",
    errno.EPERM: "Change the permissions of the folder",
    errno.EROFS: "Mount the file system so that it can be written to",
    errno.EISDIR: "Move the folder of that name away",
    errno.ENOTEMPTY: "Move the folder of that name away",
    errno.EEXIST: "Move the file that stands where a folder is needed away",
    errno.ENOTDIR: "Move the file that stands where a folder is needed away",
    errno.ENAMETOOLONG: "Give a shorter name or path",
    errno.ELOOP: "Take away the symbolic link that leads back to itself",
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


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to disk, and rename: never a partial file.

    Raises:
        ArtefactError: it cannot be written, or a pipe, a socket or a device is there, which would be replaced.
    """
    _refuse_special(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{_cut(path.name)}.{os.getpid()}-", suffix=TEMPORARY
        )
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, ValueError):
            raise ArtefactError(f"{shown(path)!r} is no path: it holds a character that no path has.") from error
        if not isinstance(error, OSError):
            raise
        raise ArtefactError(
            f"could not write {shown(path)} ({len(data):,} bytes): {error.strerror or error}.",
            "Nothing was written there.",
            f"{write_advice(error)} Then run the same command again: it goes on where it stopped.",
        ) from error


def _refuse_special(path: Path) -> None:
    """A rename takes the place of whatever is there: of /dev/null as well, for the whole machine."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return  # nothing is there, or writing says what is wrong
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ArtefactError(
            f"could not write {shown(path)}: it is {_KINDS[stat.S_IFMT(mode)]}, which would be replaced.",
            "Nothing was written there.",
            "Give the path of a file; one that is not there is made.",
        )


def write_advice(error: OSError, other: str = "choose another folder") -> str:
    """What to do where a file could not be written; space is spoken of only where there is none.

    Args:
        other: how to write elsewhere.
    """
    found = _WRITE_ADVICE.get(error.errno or 0)
    return f"{other[:1].upper()}{other[1:]}." if found is None else f"{found}, or {other}."


def _cut(name: str) -> str:
    """At most 100 bytes of a name, so that a temporary one is no longer than the system allows."""
    return os.fsencode(name)[:100].decode(errors="ignore")


def remove_partial_writes(folder: Path) -> None:
    """Delete the temporary files that killed processes of this program left in a folder.

    Files of other programs stay, whatever their names, and so do those of a process that is still alive.
    """
    for left in folder.rglob(f".*{TEMPORARY}"):
        written_by = re.fullmatch(r".*\.(\d+)-[^.]*", left.name.removesuffix(TEMPORARY))
        if written_by and not is_alive(int(written_by[1])):
            left.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether another process of this machine has this number; this one counts as gone, having nothing half written."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no process can have a number that large
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False where the system cannot say, as of a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; False where the system cannot say."""
    try:
        return path.is_dir()
    except OSError:
        return False


def expanded(path: Path | str) -> Path:
    """A path with `~` as the user's folder; unchanged where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
