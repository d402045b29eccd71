"""The folder of a screening: a manifest first, then one Parquet shard a batch, each written whole or not at all."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.io import atomic_write_bytes, read_bytes, read_record, sha256_bytes, write_json
from persona_interp.models.identity import library_versions
from persona_interp.studies.screening.batch import Screener

KIND = "screening"
MANIFEST = "screen.json"
SAMPLES = "samples"
METHOD_VERSION = 1
_REMEDY = "Restore it, use another folder, or delete this one to start again."


class Shards:
    """The shards of a folder, by the number of their batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path, screener: Screener, *, source: str, source_hash: str) -> "Shards":
        """The shards of a new folder, or those that an interrupted run of the same configuration left.

        Raises:
            ConfigError: the folder holds another configuration, or the data set has changed.
        """
        identity = {"source": source_hash, **_identity(screener)}
        path = folder / MANIFEST
        if path.is_file():
            _refuse_other(path, identity, source)
            return cls(folder)
        if any((folder / SAMPLES).glob("*.parquet")):
            raise ConfigError(
                f"{folder} holds shards, but no {MANIFEST} that says of what.",
                "Restore it, use another folder, or delete this one to start again.",
            )
        provenance = screener.model.provenance
        write_json(
            path,
            {
                "kind": KIND,
                "source": source,
                "identity": identity,
                "model": provenance.to_dict(),
                "vectors": [direction.provenance.to_dict() for direction in screener.directions],
                "versions": {**library_versions(), "pyarrow": pa.__version__},
            },
        )
        return cls(folder)

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
        """Keep a finished batch."""
        write_parquet(self.path(number), table)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns of all shards, or all of them, in the order of the rows.

        Raises:
            ArtefactError: a shard is damaged.
        """
        paths = sorted((self.folder / SAMPLES).glob("part-*.parquet"))
        if not paths:
            raise ArtefactError(f"{self.folder} holds no shard.", "Expected the folder of a finished screening.")
        return pa.concat_tables(_tables(paths, columns))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table atomically; equal content is equal bytes."""
    buffer = BytesIO()
    pq.write_table(table, buffer)
    atomic_write_bytes(path, buffer.getvalue())


def _tables(paths: Sequence[Path], columns: Sequence[str] | None) -> Iterator[pa.Table]:
    for path in paths:
        try:
            yield pq.read_table(BytesIO(read_bytes(path)), columns=None if columns is None else list(columns))
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"{path} is not a whole shard: {' '.join(str(error).split())[:200]}.",
                "Delete it and run the same command again.",
            ) from error


def _identity(screener: Screener) -> dict[str, Any]:
    """What the shards depend on. Names and versions are not among it: equal weights give equal numbers."""
    config, provenance = screener.config, screener.model.provenance
    return {
        "version": METHOD_VERSION,
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


def _refuse_other(path: Path, identity: Mapping[str, Any], source: str) -> None:
    there = read_record(path, remedy=_REMEDY)
    if there.get("kind") != KIND:
        raise ConfigError(f"{path} is not the manifest of a {KIND}.", "Use another folder, or delete this one.")
    if not isinstance(there.get("identity"), dict):
        raise ConfigError(f"{path} is not the manifest of a {KIND}: it has no identity.", _REMEDY)
    before = there["identity"]
    others = [key for key in identity if before.get(key) != identity[key]]
    advice = "Use another folder, or delete this one to start again."
    if others == ["source"]:
        raise ConfigError(
            f"{path.parent} holds results of another data set than {source}, or it was altered since.",
            f"There {there.get('source')}, SHA-256 {str(before.get('source'))[:12]}…; now {identity['source'][:12]}….",
            advice,
        )
    if others:
        lines = [f"{key}: there {before.get(key)!r}, now {identity[key]!r}" for key in others[:4]]
        raise ConfigError(f"{path.parent} holds results of another configuration.", *lines, advice)
