"""The folder of a screening: one Parquet shard a batch, each written whole or not at all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from persona_interp.errors import ArtefactError
from persona_interp.io import atomic_write_bytes, read_bytes, sha256_bytes
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.screening.batch import Scorer
from persona_interp.studies.screening.effects import STUDY

SAMPLES = "samples"
KEEPS = (f"{SAMPLES}/*.parquet",)
METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""


def claim_folder(
    folder: Path, screener: Scorer, *, source_hash: str, more: Mapping[str, Any] | None = None
) -> RunFolder:
    """The folder for the shards of a data set: new, or that of an interrupted run of the same identity.

    Args:
        more: what else the shards depend on.

    Raises:
        ConfigError: the folder holds shards of another configuration or data set, or of nothing that is said.
    """
    return RunFolder.claim(folder, STUDY, {**_identity(screener, source_hash), **(more or {})}, keeps=KEEPS)


class Shards:
    """The shards of a folder, by the number of their batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, number: int) -> Path:
        """Where the shard of a batch is."""
        return self.folder / SAMPLES / f"part-{number:06d}.parquet"

    def has(self, number: int) -> bool:
        """Whether a batch is done."""
        return self.path(number).is_file()

    def first_missing(self) -> int:
        """The first batch without a shard."""
        number = 0
        while self.has(number):
            number += 1
        return number

    def write(self, number: int, table: pa.Table) -> None:
        """Keep a finished batch; equal content is equal bytes."""
        buffer = BytesIO()
        pq.write_table(table, buffer)
        atomic_write_bytes(self.path(number), buffer.getvalue())

    def fill(self, batches: Iterable[tuple[int, list[Any]]], screener: Scorer) -> None:
        """Score the batches that have no shard yet."""
        for number, rows in batches:
            if not self.has(number):
                self.write(number, screener.table(rows))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns of all shards, or all of them, in the order of the rows.

        Raises:
            ArtefactError: a shard is damaged.
        """
        paths = sorted((self.folder / SAMPLES).glob("part-*.parquet"))
        if not paths:
            raise ArtefactError(f"{self.folder} holds no shard.", "Expected the folder of a finished screening.")
        return pa.concat_tables(_tables(paths, columns))


def _tables(paths: Sequence[Path], columns: Sequence[str] | None) -> Iterator[pa.Table]:
    for path in paths:
        try:
            yield pq.read_table(BytesIO(read_bytes(path)), columns=None if columns is None else list(columns))
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{path} is not a whole shard: {' '.join(str(error).split())[:200]}.",
                "Delete it and run the same command again.",
            ) from error


def _identity(screener: Scorer, source_hash: str) -> dict[str, Any]:
    """What the shards depend on. Names and versions are not among it: equal weights give equal numbers."""
    config, provenance = screener.config, screener.model.provenance
    return {
        "data set (SHA-256)": source_hash,
        "method_version": METHOD_VERSION,
        "weights": provenance.weights,
        "dtype": provenance.dtype,
        "backend": provenance.backend,
        "chat_template": provenance.chat_template,
        "vectors": [
            [d.trait, d.method, *(sha256_bytes(d.at(layer).numpy().tobytes())[:16] for layer in config.layers)]
            for d in screener.directions
        ],
        "layers": list(config.layers),
        "delta": config.delta,
        "max_new_tokens": config.max_new_tokens if config.delta == "generate" else None,
        "judge": config.judge,
        "batch_rows": config.batch_rows,
    }
