"""Rows of one data file, in whatever form it holds them: by its first bytes, then by its name.

Rows have numbers from 0 that do not depend on where reading starts. In lines of JSON a row is a line, in CSV and TSV a
record after the header; blank ones are numbered and never given out. A JSON array, or an object that holds one array,
is read whole, and its elements are rows; so is an object with the keys of a row, which is one.
"""

import csv
import io
from collections.abc import Generator, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from persona_interp.data.arrow_rows import arrow_rows, check_columns, parquet_rows
from persona_interp.data.file_bytes import LONGEST_LINE, MIB, bounded_lines, check_text, head_of, opened, whole
from persona_interp.data.rows import KEYS, PREFERENCE, Unusable
from persona_interp.data.sources import shown, suffix_of
from persona_interp.data.turns import is_turn
from persona_interp.data.values import parse_json
from persona_interp.errors import ArtefactError, DataError

LONGEST_FIELD = 16 * MIB
"""Characters in one CSV field: an unclosed quote must not draw the rest of the file into memory."""

Raw = tuple[str, object]
"""The name of a row, and what it holds: any value of JSON, or why there is none."""
Rows = Generator[tuple[int, Raw], None, int]
"""Rows of a file with their numbers in it; returns how many numbers the file has."""
_ALONE = ("messages", "conversation", "conversations")
"""A column that is enough to know a table of conversations by."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_TOO_LONG = b"\0"
"""Stands for a line that was not kept."""
_END = "\ud800"
"""Stands after the last line of a table, where no text can hold it: a quote that is still open draws it in."""
_MARK = b"\xef\xbb\xbf"


def file_rows(path: Path, start: int, known: frozenset[str] = KEYS) -> Rows:
    """Rows of one file from number `start` on; those before are passed over unparsed where that can be.

    Args:
        known: columns that rows may have, in small letters, by which tables are known; of Parquet and Arrow no others
            are read.

    Raises:
        ArtefactError: the file is broken, of another kind, or in another encoding.
    """
    try:
        head = head_of(path)
        if head.startswith(b"PAR1"):
            return (yield from parquet_rows(path, start, known))
        if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
            return (yield from arrow_rows(path, start, known))
        if not head:
            return 0
        suffix = suffix_of(path)
        if suffix in (".parquet", ".arrow") and not head.lstrip().startswith((b"{", b"[")):
            return (yield from (parquet_rows if suffix == ".parquet" else arrow_rows)(path, start, known))
        check_text(path, head)
        delimiter = _delimiter(head, suffix, known)
        if delimiter is not None:
            return (yield from _separated_rows(path, start, delimiter))
        return (yield from _json_rows(path, start, suffix))
    except (OSError, EOFError, csv.Error, pa.ArrowException) as error:
        raise ArtefactError(
            f"could not read {shown(path)}: {' '.join(str(error).split())[:300]}.",
            "It may be truncated or of another kind. Restore it or leave it out.",
        ) from error


def _delimiter(head: bytes, suffix: str, columns: frozenset[str]) -> str | None:
    """What separates the fields of a table, by its first line; None for JSON."""
    first = head.removeprefix(_MARK).lstrip().partition(b"\n")[0].decode(errors="replace").strip()
    if first.startswith(("{", "[")) and (suffix not in _DELIMITERS or _is_json(first)):
        return None
    for delimiter in (_DELIMITERS.get(suffix, ","), ",", "\t", ";"):
        names = {name.strip().strip("'\"").lower() for name in first.split(delimiter)}
        known = names & columns
        sure = len(known) > 1 or not known.isdisjoint(_ALONE)
        if len(names) > 1 and (sure or (known and suffix in _DELIMITERS)):
            return delimiter
    return _DELIMITERS.get(suffix)


def _json_rows(path: Path, start: int, suffix: str) -> Rows:
    with opened(path) as handle:
        filled = (line for line in bounded_lines(path, handle) if line.strip())
        first, second = _next(filled), _next(filled)
    by_lines = second is not None and first is not None and _is_json(first)
    if by_lines or first is None or (first == _TOO_LONG and suffix != ".json" and head_of(path).lstrip()[:1] != b"["):
        return (yield from _lines(path, start))
    try:
        found = parse_json(whole(path))
    except DataError as error:
        if suffix != ".json" or (second is not None and _is_json(second)):
            return (yield from _lines(path, start))
        raise ArtefactError(
            f"{shown(path)}: {str(error)[:300]}",
            "Expected an array of rows in UTF-8, or a JSON object a line. It may be truncated, or in another encoding.",
        ) from error
    if second is None and isinstance(found, Mapping) and not any(isinstance(value, list) for value in found.values()):
        return (yield from _lines(path, start))
    rows = _elements(path, found)
    for k in range(start, len(rows)):
        yield k, (f"{path.name}, row {k + 1}", rows[k])
    return len(rows)


def _next(lines: Iterator[bytes]) -> bytes | None:
    try:
        return next(lines, None)
    except ArtefactError:
        return _TOO_LONG


def _lines(path: Path, start: int) -> Rows:
    k = -1
    with opened(path) as handle:
        for k, line in enumerate(bounded_lines(path, handle)):
            if k >= start and line.strip():
                yield k, (f"{path.name}, line {k + 1}", _parsed(line))
    return k + 1


def _parsed(line: bytes) -> object:
    try:
        return parse_json(line)
    except DataError as error:
        return Unusable("", str(error))


def _is_json(text: bytes | str) -> bool:
    try:
        return isinstance(parse_json(text.strip()), dict | list)
    except DataError:
        return False


def _holder(found: Mapping[str, Any]) -> str | None:
    """The key of the one array of rows in an object that is no row itself."""
    if any(isinstance(key, str) and key.lower() in KEYS and value is not None for key, value in found.items()):
        return None
    arrays = [key for key, value in found.items() if isinstance(value, list)]
    return arrays[0] if len(arrays) == 1 else None


def _elements(path: Path, found: object) -> list[Any]:
    """The rows of a JSON document."""
    if isinstance(found, Mapping):
        key = _holder(found)
        if key is not None:
            return list(found[key])
        arrays = [str(key) for key, value in found.items() if isinstance(value, list)]
        if len(arrays) > 1 and not {key.lower() for key in arrays} & {*KEYS, *PREFERENCE}:
            raise ArtefactError(
                f"{shown(path)} holds {len(arrays)} arrays: {shown(', '.join(arrays))}.",
                "Which of them are the rows? Write that one to a file of its own.",
            )
        return [found]
    if not isinstance(found, list):
        raise ArtefactError(f"{shown(path)} holds a {type(found).__name__}.", "Expected an array of rows.")
    return [found] if found and all(map(is_turn, found)) else found


def _separated_rows(path: Path, start: int, delimiter: str) -> Rows:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    k = -1
    with opened(path) as data, io.TextIOWrapper(data, "utf-8-sig", errors="surrogateescape", newline="") as handle:
        reader = csv.reader(chain(_text_lines(path, handle), [_END]), delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
        check_columns(path, header)
        while True:
            name = f"{path.name}, row {k + 2}"
            try:
                fields = next(reader, None)
            except csv.Error as error:
                fields, row = [], Unusable(name, f"not valid CSV ({error}).")
            else:
                if fields is None or fields == [_END]:
                    return k + 1
                row = _record(header, fields, name) if fields and k + 1 >= start else None
            k += 1
            if row is not None and k >= start:
                yield k, (name, row)


def _text_lines(path: Path, handle: io.TextIOWrapper) -> Iterator[str]:
    while line := handle.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ArtefactError(
                f"{shown(path)} has a line longer than {LONGEST_LINE // MIB} MiB.", "Is this another kind of file?"
            )
        yield line


def _record(header: list[str], fields: list[str], name: str) -> object:
    if fields[-1].endswith(_END):
        return Unusable(name, "a quote in it is not closed: the rest of the file is in it.")
    if len(fields) != len(header):
        return Unusable(name, f"{len(fields)} fields; the header names {len(header)}.")
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return Unusable(name, "not valid UTF-8.")
    return dict(zip(header, fields, strict=True))
