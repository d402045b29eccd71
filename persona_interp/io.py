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
    except ProcessLookupError:
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


def read_json(path: Path) -> Any:
    """Read a JSON file, with an error that names it."""
    try:
        return json.loads(read_bytes(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(
            f"{path} is not valid JSON: {error}.", "It may be truncated. Restore it or delete it and make it again."
        ) from error


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


def load_tensors(path: Path, *, kind: str) -> tuple[dict[str, Float[Tensor, "..."]], dict[str, Any]]:
    """Load tensors and their manifest, refusing another kind, a missing manifest and altered bytes.

    Raises:
        ArtefactError: the file or its manifest is missing, truncated, altered or of another kind.
    """
    if path.suffix in PICKLES:
        raise ArtefactError(
            f"{path} was not opened: a {path.suffix} file is a pickle, which can run code when it is read.",
            f"Expected the .safetensors file of a {kind}, with its .json manifest beside it.",
        )
    data, manifest = read_bytes(path), read_json(manifest_path(path))
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise ArtefactError(f"{manifest_path(path)} describes {found!r}.", f"Expected {kind!r}.")
    if manifest.get("sha256") != sha256_bytes(data):
        raise ArtefactError(
            f"{path} does not match its manifest: expected SHA-256 {str(manifest.get('sha256'))[:12]}…,"
            f" got {sha256_bytes(data)[:12]}….",
            "The file or its manifest was truncated or altered after saving. Restore both or make them again.",
        )
    try:
        return load_safetensors(data), manifest
    except SafetensorError as error:
        raise ArtefactError(
            f"{path} is not a whole safetensors file: {error}.", "Restore it or make it again."
        ) from error
