"""Tables on disk: columns that are declared, one way to write CSV and Parquet, one way to read and check them.

A `Form` says what the columns of a table are. What is written is checked against it, and so is what is read: a damaged
file, a missing column and a cell of the wrong kind are each one `ArtefactError`, or with `strict=False` a list.
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, overload

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from persona_interp.csv_texts import as_given, inert
from persona_interp.errors import AlignmentError, ArtefactError, ConfigError
from persona_interp.files import MOST_WHOLE, atomic_write_bytes, is_file, read_bytes
from persona_interp.parquet import DAMAGED, parse_parquet

Kind = Literal["text", "number", "whole", "truth"]

REMEDY = "Delete it and run the same command again, or restore it."
_TRUTHS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_EXPECTED = {"text": "a text", "number": "a number", "whole": "a whole number", "truth": "True or False"}
_DTYPES = {"text": "str", "number": "float64", "whole": "Int64", "truth": "boolean"}


@dataclass(frozen=True)
class Column:
    """A declared column.

    Args:
        kind: number is float64, where NaN is missing; whole is Int64 and truth boolean, both with missing cells.
        unit: of a number, in words; empty for shares, counts and texts.
        allowed: the values that a text may have; empty: any.
        filled: whether no cell may be missing. A text that may be missing is read as missing where it is empty.
        optional: whether a table may lack the whole column.
    """

    name: str
    kind: Kind
    unit: str = ""
    allowed: tuple[str, ...] = ()
    filled: bool = False
    optional: bool = False

    def typed(self, values: "Series[Any]") -> tuple["Series[Any]", str]:
        """The values in the column's type, wrong ones missing, and what was wrong with the first of those."""
        cells = [None if _is_missing(value) else value for value in values]
        if self.filled and self.kind == "text":
            cells = ["" if cell is None else cell for cell in cells]
        converted = [None if cell is None else _convert(cell, self.kind) for cell in cells]
        if self.allowed:
            converted = [cell if cell in self.allowed else None for cell in converted]
        wrong = [k for k, cell in enumerate(cells) if cell is not None and converted[k] is None]
        missing = [k for k, cell in enumerate(cells) if cell is None and self.filled]
        problem = ""
        if wrong:
            expected = f"one of {', '.join(self.allowed)}" if self.allowed else _EXPECTED[self.kind]
            problem = f"column {self.name} must hold {expected}, got {str(cells[wrong[0]])[:80]!r} in row {wrong[0]}"
            problem += f" ({len(wrong)} such of {len(cells)})" if len(wrong) > 1 else ""
        elif missing:
            problem = f"column {self.name} has no value in row {missing[0]} ({len(missing)} such of {len(cells)})"
        return Series(converted, index=values.index, dtype=_DTYPES[self.kind], name=self.name), problem


@dataclass(frozen=True)
class Form:
    """What the columns of a table are.

    Args:
        name: of the table, for messages.
        open: whether other columns may stand beside the declared ones.
    """

    name: str
    columns: tuple[Column, ...]
    open: bool = False

    def __post_init__(self) -> None:
        """A column is declared once."""
        names = [column.name for column in self.columns]
        assert len(names) == len(set(names)), f"{self.name} declares a column twice"

    @property
    def names(self) -> list[str]:
        """The declared columns, in order."""
        return [column.name for column in self.columns]

    def typed(self, frame: DataFrame) -> tuple[DataFrame, list[str]]:
        """The frame with its declared columns first and in their types, and what is wrong with it."""
        given = [str(name) for name in frame.columns]
        needed = [column.name for column in self.columns if not column.optional]
        problems = [f"column {name} is missing" for name in needed if name not in given]
        problems += [f"column {name} is there twice" for name in sorted({n for n in given if given.count(n) > 1})]
        if not self.open and (others := [name for name in given if name not in self.names]):
            problems.append(f"column {others[0]} is not known")
        made: dict[str, Series[Any]] = {}
        for column in self.columns:
            if column.name in given:
                values = frame.loc[:, column.name]
                values = values if isinstance(values, Series) else values.iloc[:, 0]
                made[column.name], problem = column.typed(values)
                problems += [problem] if problem else []
        rest = frame.loc[:, [name for name in given if name not in self.names] if self.open else []]
        return pd.concat([DataFrame(made, index=frame.index), rest], axis=1), problems

    def checked(self, frame: DataFrame) -> DataFrame:
        """The frame in this form.

        Raises:
            AlignmentError: it has another form; what differs is named.
        """
        found, problems = self.typed(frame)
        if problems:
            raise AlignmentError(f"the table {self.name} cannot be made: {problems[0]}.", *_said(problems[1:]))
        return found


def texts(names: str, *, filled: bool = False, optional: bool = False) -> tuple[Column, ...]:
    """Columns of text, their names separated by spaces."""
    return tuple(Column(name, "text", filled=filled, optional=optional) for name in names.split())


def numbers(names: str, *, unit: str = "", optional: bool = False) -> tuple[Column, ...]:
    """Columns of numbers, their names separated by spaces."""
    return tuple(Column(name, "number", unit, optional=optional) for name in names.split())


def wholes(names: str, *, optional: bool = False) -> tuple[Column, ...]:
    """Columns of whole numbers, such as layers and counts, their names separated by spaces."""
    return tuple(Column(name, "whole", optional=optional) for name in names.split())


def truths(names: str, *, optional: bool = False) -> tuple[Column, ...]:
    """Columns of True and False, their names separated by spaces."""
    return tuple(Column(name, "truth", optional=optional) for name in names.split())


def table_bytes(frame: DataFrame, suffix: str, *, digits: int | None = None) -> bytes:
    """The bytes of a CSV or Parquet file with these rows, without the index.

    Spreadsheets run a CSV cell that begins with =, +, - or @ as a formula. In CSV such a text, unless it is a number,
    is written with an apostrophe before it, which `read_table` takes away; Parquet has the text itself.

    Args:
        digits: significant digits of numbers in CSV; default: as many as bring back the same number.

    Raises:
        ConfigError: the suffix is neither .csv nor .parquet.
    """
    if suffix == ".parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, engine="pyarrow", index=False)
        return buffer.getvalue()
    if suffix != ".csv":
        raise ConfigError(f"a table is kept as .csv or .parquet, got a name that ends in {suffix!r}.")
    quoting = csv.QUOTE_NONNUMERIC if _has_bare_return(frame) else csv.QUOTE_MINIMAL
    shown = None if digits is None else f"%.{digits}g"
    text = inert(frame).to_csv(index=False, lineterminator="\n", float_format=shown, quoting=quoting)
    return text.encode()


def write_table(path: Path, frame: DataFrame, form: Form | None = None, *, digits: int | None = None) -> None:
    """Write a table atomically as CSV or Parquet, by the ending of its name.

    Raises:
        AlignmentError: the frame has another form.
        ArtefactError: the file cannot be written.
        ConfigError: the name ends in neither .csv nor .parquet.
    """
    frame = frame if form is None else form.checked(frame)
    atomic_write_bytes(path, table_bytes(frame, path.suffix, digits=digits))


@overload
def read_table(
    path: Path, form: Form | None = None, *, remedy: str = ..., strict: Literal[True] = True
) -> DataFrame: ...
@overload
def read_table(
    path: Path, form: Form | None = None, *, remedy: str = REMEDY, strict: Literal[False]
) -> tuple[DataFrame, list[str]]: ...
def read_table(
    path: Path, form: Form | None = None, *, remedy: str = REMEDY, strict: bool = True
) -> DataFrame | tuple[DataFrame, list[str]]:
    """Read a CSV or Parquet table, numbers exactly as they were written.

    In CSV an empty cell is missing, and nothing else is: a trait may be called NA. Without a form the types of a CSV
    are found by their looks.

    Args:
        remedy: what to do where the file cannot be used.
        strict: refuse what is not in the form; else return what can be read, wrong cells missing, with the list of
            what was wrong.

    Raises:
        ArtefactError: the file is missing or damaged, or (strict) not in the form.
    """
    frame = _read(path, form is not None, remedy)
    if form is not None:
        frame, problems = form.typed(frame)
        if strict and problems:
            raise ArtefactError(f"{path}: {problems[0]}.", *_said(problems[1:]), remedy)
        return frame if strict else (frame, problems)
    return frame if strict else (frame, [])


def rows_of(frame: DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries of plain Python values, missing cells as None."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def kept_table(path: Path, make: Callable[[], DataFrame], form: Form | None = None) -> DataFrame:
    """The table at a path, made and kept there if it is not there yet; always as the file has it.

    The folder must belong to the inputs of `make`: a path alone says nothing of them.
    """
    if not is_file(path):
        write_table(path, make(), form)
    return read_table(path, form)


def _read(path: Path, as_text: bool, remedy: str) -> DataFrame:
    data = read_bytes(path, most=MOST_WHOLE, remedy=remedy)
    if as_text and path.suffix == ".csv" and data and not data.endswith((b"\n", b"\r")):
        raise ArtefactError(f"{path} is not a whole CSV table: it ends within a line.", remedy)
    try:
        if path.suffix == ".parquet":
            return parse_parquet(data)
        types: Any = str if as_text else None
        found = pd.read_csv(
            io.BytesIO(data),
            dtype=types,
            keep_default_na=False,
            na_values=[] if as_text else [""],
            encoding="utf-8",
        )
        return as_given(found)
    except DAMAGED as error:
        kind = "Parquet file" if path.suffix == ".parquet" else "CSV table in UTF-8"
        raise ArtefactError(f"{path} is not a whole {kind}: {' '.join(str(error).split())[:200]}.", remedy) from error


def _is_missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return (isinstance(value, float | np.floating) and math.isnan(value)) or (isinstance(value, str) and not value)


def _convert(cell: Any, kind: Kind) -> Any:
    """A cell as the kind has it; None where it is not of that kind."""
    if kind == "text":
        return cell if isinstance(cell, str) else None
    if kind == "truth":
        return _TRUTHS.get(str(cell).lower())
    if isinstance(cell, bool | np.bool_):
        return None
    if isinstance(cell, str) and "_" in cell:  # which Python takes for a separator of thousands
        return None
    try:
        if kind == "whole" and not isinstance(cell, float | np.floating) and str(cell).lstrip("-").isdecimal():
            return int(cell) if abs(int(cell)) < 2**63 else None
        value = float(cell)
    except (TypeError, ValueError):
        return None
    if kind == "number":
        return value
    return int(value) if math.isfinite(value) and value == int(value) and abs(value) < 2**63 else None


def _has_bare_return(frame: DataFrame) -> bool:
    """Whether a text holds a carriage return, which pandas leaves unquoted though it ends a line."""
    named = [str(name) for name in frame.columns]
    columns = [cast("Series[Any]", frame.iloc[:, k]) for k in range(len(named))]
    cells = (cell for column in columns if not pd.api.types.is_numeric_dtype(column) for cell in column)
    return any("\r" in text for text in named) or any(isinstance(cell, str) and "\r" in cell for cell in cells)


def _said(problems: Sequence[str], most: int = 4) -> list[str]:
    lines = [f"Also: {problem}." for problem in problems[:most]]
    return lines + ([f"And {len(problems) - most} more."] if len(problems) > most else [])
