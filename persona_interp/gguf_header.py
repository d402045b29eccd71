"""The header of a GGUF file against the file's own size, before anything else reads it.

Readers allocate what a header claims, and go through an array entry by entry: a file of 60 bytes can claim 2^40 of
them. Here every claim is compared with the bytes that are left.

Source: the specification of GGUF, versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md).
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from persona_interp.errors import ArtefactError
from persona_interp.files import file_size, shown, unreadable

VERSIONS = (2, 3)
MOST_ENTRIES = 8_000_000
"""Entries of all arrays: the largest vocabularies with their scores, types and merges have 1.5 million."""
MOST_KEYS, MOST_TENSORS, MOST_AXES = 65_536, 1_000_000, 4
LONGEST_NAME = 65_535
_STRING, _ARRAY = 8, 9
_WHOLE = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q"}
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of the kinds of numbers."""
REMEDY = "It may be truncated or damaged. Restore it, download it again or make it again."


class _Bad(Exception):
    """What is wrong with a header."""


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor is in a file.

    Args:
        kind: the number of its type, as `gguf.GGMLQuantizationType` has it.
        shape: its axes, the one along which values lie side by side last.
        start: its first byte in the file.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    start: int
    n_bytes: int


@dataclass(frozen=True)
class GGUFHeader:
    """What a header says, all of which the file holds.

    Args:
        architecture: by `general.architecture`; empty where it is not said.
        numbers: whole numbers by their keys.
        little_endian: whether the lowest byte of a number comes first.
    """

    architecture: str
    numbers: dict[str, int]
    tensors: tuple[TensorPlace, ...]
    little_endian: bool


@dataclass
class _Header:
    """A place in a file, and what was counted up to it."""

    data: mmap.mmap
    order: str
    at: int = 4
    entries: int = 0

    def skip(self, n_bytes: int, what: str) -> int:
        """Go on by a number of bytes; the place before."""
        left = len(self.data) - self.at
        if n_bytes > left:
            raise _Bad(f"{what} must have {n_bytes:,} bytes, and {left:,} are left")
        before, self.at = self.at, self.at + n_bytes
        return before

    def number(self, code: str, what: str) -> int:
        return struct.unpack_from(self.order + code, self.data, self.skip(struct.calcsize(code), what))[0]

    def name(self, what: str) -> str:
        length = self.number("Q", f"the length of {what}")
        start = self.skip(length, what)
        if length > LONGEST_NAME:
            raise _Bad(f"{what} is a name of {length:,} bytes")
        try:
            return self.data[start : self.at].decode()
        except UnicodeDecodeError as error:
            raise _Bad(f"{what} is no text in UTF-8") from error

    def count(self, what: str, most: int, least_bytes: int) -> int:
        """How many of something there are said to be, each of at least so many bytes."""
        n = self.number("Q", f"the number of {what}")
        if n > most or n * least_bytes > len(self.data):
            raise _Bad(f"{n:,} {what} cannot be in a file of {len(self.data):,} bytes")
        return n


def check_gguf(path: Path, *, most_entries: int = MOST_ENTRIES) -> GGUFHeader:
    """The header of a GGUF file, refused where it claims more than the file holds; nothing else of the file is read.

    Args:
        most_entries: of all arrays together.

    Raises:
        ArtefactError: the file is missing, no regular file or no GGUF file, of another version, truncated, or its
            header claims keys, entries, tensors or sizes that are not there, repeats a name or names a type that GGUF
            does not have.
    """
    size = file_size(path, remedy=REMEDY)
    try:
        if size < 24:
            raise _Bad(f"it has {size} bytes, and the shortest header has 24")
        with _mapped(path) as data:
            return _check(data, most_entries)
    except _Bad as error:
        raise ArtefactError(f"{shown(path.name)} is not a whole GGUF file: {error}.", REMEDY) from error


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as handle:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise unreadable(path, error) from error
    with data:
        yield data


def _check(data: mmap.mmap, most_entries: int) -> GGUFHeader:
    if data[:4] != b"GGUF":
        raise _Bad(f"it begins with {bytes(data[:4])!r}, not with b'GGUF'")
    header = _Header(data, ">" if data[4:6] == b"\0\0" else "<")
    version = header.number("I", "the version")
    if version not in VERSIONS:
        raise _Bad(f"its version is {version}, expected 2 or 3")
    n_tensors = header.count("tensors", MOST_TENSORS, 24)
    numbers: dict[str, int] = {"general.alignment": 32}
    keys: set[str] = set()
    architecture = ""
    for _ in range(header.count("keys", MOST_KEYS, 13)):
        key = header.name("a key")
        _once(key, keys, "key")
        at = header.at + 4
        kind = _check_value(header, key, most_entries)
        if kind in _WHOLE:
            numbers[key] = struct.unpack_from(header.order + _WHOLE[kind], data, at)[0]
        elif key == "general.architecture" and kind == _STRING:
            architecture = data[at + 8 : header.at].decode(errors="replace")
        elif key == "general.alignment":
            raise _Bad("general.alignment is no whole number")
    alignment = numbers["general.alignment"]
    if alignment < 1 or alignment & (alignment - 1):
        raise _Bad(f"its alignment is {alignment}, expected a power of two")
    names: set[str] = set()
    places = [_place(header, names) for _ in range(n_tensors)]
    start = -(-header.at // alignment) * alignment
    for place in places:
        if place.start % alignment:
            raise _Bad(f"the tensor {_short(place.name)} begins at {place.start:,}, not at a multiple of {alignment}")
        end = start + place.start + place.n_bytes
        if end > len(data):
            raise _Bad(
                f"the tensor {_short(place.name)} must end at byte {end:,} of {len(data):,}, which is behind the end"
            )
    tensors = tuple(replace(place, start=start + place.start) for place in places)
    return GGUFHeader(architecture, numbers, tensors, header.order == "<")


def _check_value(header: _Header, key: str, most_entries: int) -> int:
    """Pass the value of a key, and return the number of its kind."""
    what = _short(key)
    kind = header.number("I", f"the kind of {what}")
    if kind == _STRING:
        header.skip(header.number("Q", f"the length of {what}"), what)
    elif kind == _ARRAY:
        item = header.number("I", f"the kind of {what}")
        n = header.number("Q", f"the length of {what}")
        header.entries += n
        if item != _STRING and item not in _SIZES:
            raise _Bad(f"the array {what} holds values of the kind {item}, which GGUF does not have there")
        if header.entries > most_entries or n * _SIZES.get(item, 8) > len(header.data) - header.at:
            raise _Bad(f"the array {what} must have {n:,} entries, more than such a file holds")
        if item == _STRING:
            for _ in range(n):
                header.skip(header.number("Q", f"a length in {what}"), f"an entry of {what}")
        else:
            header.skip(n * _SIZES[item], what)
    elif kind in _SIZES:
        header.skip(_SIZES[kind], what)
    else:
        raise _Bad(f"{what} is of the kind {kind}, which GGUF does not have")
    return kind


def _place(header: _Header, names: set[str]) -> TensorPlace:
    """The next tensor, its start counted from where the values of all tensors begin."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    name = header.name("the name of a tensor")
    _once(name, names, "tensor")
    n_axes = header.number("I", "a number of axes")
    if not 1 <= n_axes <= MOST_AXES:
        raise _Bad(f"the tensor {_short(name)} has {n_axes:,} axes, expected 1 to {MOST_AXES}")
    axes = [header.number("Q", "an axis") for _ in range(n_axes)]
    kind, offset = header.number("I", "the type of a tensor"), header.number("Q", "an offset")
    try:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError) as error:
        raise _Bad(f"the tensor {_short(name)} is of the type {kind}, which is not known") from error
    if axes[0] % block:
        raise _Bad(f"the tensor {_short(name)} has rows of {axes[0]:,} numbers, expected a multiple of {block}")
    return TensorPlace(name, kind, tuple(reversed(axes)), offset, prod(axes) // block * block_bytes)


def _once(name: str, seen: set[str], what: str) -> None:
    if not name or name in seen:
        raise _Bad(f"it has the {what} {_short(name)} twice" if name else f"a {what} has no name")
    seen.add(name)


def _short(name: str) -> str:
    return repr(name[:60])
