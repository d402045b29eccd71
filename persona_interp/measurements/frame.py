"""A tidy frame of measurements: one number a row, checked when made, saved with the hash of its bytes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from persona_interp.arguments import checked
from persona_interp.errors import AlignmentError, ArtefactError, ConfigError, EmptySelectionError
from persona_interp.files import MOST_WHOLE
from persona_interp.io import (
    atomic_write_bytes,
    manifest_path,
    read_described,
    sha256_bytes,
    write_json,
)
from persona_interp.tables import read_table, table_bytes

TEXT_COLUMNS = (
    *("model", "trait", "method", "layers", "stream", "prompts", "sample", "metric", "judge", "run_id", "question"),
)
COLUMNS = (
    *("model", "trait", "method", "layer", "layers", "stream", "coefficient", "kl", "prompts", "sample", "metric"),
    *("judge", "value", "run_id", "question"),
)
OPTIONAL = {"layers": "", "prompts": "", "judge": "", "kl": None}
"""Columns that may be left out, and what then stands in them."""
KIND = "measurements"
MANIFEST_VERSION = 2


@checked
@dataclass(frozen=True, eq=False)
class Measurements:
    """A validated tidy frame, one number a row: what was measured (`metric`), on what, and its `value`.

    `layer` (0-based block) and `coefficient` may be missing, for measurements that have none; texts may be
    empty, not missing. `layers` are the blocks of what is done at several together, joined by "+"; `prompts` names the
    set that a question is of, and `judge` who rated the answer. `kl` is the target, in nats, of a coefficient that was
    found for one (`strength_for_kl`). These four may be left out. `value` is always finite: a measurement that failed
    is a row left out. `question` is the cluster of the bootstrap, empty where there is none.

    Raises:
        AlignmentError: a column is missing or unknown, or holds something that it cannot hold.
    """

    frame: DataFrame

    def __post_init__(self) -> None:
        """Check the columns and give each its one dtype."""
        _check_columns(self.frame.columns, "the frame")
        given = {str(name): column for name, column in self.frame.items()}
        given |= {
            name: Series([empty] * len(self.frame), index=self.frame.index, dtype=object, name=name)
            for name, empty in OPTIONAL.items()
            if name not in given
        }
        columns = {name: _text(given[name]) for name in TEXT_COLUMNS}
        columns["layer"] = _layers(given["layer"])
        columns |= {name: _numbers(given[name], nullable=True) for name in ("coefficient", "kl")}
        columns["value"] = _numbers(given["value"], nullable=False)
        object.__setattr__(self, "frame", DataFrame({name: columns[name].array for name in COLUMNS}))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.frame)

    @classmethod
    @checked
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Measurements":
        """Measurements from one mapping a row, each with the columns."""
        for index, row in enumerate(rows):
            _check_columns(row, f"row {index}")
        cells = {
            name: [row.get(name, OPTIONAL[name]) if name in OPTIONAL else row[name] for row in rows] for name in COLUMNS
        }
        return cls(DataFrame({name: Series(values, dtype=object) for name, values in cells.items()}))

    @classmethod
    @checked
    def concat(cls, parts: Sequence["Measurements"]) -> "Measurements":
        """All rows of several measurements, in the order given."""
        if not parts:
            return cls.from_rows([])
        return cls(pd.concat([part.frame for part in parts], ignore_index=True))

    @checked
    def select(
        self,
        metric: str | None = None,
        trait: str | None = None,
        method: str | None = None,
        layer: int | None = None,
        coefficient: int | float | None = None,
    ) -> "Measurements":
        """The rows that equal every value given; None leaves a column unfiltered.

        Rows without a layer or a coefficient are found through `frame`.

        Raises:
            EmptySelectionError: no row is left.
        """
        wanted = {"metric": metric, "trait": trait, "method": method, "layer": layer, "coefficient": coefficient}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        keep = np.ones(len(self.frame), dtype=bool)
        for name, value in wanted.items():
            keep &= (self.frame[name] == value).fillna(False).to_numpy(dtype=bool)
        if not keep.any():
            asked = ", ".join(f"{name}={value!r}" for name, value in wanted.items()) or "all rows"
            there = [f"{name}: {_some(self.frame[name].dropna().unique())}." for name in wanted]
            raise EmptySelectionError(
                f"no measurement has {asked} (of {len(self)} rows).",
                *there,
                "Each may be there without the others: look at .frame.",
            )
        return Measurements(self.frame.loc[keep])

    @checked
    def save(self, path: Path, manifest: Mapping[str, Any]) -> None:
        """Write Parquet, then a JSON manifest beside it with the SHA-256 of its bytes; both atomically.

        Args:
            manifest: whatever else should be known about these numbers. `kind`, `manifest_version`, `sha256` and
                `n_rows` always describe the file that is written.
        """
        _check_path(path)
        data = table_bytes(self.frame, path.suffix)
        ours = {
            "kind": KIND,
            "manifest_version": MANIFEST_VERSION,
            "sha256": sha256_bytes(data),
            "n_rows": len(self),
        }
        atomic_write_bytes(path, data)
        write_json(manifest_path(path), {**manifest, **ours})

    @classmethod
    @checked
    def load(cls, path: Path) -> "Measurements":
        """The measurements saved at `path`; their manifest is `io.read_json(io.manifest_path(path))`.

        Raises:
            ArtefactError: the file or its manifest is missing, truncated, altered or of another kind.
        """
        _check_path(path)
        read_described(path, kind=KIND, version=MANIFEST_VERSION, most=MOST_WHOLE)
        try:
            return cls(_renewed(read_table(path)))
        except AlignmentError as error:
            raise ArtefactError(
                f"{path} does not hold measurements: {error}", "Restore it or make it again."
            ) from error


def score_rows(answers: DataFrame, judges: Sequence[str]) -> DataFrame:
    """Rows of measurements: expression by every judge, `coherence` and `passes_gate` (0 or 1), metric after metric.

    Args:
        answers: what an answer is of, in columns of measurements, and a column of numbers for each of these; where a
            number is missing there is no row.
    """
    names = {judge: ("expression", judge) for judge in judges}
    names |= {metric: (metric, "") for metric in ("coherence", "passes_gate")}
    of = answers[[name for name in COLUMNS if name in answers]].assign(sample=answers["sample"].astype(str))
    parts = [
        of.assign(metric=metric, judge=judge, value=answers[column].astype(float))[answers[column].notna()]
        for column, (metric, judge) in names.items()
    ]
    return pd.concat(parts)


def _renewed(frame: DataFrame) -> DataFrame:
    """A frame of any version: the first had the judge behind the metric, as in "expression: JUDGE"."""
    if "judge" in frame or "metric" not in frame:
        return frame
    parts = frame["metric"].str.partition(": ")
    return frame.assign(metric=parts[0], judge=parts[2])


def _check_path(path: Path) -> None:
    if path.suffix != ".parquet":
        raise ConfigError(
            f"measurements cannot be kept at {path}.", "The name must end in .parquet; the manifest takes .json."
        )


def _check_columns(given: Iterable[str], where: str) -> None:
    given = list(given)
    missing = [name for name in COLUMNS if name not in given and name not in OPTIONAL]
    unknown = [str(name) for name in given if name not in COLUMNS]
    repeated = sorted({str(name) for name in given if given.count(name) > 1})
    wrong = {"missing": missing, "unknown": unknown, "repeated": repeated}
    if any(wrong.values()):
        said = "; ".join(f"{kind} {', '.join(names)}" for kind, names in wrong.items() if names)
        raise AlignmentError(
            f"measurements need exactly their columns; {where} has {said}.",
            f"Columns: {', '.join(COLUMNS)}; {', '.join(OPTIONAL)} may be left out.",
            "layer and coefficient may be None, texts may be empty.",
        )


def _text(column: Series) -> Series:
    wrong = [(row, value) for row, value in enumerate(column) if not isinstance(value, str)]
    if wrong:
        raise _bad_cell(column, wrong, 'a text ("" where there is none)')
    return column.astype("str")


def _numbers(column: Series, *, nullable: bool) -> Series:
    cells = list(enumerate(column))
    if nullable:
        cells = [(row, value) for row, value in cells if not _missing(value)]
    wrong = [(row, value) for row, value in cells if not _is_number(value) or not math.isfinite(value)]
    if wrong:
        raise _bad_cell(column, wrong, "a finite number" + (" or None" if nullable else "; leave failed rows out"))
    numbers = np.full(len(column), np.nan)
    numbers[[row for row, _ in cells]] = [float(value) for _, value in cells]
    return Series(numbers, dtype="float64")


def _layers(column: Series) -> Series:
    cells = [None if _missing(value) else value for value in column]
    whole = [value is None or (_is_number(value) and value >= 0 and value % 1 == 0) for value in cells]
    wrong = [(row, value) for row, (value, right) in enumerate(zip(cells, whole, strict=True)) if not right]
    if wrong:
        raise _bad_cell(column, wrong, "a 0-based block number or None")
    return Series([None if value is None else int(value) for value in cells], dtype="Int64")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Integral) and not isinstance(value, bool | np.bool_)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, Real) and math.isnan(value))


def _bad_cell(column: Series, wrong: list[tuple[int, Any]], expected: str) -> AlignmentError:
    row, value = wrong[0]
    return AlignmentError(
        f"column {column.name!r} of measurements holds {value!r} in row {row} ({len(wrong)} such of {len(column)}).",
        f"Expected {expected}.",
    )


def _some(values: Any, most: int = 8) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "") or "none"
