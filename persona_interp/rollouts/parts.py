"""Finished batches of rollouts, kept in memory or in a folder from which an interrupted run goes on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from persona_interp.errors import ConfigError
from persona_interp.io import (
    load_tensors,
    manifest_path,
    read_record,
    save_tensors,
    sha256_json,
    write_json,
)
from persona_interp.models.identity import FORMAT_CHANGED, format_changed, key_of
from persona_interp.models.protocol import Sampling
from persona_interp.tables import read_table, write_table
from persona_interp.types import Pooling, Provenance

KIND = "rollout activations"
Pooled = Float[Tensor, "sample layer d_model"]
Norms = Float[Tensor, "sample layer"]


@dataclass(frozen=True, eq=False)
class Part:
    """Pooled activations of one batch: in memory, or in a file that is read when asked for."""

    tensors: Mapping[str, Tensor] | Path
    names: tuple[Pooling, ...]

    def poolings(self) -> tuple[Pooling, ...]:
        """What was recorded."""
        return self.names

    def load(self, pooling: Pooling) -> tuple[Pooled, Norms]:
        """The activations of one pooling, and the mean residual norms."""
        held = load_tensors(self.tensors, kind=KIND)[0] if isinstance(self.tensors, Path) else self.tensors
        return held[pooling], held["norms"]


class PartStore:
    """Batches by number. With a folder, each is on disk before the next begins, and nothing stays in memory."""

    def __init__(self, folder: Path | None, names: tuple[Pooling, ...]) -> None:
        self._folder = folder
        self._names = names
        self._rows: dict[int, pd.DataFrame] = {}
        self._tensors: dict[int, Mapping[str, Tensor]] = {}

    @classmethod
    def open(
        cls,
        folder: Path | None,
        requests: pd.DataFrame,
        sampling: Sampling,
        provenance: Provenance,
        pool: tuple[Pooling, ...],
        batch_size: int,
        edits_hash: str | None = None,
    ) -> "PartStore":
        """An empty store, or the one that an interrupted run of the same configuration left.

        The configuration is all that decides an answer but the machine: requests with their system prompts, sampling
        with its seed and stop tokens, the model with its backend, dtype and chat template, edits, size of a batch.

        Raises:
            ConfigError: the folder belongs to another configuration.
        """
        store = cls(folder, pool)
        if folder is None:
            return store
        config = {
            "requests": sha256_json(requests.to_dict("records")),
            "sampling": _sampling(sampling),
            "generation_config": None,  # an entry of the key of a model whose settings are followed
            **key_of(provenance),
            "method_version": provenance.method_version,
            "trait": provenance.details.get("trait"),
            "pool": list(pool),
            "batch_size": batch_size,
            "edits": edits_hash,
            "reasoning": provenance.details.get("reasoning"),
        }
        refuse_other_config(folder / "config.json", config)
        return store

    def has(self, number: int) -> bool:
        """Whether a batch is done. Its table is written last, so a half-written batch is not."""
        if self._folder is None:
            return number in self._rows
        tensors = self._activations(number)
        files = [self._table(number), *((tensors, manifest_path(tensors)) if self._names else ())]
        return all(file.is_file() for file in files)

    def add(self, number: int, rows: pd.DataFrame, pooled: Mapping[Pooling, Pooled], norms: Norms | None) -> None:
        """Keep a finished batch."""
        tensors: dict[str, Tensor] = {name: values.cpu() for name, values in pooled.items()}
        if norms is not None:
            tensors["norms"] = norms.cpu()
        if self._folder is None:
            self._rows[number], self._tensors[number] = rows, tensors
            return
        if tensors:
            save_tensors(self._activations(number), tensors, kind=KIND, manifest={"poolings": list(self._names)})
        write_table(self._table(number), rows)

    def frame(self) -> pd.DataFrame:
        """All answers in order."""
        if self._folder is None:
            tables = [self._rows[number] for number in sorted(self._rows)]
        else:
            tables = [_answers(path) for path in sorted(self._folder.glob("part-*.parquet"))]
        joined = pd.concat(tables, ignore_index=True)
        return joined.fillna({"reasoning": ""}) if "reasoning" in joined else joined

    def parts(self) -> tuple[Part, ...]:
        """All activations in order; empty where none were recorded."""
        if not self._names:
            return ()
        if self._folder is None:
            return tuple(Part(self._tensors[number], self._names) for number in sorted(self._tensors))
        return tuple(Part(path, self._names) for path in sorted(self._folder.glob("part-*.safetensors")))

    def _table(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"part-{number:05d}.parquet"

    def _activations(self, number: int) -> Path:
        return self._table(number).with_suffix(".safetensors")


def _sampling(sampling: Sampling) -> Mapping[str, object]:
    """How answers are drawn; whether a model's settings are followed is said by their being there."""
    options = {name: value for name, value in asdict(sampling).items() if name != "generation_config"}
    return options | {"stop_ids": sha256_json(sampling.stop_ids)[:16]}


def refuse_other_config(path: Path, config: Mapping[str, object]) -> None:
    """Write a folder's configuration, or refuse the folder where it has another one.

    Raises:
        ConfigError: says which settings differ, and of those with parts which parts.
    """
    if not path.is_file():
        write_json(path, config)
        return
    there = read_record(path, remedy="Restore it, use another folder, or delete this one to start again.")
    now = {key: _as_json(value) for key, value in config.items()}
    differing = {key: _parting(there.get(key), now[key]) for key in now if there.get(key) != now[key]}
    if differing:
        lines = [f"{key}: there {a!r}, now {b!r}" for key, (a, b) in list(differing.items())[:4]]
        raise ConfigError(
            f"{path.parent} holds results of another configuration.",
            *lines,
            *([FORMAT_CHANGED] if any(_other_format(a, b) for a, b in differing.values()) else []),
            "Use another folder, or delete this one to start again.",
        )


def _parting(there: object, now: object) -> tuple[object, object]:
    """Two values that differ; of two mappings, what differs in them."""
    if not isinstance(there, dict) or not isinstance(now, dict):
        return there, now
    same = {key for key in there.keys() & now.keys() if there[key] == now[key]}
    return {k: v for k, v in there.items() if k not in same}, {k: v for k, v in now.items() if k not in same}


def _other_format(there: object, now: object) -> bool:
    """Whether fingerprints of weights in two values are of different formats."""
    if isinstance(there, dict) and isinstance(now, dict):
        return any(_other_format(there[key], now[key]) for key in there.keys() & now.keys())
    if isinstance(there, list) and isinstance(now, list):
        return any(_other_format(a, b) for a, b in zip(there, now, strict=False))
    return isinstance(there, str) and isinstance(now, str) and format_changed(there, now)


def _as_json(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _answers(path: Path) -> pd.DataFrame:
    table = read_table(path)
    return table.assign(response_ids=[ids.tolist() for ids in table["response_ids"]])
