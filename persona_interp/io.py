"""Saving and loading: safetensors and JSON manifests, atomic writes, hashes checked on load. Never pickle."""

import errno
import hashlib
import json
import os
import re
import tempfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from persona_interp.errors import ArtefactError, DataError

MANIFEST_VERSION = 1
TEMPORARY = ".persona-interp.tmp"
"""How the name of every temporary file of this program ends, so that no other file is ever taken for one."""
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
MOST_BYTES = 80
"""Of a name that becomes part of a path: two of them, a prefix and a suffix fit the 255 bytes of a file name."""
REMEDY = "Restore it, or delete it and run the same command again."
RESTORE = "Restore both the file and its manifest, or delete both and make them again."
Kinds = Mapping[str, type | tuple[type, ...]]
"""Keys of a JSON object with the types that their values may have."""
_WORDS: Mapping[type, str] = {
    **{dict: "an object", list: "a list", str: "a text", bool: "true or false"},
    **{int: "a whole number", float: "a number", NoneType: "null"},
}
_ADVICE = {
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
}
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that are devices on some systems, whatever their ending."""


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to disk, and rename: never a partial file."""
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
        if not isinstance(error, OSError):
            raise
        raise ArtefactError(
            f"could not write {path} ({len(data):,} bytes): {error.strerror or error}.",
            "Nothing was written there.",
            f"{write_advice(error)} Then run the same command again: it goes on where it stopped.",
        ) from error


def write_advice(error: OSError, other: str = "choose another folder") -> str:
    """What to do where a file could not be written; space is spoken of only where there is none.

    Args:
        other: how to write elsewhere.
    """
    found = _ADVICE.get(error.errno or 0)
    return f"{other[:1].upper()}{other[1:]}." if found is None else f"{found}, or {other}."


def _cut(name: str) -> str:
    """At most 100 bytes of a name, so that a temporary one is no longer than the system allows."""
    return name.encode()[:100].decode(errors="ignore")


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


def path_part(name: str, what: str) -> str:
    """A name that becomes a file or folder inside an output folder, unchanged; anything that could leave it is refused.

    Args:
        what: the kind of name, for the message: "trait", "style", "inventory".

    Raises:
        DataError: the name is empty, too long or that of a device, begins with a dot or a dash, ends with a dot, or
            holds a separator or a control character.
    """
    bad = any(part in '/\\:*?"<>|' or unicodedata.category(part).startswith("C") for part in name)
    edges = not name.strip() or name != name.strip() or name[0] in ".-~" or name[-1] == "."
    if bad or edges or _RESERVED.fullmatch(name) or len(name.encode(errors="replace")) > MOST_BYTES:
        raise DataError(
            f"{name[:60]!r} cannot be the name of a {what}: files are named after it.",
            f"Give 1 to {MOST_BYTES} bytes without separators (/ \\ :), wildcards, quotes or control characters, that"
            " do not begin with a dot, a dash or a tilde, do not end with a dot, and are no device's (NUL, CON).",
        )
    return name


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically, with sorted keys so that equal content is equal bytes."""
    atomic_write_bytes(path, (json.dumps(data, indent=2, sort_keys=True, default=str) + "\n").encode())


def read_json(path: Path, *, remedy: str = "Restore it or delete it and make it again.") -> Any:
    """Read a JSON file.

    Args:
        remedy: what to do where the file cannot be used.

    Raises:
        ArtefactError: it is missing, or cannot be read as JSON: truncated, not UTF-8, nested too deep.
    """
    data = read_bytes(path)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # a number of too many digits is a ValueError
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise ArtefactError(f"{path} is not valid JSON: {reason}.", f"It may be truncated. {remedy}") from error


def read_record(
    path: Path, keys: Kinds | None = None, *, optional: Kinds | None = None, remedy: str = REMEDY
) -> dict[str, Any]:
    """Read a JSON file that holds an object with these keys.

    Args:
        keys: each with the Python type of its value, or several; `bool` is no `int` here, and an `int` is a `float`.
        optional: keys that may be missing, but not of another type.
        remedy: what to do where the file cannot be used.

    Raises:
        ArtefactError: it is missing, no JSON or no object, or a key is missing or of another type; names the key, what
            is there and what was expected.
    """
    found = read_json(path, remedy=remedy)
    if not isinstance(found, dict):
        raise ArtefactError(f"{path} holds {_shown(found)}.", "Expected an object.", remedy)
    check_record(path, found, keys or {}, remedy=remedy)
    check_record(path, found, {key: kind for key, kind in (optional or {}).items() if key in found}, remedy=remedy)
    return found


def check_record(path: Path, found: Mapping[str, Any], keys: Kinds, *, remedy: str = REMEDY) -> None:
    """Refuse an object of a JSON file that lacks one of these keys, or has it with a value of another type.

    Raises:
        ArtefactError: names the file, the key, what is there and what was expected.
    """
    for key, kind in keys.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(_WORDS[one] for one in kinds)
        if key not in found:
            held = ", ".join(sorted(found)[:8]) or "nothing"
            raise ArtefactError(f"{path} has no {key}.", f"Expected {expected}; it has {held[:160]}.", remedy)
        value = found[key]
        allowed = (*kinds, int) if float in kinds else kinds
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in kinds):
            raise ArtefactError(f"{path}: {key} is {_shown(value)}.", f"Expected {expected}.", remedy)


def _shown(value: Any) -> str:
    """A JSON value in a message: what it is, and itself where it is short."""
    name = _WORDS.get(type(value), type(value).__name__)
    return f"{name}, {value!r:.60}" if isinstance(value, bool | int | float | str) else name


def read_bytes(path: Path) -> bytes:
    """Read a file, with an error that names it and says what is in its folder."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        near = sorted(p.name for p in path.parent.glob("*"))[:8] if path.parent.is_dir() else []
        raise ArtefactError(
            f"{path} does not exist.",
            f"In {path.parent}: {', '.join(near) or 'nothing'}.",
        ) from error
    except OSError as error:
        raise ArtefactError(f"could not read {path}: {error.strerror or error}.") from error


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(data: Any) -> str:
    """Hex SHA-256 of data in canonical JSON."""
    return sha256_bytes(json.dumps(data, sort_keys=True, default=str).encode())


def manifest_path(path: Path) -> Path:
    """The manifest that belongs to an artefact: `evil.safetensors` has `evil.json`."""
    return path.with_suffix(".json")


def save_tensors(path: Path, tensors: Mapping[str, Float[Tensor, "..."]], *, kind: str, manifest: Any) -> None:
    """Save tensors as safetensors with a JSON manifest beside them that holds their hash.

    The manifest is written last, so an interrupted save is seen as missing, not as whole.
    """
    data = save_safetensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    atomic_write_bytes(path, data)
    write_json(
        manifest_path(path),
        {"kind": kind, "manifest_version": MANIFEST_VERSION, "sha256": sha256_bytes(data), **manifest},
    )


def load_tensors(
    path: Path, *, kind: str, keys: Kinds | None = None
) -> tuple[dict[str, Float[Tensor, "..."]], dict[str, Any]]:
    """Load tensors and their manifest, refusing another kind, a missing manifest and altered bytes.

    Args:
        keys: of the manifest, as in `read_record`.

    Raises:
        ArtefactError: the file or its manifest is missing, truncated, altered or of another kind.
    """
    if path.suffix in PICKLES:
        raise ArtefactError(
            f"{path} was not opened: a {path.suffix} file is a pickle, which can run code when it is read.",
            f"Expected the .safetensors file of a {kind}, with its .json manifest beside it.",
        )
    data, manifest = read_bytes(path), read_record(manifest_path(path), {"kind": str}, remedy=RESTORE)
    if manifest["kind"] != kind:
        raise ArtefactError(f"{manifest_path(path)} describes {manifest['kind']!r}.", f"Expected {kind!r}.")
    if manifest.get("sha256") != sha256_bytes(data):
        raise ArtefactError(
            f"{path} does not match its manifest: expected SHA-256 {str(manifest.get('sha256'))[:12]}…,"
            f" got {sha256_bytes(data)[:12]}….",
            f"The file or its manifest was truncated or altered after saving. {RESTORE}",
        )
    check_record(manifest_path(path), manifest, keys or {}, remedy=RESTORE)
    try:
        return load_safetensors(data), manifest
    except SafetensorError as error:
        raise ArtefactError(f"{path} is not a whole safetensors file: {error}.", RESTORE) from error
