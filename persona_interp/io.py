"""Saving and loading: safetensors and JSON manifests, atomic writes, hashes checked on load. Never pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from persona_interp.errors import ArtefactError
from persona_interp.files import TEMPORARY as TEMPORARY
from persona_interp.files import atomic_write_bytes as atomic_write_bytes
from persona_interp.files import file_size, read_bytes
from persona_interp.files import is_alive as is_alive
from persona_interp.files import remove_partial_writes as remove_partial_writes
from persona_interp.files import write_advice as write_advice
from persona_interp.records import REMEDY as REMEDY
from persona_interp.records import Kinds, check_record, read_record, text, write_json
from persona_interp.records import read_json as read_json
from persona_interp.texts import path_part as path_part

MANIFEST_VERSION = 1
PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
_VERSION: Kinds = {"manifest_version": int}
RESTORE = "Restore both the file and its manifest, or delete both and make them again."


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
    path: Path, *, kind: str, keys: Kinds | None = None, most: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load tensors and their manifest, refusing another kind, a missing manifest and altered bytes.

    Args:
        keys: of the manifest, as in `read_record`.
        most: bytes of a file that is read.

    Raises:
        ArtefactError: the file or its manifest is missing, truncated, altered or of another kind.
    """
    if path.suffix in PICKLES:
        raise ArtefactError(
            f"{path} was not opened: a {path.suffix} file is a pickle, which can run code when it is read.",
            f"Expected the .safetensors file of a {kind}, with its .json manifest beside it.",
        )
    data, manifest = read_described(path, kind=kind, version=MANIFEST_VERSION, most=most)
    check_record(manifest_path(path), manifest, keys or {}, remedy=RESTORE)
    return parse_safetensors(data, path), manifest


def read_described(path: Path, *, kind: str, version: int, most: int | None = None) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a file and its manifest, which says of which kind and version they are and has their hash.

    Args:
        version: of manifests, the last that is understood.
        most: bytes of a file that is read.

    Raises:
        ArtefactError: one of the two is missing, altered, of another kind, or of a later version.
    """
    file_size(path, most=most)
    place = manifest_path(path)
    manifest = read_record(place, {"kind": text(), "sha256": text()}, optional=_VERSION, remedy=RESTORE)
    if manifest["kind"] != kind:
        raise ArtefactError(f"{place} describes {manifest['kind']!r:.80}.", f"Expected {kind!r}.")
    if (found := manifest.get("manifest_version", 1)) > version:
        raise ArtefactError(
            f"{place} has version {found}, and this version of persona_interp reads up to {version}.",
            "Upgrade persona_interp, or make the file again with this one.",
        )
    data = read_bytes(path, most=most)
    if manifest["sha256"] != sha256_bytes(data):
        raise ArtefactError(
            f"{path} does not match its manifest: expected SHA-256 {manifest['sha256'][:12]}…,"
            f" got {sha256_bytes(data)[:12]}….",
            f"The file or its manifest was truncated or altered after saving. {RESTORE}",
        )
    return data, manifest


def parse_safetensors(data: bytes, path: Path, remedy: str = RESTORE) -> dict[str, Tensor]:
    """The tensors of a safetensors file, of whatever dtype.

    Raises:
        ArtefactError: it is truncated, or its header claims what is not there.
    """
    try:
        return load_safetensors(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        raise ArtefactError(f"{path} is not a whole safetensors file: {str(error)[:200]}.", remedy) from error
