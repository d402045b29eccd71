"""What a drift callback keeps on disk: its rows, and the base model's projections for a run that is resumed."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.errors import AlignmentError, ArtefactError, ConfigError
from persona_interp.finetuning.forms import DRIFT
from persona_interp.io import atomic_write_bytes, read_bytes, read_record, write_json
from persona_interp.tables import read_table, write_table

COLUMNS = tuple(DRIFT.names)
_KINDS = (".jsonl", ".csv")


@dataclass(frozen=True, eq=False)
class Base:
    """The model that training began from: its fingerprint, and the projections of every probe prompt."""

    weights: str
    projections: Float[np.ndarray, "prompt direction layer"]

    def save(self, path: Path, key: str) -> None:
        """Save with the key of the probe it was measured with."""
        write_json(path, {"key": key, "weights": self.weights, "projections": self.projections.tolist()})

    @classmethod
    def load(cls, path: Path, key: str) -> "Base | None":
        """The base that `save` wrote; None where there is none, or one of another probe.

        Raises:
            ArtefactError: the file was altered.
        """
        if not path.is_file():
            return None
        data = read_record(path, {"key": str, "weights": str, "projections": list})
        if data["key"] != key:
            return None
        try:
            projections = np.array(data["projections"], dtype=float)
            if projections.ndim != 3:
                raise ValueError(f"its projections have {projections.ndim} dimensions instead of 3")
            return cls(data["weights"], projections)
        except (TypeError, ValueError, OverflowError) as error:
            raise ArtefactError(f"{path} is not the base of a drift log: {error}.", "Restore or delete it.") from error


def base_path(path: Path | None, output_dir: str | None) -> Path:
    """Where the base is kept: beside the log, or else in the folder of the training run."""
    if path is not None:
        return path.with_name(f"{path.stem}_base.json")
    return Path(output_dir or ".") / "drift_base.json"


def check_log(path: Path | None) -> None:
    """Refuse a file that is neither JSON lines nor CSV.

    Raises:
        ConfigError: names both.
    """
    if path is not None and path.suffix not in _KINDS:
        raise ConfigError(f"cannot log drift to {path}.", f"Expected a file that ends in {' or '.join(_KINDS)}.")


def drift_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as a table, with its columns and their types also where there is no row."""
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return DRIFT.checked(frame).astype({"step": int, "layer": int})


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rewrite all rows, atomically; a number that is missing is null in JSON and empty in CSV."""
    if path.suffix == ".csv":
        write_table(path, drift_frame(rows), DRIFT)
    else:
        text = "".join(json.dumps({name: _plain(row[name]) for name in COLUMNS}) + "\n" for row in rows)
        atomic_write_bytes(path, text.encode())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_rows` wrote.

    Raises:
        ArtefactError: the file was altered.
    """
    remedy = "Restore it, or give another path."
    if path.suffix == ".csv":
        frame = read_table(path, DRIFT, remedy=remedy)
    else:
        try:
            lines = [json.loads(line) for line in read_bytes(path).decode("utf-8", errors="replace").splitlines()]
            frame = DRIFT.checked(pd.DataFrame(lines, columns=None if lines else list(COLUMNS)))
        except (AlignmentError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ArtefactError(f"{path} is not a drift log: {error}", remedy) from error
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
