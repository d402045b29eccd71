"""Conversations of data sets of any size, one row at a time: JSONL, Parquet, CSV, folders of them, and the hub's.

Rows have numbers from 0 that do not depend on where reading starts, so that a job can go on where it stopped. In JSONL
a row is a line, and in CSV a record after the header; blank ones are numbered and never given out. In a folder the
numbers run on from file to file, in the order of the files' names. Names of rows count from 1 within the file.
"""

import csv
import gzip
import os
import sys
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from persona_interp.data.conversations import Conversation, Unusable, parse_line, parse_row
from persona_interp.data.hub import HubSource, hub_revision, hub_rows, hub_source
from persona_interp.data.rows import KEYS
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.io import sha256_bytes, sha256_json

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".csv")
_BATCH = 256
_MIB = 2**20
_LONGEST_FIELD = 16 * _MIB
"""Characters in one CSV field: an unclosed quote must not draw the rest of the file into memory."""

Row = Conversation | Unusable
_Rows = Generator[tuple[int, Row], None, int]
"""Rows of a file with their numbers in it; returns how many numbers the file has."""


def stream_conversations(source: str, *, start: int = 0) -> Iterator[tuple[int, Row]]:
    """(number, row) of every row from number `start` on, in order; one file is open and few rows are held at a time.

    Args:
        source: a file (.jsonl, .jsonl.gz, .parquet, .csv), a folder of such files, or a data set of the hub:
            `org/name` or `hf://datasets/org/name`, with `@revision` and `:split` if you like. A path that exists
            is never looked for on the hub.

    Raises:
        ArtefactError: there is no such file, or it is of another kind or broken.
        DataError: the data set cannot be opened on the hub.
        ConfigError: `start` is negative.
    """
    if start < 0:
        raise ConfigError(f"cannot start at row {start}.", "Rows are numbered from 0.")
    found = _resolved(source)
    if isinstance(found, HubSource):
        return ((k, parse_row(row, f"{found}, row {k + 1}")) for k, row in hub_rows(found, start))
    return _from_files(found, start)


def count_rows(source: str) -> int | None:
    """How many row numbers a source has, blank lines included, without parsing a row; None for the hub.

    Parquet says so in its metadata; JSONL and CSV are read through once.

    Raises:
        ArtefactError: there is no such file, or it is of another kind or broken.
    """
    found = _resolved(source)
    if isinstance(found, HubSource):
        return None
    return sum(_exhausted(_rows_of(path, sys.maxsize)) for path in found)


def source_hash(source: str) -> str:
    """Fingerprint of a source: is it still the same when a job goes on?

    Of files: names, sizes, and SHA-256 of the first and the last MiB. Where they lie does not matter, and a change in
    the middle of a large file that keeps its size is not seen. Of the hub: name, split, and commit where it is known.

    Raises:
        ArtefactError: there is no such file, or it is of another kind.
    """
    found = _resolved(source)
    if isinstance(found, HubSource):
        return sha256_json({"hub": found.name, "split": found.split, "revision": hub_revision(found) or found.revision})
    return sha256_json([_fingerprint(path) for path in found])


def _resolved(source: str) -> list[Path] | HubSource:
    """The files of a source in order, or the data set of the hub that it names."""
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and _readable(p))
        if not files:
            near = sorted(p.name for p in path.iterdir())[:8]
            raise ArtefactError(
                f"{path} holds no data set: no file there ends in {', '.join(SUFFIXES)}.",
                f"There: {', '.join(near) or 'nothing'}. Folders inside it are not looked into.",
            )
        return files
    if path.exists():
        if not _readable(path):
            raise ArtefactError(f"{path} is not read as a data set.", f"Expected a name in {', '.join(SUFFIXES)}.")
        return [path]
    hub = hub_source(source)
    if hub is None or source.endswith(SUFFIXES):
        raise ArtefactError(
            f"{source} does not exist.",
            f"Expected a file ({', '.join(SUFFIXES)}), a folder of such files,"
            " or a data set of the hub: org/name or org/name:split.",
        )
    return hub


def _readable(path: Path) -> bool:
    return path.name.endswith(SUFFIXES) and not path.name.startswith(".")


def _from_files(files: list[Path], start: int) -> Iterator[tuple[int, Row]]:
    first = 0
    for path in files:
        rows = _rows_of(path, max(0, start - first))
        count = yield from _shifted(rows, first)
        first += count


def _shifted(rows: _Rows, first: int) -> _Rows:
    """The same rows with numbers that begin at `first`."""
    while True:
        try:
            k, row = next(rows)
        except StopIteration as end:
            return end.value
        yield first + k, row


def _exhausted(rows: _Rows) -> int:
    while True:
        try:
            next(rows)
        except StopIteration as end:
            return end.value


def _rows_of(path: Path, start: int) -> _Rows:
    """Rows of one file from number `start` on; those before are passed over unparsed."""
    try:
        if path.suffix == ".parquet":
            return (yield from _parquet_rows(path, start))
        return (yield from (_csv_rows if path.suffix == ".csv" else _jsonl_rows)(path, start))
    except (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise ArtefactError(
            f"could not read {path}: {error}.", "It may be truncated or of another kind. Restore it or leave it out."
        ) from error


def _jsonl_rows(path: Path, start: int) -> _Rows:
    k = -1
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
        for k, line in enumerate(handle):
            if k >= start and line.strip():
                yield k, parse_line(line, f"{path.name}, line {k + 1}")
    return k + 1


def _parquet_rows(path: Path, start: int) -> _Rows:
    done = 0
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        columns = [name for name in names if name in KEYS]
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if done + size <= start:
                done += size
                continue
            for batch in file.iter_batches(_BATCH, row_groups=[group], columns=columns):
                for k in range(max(start - done, 0), batch.num_rows):
                    yield done + k, _parquet_row(batch, k, names, f"{path.name}, row {done + k + 1}")
                done += batch.num_rows
    return done


def _parquet_row(batch: pa.RecordBatch, k: int, names: list[str], name: str) -> Row:
    """One row of a batch; columns that no form has were not read, but are named in errors."""
    try:
        row = {key: column[k].as_py() for key, column in zip(batch.schema.names, batch.columns, strict=True)}
    except UnicodeDecodeError as error:
        return Unusable(name, f"not valid UTF-8 ({error.reason} at byte {error.start}).")
    except ValueError as error:
        return Unusable(name, f"a value cannot be read ({error}).")
    return parse_row({**dict.fromkeys(names, ...), **row}, name)


def _csv_rows(path: Path, start: int) -> _Rows:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    k = -1
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
        reader = csv.reader(handle)
        header = next(reader, [])
        while True:
            name = f"{path.name}, row {k + 2}"
            try:
                fields = next(reader, None)
            except csv.Error as error:
                fields, row = [], Unusable(name, f"not valid CSV ({error}).")
            else:
                if fields is None:
                    return k + 1
                row = _csv_row(header, fields, name) if fields and k + 1 >= start else None
            k += 1
            if row is not None and k >= start:
                yield k, row


def _csv_row(header: list[str], fields: list[str], name: str) -> Row:
    if len(fields) != len(header):
        return Unusable(name, f"{len(fields)} fields; the header names {len(header)}.")
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return Unusable(name, "not valid UTF-8.")
    return parse_row(dict(zip(header, fields, strict=True)), name)


def _fingerprint(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as handle:
            first = handle.read(_MIB)
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - _MIB))
            last = handle.read(_MIB)
    except OSError as error:
        raise ArtefactError(f"could not read {path}: {error.strerror or error}.") from error
    return {"name": path.name, "size": size, "first": sha256_bytes(first), "last": sha256_bytes(last)}
