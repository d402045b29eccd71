"""Rows of data sets of any size, one at a time: files and folders of them, what `datasets` saved, and the hub's.

Rows have numbers from 0 that do not depend on where reading starts, so that a job can go on where it stopped. In a
folder the numbers run on from file to file, in the order of the files' names. Names of rows count from 1 in each file.
The kinds of files are in `file_rows`, of rows in `rows`.
"""

import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from persona_interp.data.file_bytes import MIB
from persona_interp.data.file_rows import Raw, Rows, file_rows
from persona_interp.data.hub import HubSource, hub_revision, hub_rows
from persona_interp.data.rows import KEYS, Unusable, is_preference
from persona_interp.data.sources import resolved, shown
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.io import sha256_bytes, sha256_json

_LOOKED_AT = 1000
"""Rows among which the first that can be read is looked for."""


def stream_rows(source: str | Path, *, start: int = 0, known: frozenset[str] = KEYS) -> Iterator[tuple[int, Raw]]:
    """(number, (name, row)) of every row from number `start` on, in order; one file is open and few rows are held.

    A row that cannot be read is an `Unusable`.

    Args:
        source: a file (.jsonl, .ndjson, .json, .csv, .tsv, .parquet or .arrow, also with .gz or .zst), a folder of such
            files or one that `datasets` saved (`folder:split` where it has splits), or a data set of the hub:
            `org/name` or `hf://datasets/org/name`, with `@revision` and `:split` if you like. A path that exists is
            never looked for on the hub.
        known: columns that rows may have, in small letters; of Parquet and Arrow no others are read.

    Raises:
        ArtefactError: there is no such file, it has no row, or it is of another kind or broken.
        DataError: the data set cannot be opened on the hub.
        ConfigError: `start` is negative.
    """
    if start < 0:
        raise ConfigError(f"cannot start at row {start}.", "Rows are numbered from 0.")
    found = resolved(source)
    if isinstance(found, HubSource):
        return ((k, (f"{found}, row {k + 1}", row)) for k, row in hub_rows(found, start))
    return _from_files(str(source), found.paths, start, known)


def count_rows(source: str | Path) -> int | None:
    """How many row numbers a source has, blank lines included, without parsing a row; None for the hub.

    Parquet says so in its metadata; other files are read through once.

    Raises:
        ArtefactError: there is no such file, or it is of another kind or broken.
    """
    found = resolved(source)
    if isinstance(found, HubSource):
        return None
    return sum(_exhausted(file_rows(path, sys.maxsize)) for path in found.paths)


def source_hash(source: str | Path) -> str:
    """Fingerprint of a source: is it still the same when a job goes on?

    Of files: names, sizes, and SHA-256 of the first and the last MiB. Where they lie does not matter, and a change in
    the middle of a large file that keeps its size is not seen. Of the hub: name, split, and commit where it is known.

    Raises:
        ArtefactError: there is no such file, or it is of another kind.
    """
    found = resolved(source)
    if isinstance(found, HubSource):
        return sha256_json({"hub": found.name, "split": found.split, "revision": hub_revision(found) or found.revision})
    return sha256_json([_fingerprint(path) for path in found.paths])


def holds_preferences(source: str | Path) -> bool:
    """Whether the first row of a data set that can be read is a pair of a chosen and a rejected answer.

    Raises:
        ArtefactError, DataError: as of `stream_rows`.
    """
    rows = (row for _, (_, row) in islice(stream_rows(source), _LOOKED_AT) if not isinstance(row, Unusable))
    return is_preference(next(rows, None))


def _from_files(source: str, files: tuple[Path, ...], start: int, known: frozenset[str]) -> Iterator[tuple[int, Raw]]:
    first, found = 0, start > 0
    for path in files:
        count = 0
        for row in _counted(file_rows(path, max(0, start - first), known), first):
            if isinstance(row, int):
                count = row
                continue
            found = True
            yield row
        first += count
    if not found:
        empty = all(path.stat().st_size == 0 for path in files)
        raise ArtefactError(
            f"{shown(source)} is empty: {'0 bytes' if empty else 'it holds no row'}.",
            "Was it written to the end? A row is a line of JSON, an element of an array, or a record of a table.",
        )


def _counted(rows: Rows, first: int) -> Iterator[tuple[int, Raw] | int]:
    """The same rows with numbers that begin at `first`, then how many numbers there are."""
    while True:
        try:
            k, row = next(rows)
        except StopIteration as end:
            yield end.value
            return
        yield first + k, row


def _exhausted(rows: Rows) -> int:
    while True:
        try:
            next(rows)
        except StopIteration as end:
            return end.value


def _fingerprint(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as handle:
            first = handle.read(MIB)
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - MIB))
            last = handle.read(MIB)
    except OSError as error:
        raise ArtefactError(f"could not read {shown(path)}: {error.strerror or error}.") from error
    return {"name": path.name, "size": size, "first": sha256_bytes(first), "last": sha256_bytes(last)}
