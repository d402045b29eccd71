"""Tables of R data files: .rda, and the .rdb in which an installed R package keeps all its data sets."""

import bz2
import lzma
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.data.optional import imported
from persona_interp.errors import ArtefactError, DataError
from persona_interp.files import MOST_WHOLE, read_bytes

_LENGTH = 4
_DAMAGED = (
    *(ValueError, NotImplementedError, EOFError, OSError, lzma.LZMAError, zlib.error, KeyError, IndexError, TypeError),
    *(AttributeError, AssertionError, RecursionError, OverflowError, MemoryError, struct.error),
)
"""What rdata and the unpackers raise at damaged files."""


def read_frames(path: Path, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The tables of these names that an R file holds.

    Raises:
        MissingPackageError: `rdata` is not installed.
        DataError: neither .rda nor .rdb.
        ArtefactError: the file is missing or broken.
    """
    if path.suffix.lower() not in (".rda", ".rdata", ".rdb"):
        raise DataError(f"{path} is no R data file.", "Expected .rda or .rdb.")
    data = read_bytes(path, most=MOST_WHOLE)
    rdata = imported("rdata", "rdata", path.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            if path.suffix.lower() == ".rdb":
                found = _lazy_objects(rdata, path, data, names)
            else:
                found = rdata.conversion.convert(rdata.parser.parse_data(data))
    except _DAMAGED as error:
        raise ArtefactError(f"{path} is not a whole R data file: {error}.", "Restore it or make it again.") from error
    return {name: frame for name, frame in found.items() if name in names and isinstance(frame, pd.DataFrame)}


def _lazy_objects(rdata: Any, path: Path, data: bytes, names: Sequence[str]) -> dict[str, Any]:
    """Objects of a lazy-load database: the .rdx has offset and length of each in the .rdb, and how they are packed."""
    index = rdata.conversion.convert(rdata.parser.parse_data(read_bytes(path.with_suffix(".rdx"))))
    packing = int(index["compressed"][0])
    found = {}
    for name, (offset, length) in index["variables"].items():
        if name in names:
            block = _unpacked(data[int(offset) + _LENGTH : int(offset) + int(length)], packing)
            found[str(name)] = rdata.conversion.convert(rdata.parser.parse_data(block))
    return found


def _unpacked(block: bytes, packing: int) -> bytes:
    """A block without its length: zlib, or one letter and what it stands for."""
    if packing == 0:
        return block
    if packing == 1:
        return zlib.decompress(block)
    kind, rest = block[:1], block[1:]
    if kind == b"Z":
        return lzma.decompress(rest, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])
    return bz2.decompress(rest) if kind == b"2" else rest
