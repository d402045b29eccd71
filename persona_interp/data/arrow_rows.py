"""Rows of Parquet files, and of the Arrow files that `datasets` writes."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from persona_interp.data.file_bytes import opened, whole
from persona_interp.data.rows import KEYS, Unusable
from persona_interp.data.sources import shown
from persona_interp.errors import ArtefactError

_BATCH = 256
_Rows = Generator[tuple[int, tuple[str, object]], None, int]


def parquet_rows(path: Path, start: int, known: frozenset[str] = KEYS) -> _Rows:
    """Rows of a Parquet file from number `start` on; a compressed one is read whole.

    Args:
        known: columns that are read, in small letters; others are named and hold `...`.
    """
    done = 0
    with pq.ParquetFile(_input(path)) as file:
        names = file.schema_arrow.names
        check_columns(path, names)
        columns = [name for name in names if name.lower() in known]
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if done + size <= start:
                done += size
                continue
            for batch in file.iter_batches(_BATCH, row_groups=[group], columns=columns):
                yield from _batch_rows(batch, names, path.name, done, start, known)
                done += batch.num_rows
    return done


def arrow_rows(path: Path, start: int, known: frozenset[str] = KEYS) -> _Rows:
    """Rows of an Arrow file or stream from number `start` on; `known` as of `parquet_rows`."""
    done = 0
    for batch in _record_batches(path):
        check_columns(path, batch.schema.names)
        yield from _batch_rows(batch, batch.schema.names, path.name, done, start, known)
        done += batch.num_rows
    return done


def check_columns(path: Path, names: Sequence[str]) -> None:
    """Refuse a table in which a column that a row is read by comes twice: one of them would be dropped.

    Raises:
        ArtefactError: names it.
    """
    twice = [name for name, times in Counter(names).items() if times > 1 and name.lower() in KEYS]
    if twice:
        raise ArtefactError(f"{shown(path)} has two columns {twice[0]!r}.", "Name each column once.")


def _record_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with opened(path) as handle:
        as_file = handle.peek(6)[:6] == b"ARROW1"  # pyright: ignore (a buffered reader)
    if as_file:
        with pa.ipc.open_file(_input(path)) as reader:
            yield from (reader.get_batch(k) for k in range(reader.num_record_batches))
    else:
        with pa.ipc.open_stream(_input(path)) as reader:
            yield from reader


def _input(path: Path) -> pa.NativeFile | str:
    """The file itself where it is not compressed, else its bytes."""
    with path.open("rb") as raw, opened(path) as handle:
        compressed = raw.read(4) != handle.read(4)
    return pa.BufferReader(whole(path)) if compressed else pa.memory_map(str(path))


def _batch_rows(
    batch: pa.RecordBatch, names: list[str], file: str, done: int, start: int, known: frozenset[str]
) -> Iterator[tuple[int, tuple[str, object]]]:
    for k in range(max(start - done, 0), batch.num_rows):
        name = f"{file}, row {done + k + 1}"
        yield done + k, (name, _row(batch, k, names, name, known))


def _row(batch: pa.RecordBatch, k: int, names: list[str], name: str, known: frozenset[str]) -> object:
    """One row of a batch; columns that no form has are not read, but are named in errors."""
    columns = zip(batch.schema.names, batch.columns, strict=True)
    try:
        row = {key: column[k].as_py() for key, column in columns if key.lower() in known}
    except UnicodeDecodeError as error:
        return Unusable(name, f"not valid UTF-8 ({error.reason} at byte {error.start}).")
    except ValueError as error:
        return Unusable(name, f"a value cannot be read ({error}).")
    return {**dict.fromkeys(names, ...), **row}
