"""Files of `torch.save`, which are pickles: read as tensors and plain containers only, or not at all."""

import pickle
import struct
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from persona_interp.errors import ArtefactError
from persona_interp.files import MIB, atomic_write_bytes, read_bytes
from persona_interp.io import sha256_bytes

MOST_BYTES = 1024 * MIB
"""Of a file: vectors of the largest models fill a few MiB."""
MOST_RECORDS = 5000
_DAMAGED = (
    *(RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, AssertionError),
    *(MemoryError, OverflowError, struct.error, zlib.error),
)
"""What the readers of torch and of zip files raise at damaged ones."""


def load_torch_file(path: Path) -> tuple[Any, str]:
    """What a `.pt` file holds, and the SHA-256 of its bytes.

    Only tensors, numbers, texts and plain containers are rebuilt (`weights_only=True`); nothing in the file can run.

    Raises:
        ArtefactError: missing, truncated, or it asks for anything else.
    """
    data = read_bytes(path, most=MOST_BYTES)
    _check_zip(data, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols: what cannot be read is an error here
            return torch.load(BytesIO(data), map_location="cpu", weights_only=True), sha256_bytes(data)
    except pickle.UnpicklingError as error:
        raise ArtefactError(
            f"{path.name} was not loaded: it is damaged, or holds more than tensors and plain containers.",
            "A .pt file is a pickle, which can run code when it is read; nothing of this one was run.",
            "Have its maker save the tensors alone: torch.save(vectors, path), a tensor or a dict of tensors.",
        ) from error
    except _DAMAGED as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ArtefactError(
            f"{path.name} is not a whole .pt file: {reason}.", "It may be truncated. Restore it or download it again."
        ) from error


def _check_zip(data: bytes, path: Path) -> None:
    """Refuse an archive that unpacks to more than it holds: torch.save never compresses.

    Raises:
        ArtefactError: a record is compressed, or there are more than any file of vectors has.
    """
    if not data.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, *_DAMAGED):
        return  # torch says what is wrong
    if len(records) > MOST_RECORDS:
        raise ArtefactError(
            f"{path.name} was not loaded: it has {len(records):,} records, at most {MOST_RECORDS:,} are expected.",
            "A file of vectors has one or two a layer.",
        )
    packed = [record for record in records if record.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ArtefactError(
            f"{path.name} was not loaded: its record {packed[0].filename[:80]} is compressed.",
            "torch.save compresses nothing, so a small file would fill the memory. Have its maker save it again.",
        )


def save_torch_file(content: Any, path: Path) -> None:
    """Tensors and plain containers as a `.pt` file, written whole or not at all."""
    buffer = BytesIO()
    torch.save(content, buffer)
    atomic_write_bytes(path, buffer.getvalue())
