"""Bytes of data files: decompressed by what they hold, never more than a bound at once, and named where not text."""

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from persona_interp.data.sources import shown, suffix_of
from persona_interp.errors import ArtefactError

MIB = 2**20
LONGEST_LINE = 64 * MIB
"""Bytes of one line: what has no end must not fill the memory."""
LARGEST_WHOLE = 1024 * MIB
"""Bytes of a file that can only be read whole, decompressed: a JSON array, a compressed Parquet file."""
HEAD = 64 * 1024
_MANY = 1024
"""NUL bytes that no row begins with."""

_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_NO_PICKLE = "A pickle can run code when it is read. Export its rows as JSONL or Parquet."
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive (or an office document)", "Unpack it, or export it as CSV."),
    (b"BZh", "compressed by bzip2", "Unpack it, or compress it with gzip or zstd."),
    (b"\xfd7zXZ\x00", "compressed by xz", "Unpack it, or compress it with gzip or zstd."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it."),
    (b"SQLite format 3", "an SQLite database", "Export its rows as JSONL or Parquet."),
    (b"\x89HDF", "an HDF5 file", "Export its rows as JSONL or Parquet."),
    (b"%PDF", "a PDF document", "Give the data itself."),
    *((bytes((0x80, protocol)), "a pickle", _NO_PICKLE) for protocol in range(2, 6)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word document", "Export it as CSV in UTF-8."),
    (b"\x04\x22\x4d\x18", "compressed by LZ4", "Unpack it, or compress it with gzip or zstd."),
    (b"Obj\x01", "an Avro file", "Export its rows as JSONL or Parquet."),
    (b"\x93NUMPY", "an array of NumPy", "Export its rows as JSONL or Parquet."),
    (b"GGUF", "a GGUF model", "Give the data itself."),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Fetch it: git lfs pull."),
)
_BOMS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def opened(path: Path, *, layers: int = 2) -> BinaryIO:
    """A file as bytes, decompressed where its first bytes say that it is compressed, whatever its name.

    Raises:
        ArtefactError: it is compressed more often than twice.
        OSError: it cannot be read; a truncated one says so when its end is reached.
    """
    handle: BinaryIO = path.open("rb")
    try:
        for layer in range(layers + 1):
            kind = next((kind for magic, kind in _COMPRESSED.items() if _peek(handle).startswith(magic)), None)
            if kind is None:
                return handle
            if layer < layers:
                inner = pa.CompressedInputStream(pa.PythonFile(handle, mode="r"), kind)
                handle = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, inner), MIB))
        raise ArtefactError(f"{shown(path)} is compressed more than {layers} times over.", "Unpack it.")
    except BaseException:
        handle.close()
        raise


def head_of(path: Path) -> bytes:
    """The first bytes of a file, decompressed.

    Raises:
        ArtefactError: they are those of a file that is no data set, or of text in another encoding.
        OSError: it cannot be read.
    """
    with opened(path) as handle:
        head = handle.read(HEAD)
    for magic, kind, advice in _OTHERS:
        if head.startswith(magic):
            raise ArtefactError(f"{shown(path)} is {kind}.", advice)
    if head[257:262] == b"ustar":
        raise ArtefactError(f"{shown(path)} is a tar archive.", "Unpack it.")
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise ArtefactError(f"{shown(path)} is a web page or XML, not a data set.", "Download the data itself.")
    return head


def check_text(path: Path, head: bytes) -> None:
    """Refuse text that is not UTF-8 by its first bytes: UTF-16 and UTF-32 with or without a mark, and what is no text.

    Raises:
        ArtefactError: names the encoding.
    """
    encoding = next((name for mark, name in _BOMS if head.startswith(mark)), None) or _by_zeros(head)
    if encoding == "":
        return
    if encoding is None:
        raise ArtefactError(f"{shown(path)} is no text: it holds NUL bytes.", "Give the data itself, as text in UTF-8.")
    raise ArtefactError(
        f"{shown(path)} is {encoding} text; UTF-8 was expected.",
        f"Convert it: iconv -f {encoding} -t UTF-8 {shown(path.name)} > converted{suffix_of(path)}",
    )


def bounded_lines(path: Path, handle: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, none longer than the bound.

    Raises:
        ArtefactError: one is.
    """
    k = 0
    while line := handle.readline(LONGEST_LINE + 1):
        k += 1
        if len(line) > LONGEST_LINE:
            raise ArtefactError(
                f"{shown(path)}, line {k}, is longer than {LONGEST_LINE // MIB} MiB.",
                "A row of a data set is one line. Is this another kind of file?",
            )
        yield line


def whole(path: Path) -> bytes:
    """All bytes of a file, decompressed; counted before they are kept.

    Raises:
        ArtefactError: there are more than the bound.
    """
    with opened(path) as handle:
        size = 0
        while piece := handle.read(4 * MIB):
            size += len(piece)
            if size > LARGEST_WHOLE:
                raise ArtefactError(
                    f"{shown(path)} holds more than {LARGEST_WHOLE // MIB} MiB, which can only be read at once.",
                    "Convert it to JSONL, which is read line by line: jq -c '.[]' in.json > out.jsonl",
                )
    with opened(path) as handle:
        return handle.read()


def _peek(handle: BinaryIO) -> bytes:
    assert isinstance(handle, io.BufferedReader), "files and streams are buffered"
    return handle.peek(8)[:8]


def _by_zeros(head: bytes) -> str | None:
    """The encoding that NUL bytes betray; empty for none of them, None for no text at all."""
    size = min(len(head), 4096) // 4 * 4
    if 0 not in head:
        return ""
    if size:
        zeros = [head[k:size:4].count(0) * 4 / size for k in range(4)]
        if min(zeros) > 0.9 and size > _MANY:
            return None
        ends = "be" if zeros[0] > zeros[3] else "le"
        if max(zeros[0], zeros[3]) > 0.9 and zeros[1] + zeros[2] > 1.2 and _is_text(head[:size], f"utf-32-{ends}"):
            return "UTF-32"
        even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
        ends = "be" if even > odd else "le"
        if max(even, odd) > 0.6 and min(even, odd) < 0.3 and _is_text(head[:size], f"utf-16-{ends}"):
            return "UTF-16"
    return "" if _decodes(head) and head.count(0) * 20 < len(head) else None


def _is_text(head: bytes, encoding: str) -> bool:
    """Whether bytes are text in an encoding, perhaps cut within a character, and hardly a character of it is NUL."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return text.count("\0") * 20 < len(text)


def _decodes(head: bytes) -> bool:
    """Whether the first bytes of a file are UTF-8, perhaps cut within a character: a text may hold a NUL."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
