"""The header of a GGUF file, read against its size: a library is only given files that hold what they say."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_KEPT = 2**16
"""Bytes of a text that is kept; longer ones (chat templates, say) are only stepped over."""
_MOST_ENTRIES = 2**22
"""Entries of an array: more than any vocabulary has, few enough to be read one by one."""
_MOST_DIMENSIONS, _LEAST_FIELD, _LEAST_TENSOR = 4, 13, 24
_BLOCK_SIZES = ".block_count", ".embedding_length", ".vocab_size", ".feed_forward_length", ".attention.head_count"


class DamagedGgufError(ValueError):
    """A GGUF file's header does not fit the file."""


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself: single values by their keys, shapes of tensors by their names."""

    fields: Mapping[str, object]
    tensors: Mapping[str, tuple[int, ...]]


def read_gguf_header(path: Path) -> GgufHeader:
    """The header of a file whose every count and length fits in what the file holds.

    Raises:
        DamagedGgufError: the file is no GGUF file, ends too early, or claims more than it holds.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return _Reader(file, path.stat().st_size).header()


class _Reader:
    """Steps through a file, never past its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._order = file, size, "<"

    def header(self) -> GgufHeader:
        if self._bytes(4) != _MAGIC:
            raise DamagedGgufError("it does not begin with GGUF")
        version = self._bytes(4)
        self._order = ">" if version[:2] == b"\0\0" else "<"
        if (number := struct.unpack(f"{self._order}I", version)[0]) not in _VERSIONS:
            raise DamagedGgufError(f"it is of version {number}, not {' or '.join(map(str, _VERSIONS))}")
        n_tensors, n_fields = self._scalar("Q"), self._scalar("Q")
        self._fits("tensors", n_tensors, _LEAST_TENSOR)
        self._fits("fields", n_fields, _LEAST_FIELD)
        fields: dict[str, object] = {}
        for _ in range(n_fields):
            name = self._text() or ""
            fields[name] = self._value(self._scalar("I"), name)
        tensors = {name: (shape, kind, offset) for name, shape, kind, offset in map(self._tensor, range(n_tensors))}
        self._check_data(fields.get("general.alignment", 32), tensors)
        return GgufHeader(fields, {name: shape for name, (shape, _, _) in tensors.items()})

    def _value(self, kind: int, name: str, depth: int = 0) -> object:
        """A value, None for an array or a long text."""
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY or depth > 1:
            raise DamagedGgufError(f"the field {name[:60]!r} is of an unknown type, {kind}")
        inner, n = self._scalar("I"), self._scalar("Q")
        least = struct.calcsize(f"<{_SCALARS[inner]}") if inner in _SCALARS else 8
        self._fits(f"entries of {name[:60]!r}", n, least)
        if n > _MOST_ENTRIES:
            raise DamagedGgufError(f"{name[:60]!r} has {n} entries, more than any vocabulary")
        if inner in _SCALARS:
            self._skip(n * least)
        else:
            for _ in range(n):
                self._value(inner, name, depth + 1)
        return None

    def _tensor(self, _: int) -> tuple[str, tuple[int, ...], int, int]:
        name, n_dimensions = self._text() or "", self._scalar("I")
        if n_dimensions > _MOST_DIMENSIONS:
            raise DamagedGgufError(f"the tensor {name[:60]!r} has {n_dimensions} dimensions")
        shape = tuple(self._scalar("Q") for _ in range(n_dimensions))
        return name, shape, self._scalar("I"), self._scalar("Q")

    def _check_data(self, alignment: object, tensors: Mapping[str, tuple[tuple[int, ...], int, int]]) -> None:
        """Refuse tensors that lie beyond the end of the file."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise DamagedGgufError(f"its alignment is {alignment}, which is no power of two")
        start = -(-self._file.tell() // alignment) * alignment
        for name, (shape, kind, offset) in tensors.items():
            try:
                per_block, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            except (ValueError, KeyError):
                raise DamagedGgufError(f"the tensor {name[:60]!r} is of an unknown type, {kind}") from None
            end = start + offset + -(-prod(shape) // per_block) * n_bytes
            if end > self._size:
                raise DamagedGgufError(f"the tensor {name[:60]!r} ends at byte {end} of {self._size}")

    def _fits(self, what: str, n: int, least: int) -> None:
        if n * least > self._size - self._file.tell():
            raise DamagedGgufError(f"it claims {n} {what}, more than its {self._size} bytes hold")

    def _text(self) -> str | None:
        n = self._scalar("Q")
        self._fits("bytes of text", n, 1)
        if n > _MOST_KEPT:
            self._skip(n)
            return None
        try:
            return self._bytes(n).decode()
        except UnicodeDecodeError:
            raise DamagedGgufError("a text in it is not UTF-8") from None

    def _scalar(self, form: str) -> int:
        return struct.unpack(self._order + form, self._bytes(struct.calcsize(f"<{form}")))[0]

    def _bytes(self, n: int) -> bytes:
        found = self._file.read(n)
        if len(found) < n:
            raise DamagedGgufError("it ends inside its header")
        return found

    def _skip(self, n: int) -> None:
        self._file.seek(n, 1)


def implausible_sizes(header: GgufHeader) -> str | None:
    """What a model's file says of its own sizes that cannot be; None where all can be."""
    for key, value in header.fields.items():
        if not key.endswith(_BLOCK_SIZES) or value is None:
            continue
        most = len(header.tensors) if key.endswith(".block_count") else 2**24
        if not isinstance(value, int) or not 1 <= value <= most:
            return f"it says {key} = {value}"
    return None
