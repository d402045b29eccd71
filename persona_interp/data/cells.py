"""Rows with named columns, of files that people edit: columns found whatever their case, numbers in either notation."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_interp.data.rows import Unusable
from persona_interp.data.sources import shown
from persona_interp.data.streams import stream_rows
from persona_interp.errors import DataError


@dataclass(frozen=True)
class NamedRow:
    """A row: what an error calls it, and its cells by the name of the column in small letters."""

    name: str
    cells: Mapping[str, Any]


def named_rows(
    source: str | Path, needed: Sequence[str], what: str, *, perhaps: Sequence[str] = ()
) -> Iterator[NamedRow]:
    """Rows of a data set of any form (`stream_rows`); the first decides whether the needed columns are there.

    Args:
        what: the file is, for messages: "a sheet of ratings".
        perhaps: columns that may be there too, and are read of files of every form.

    Raises:
        DataError: a row has no columns or cannot be read, or a needed column is missing; those found are named.
        ArtefactError: there is no such file, or it is of another kind or broken.
    """
    first = True
    for _, (name, row) in stream_rows(source, known=frozenset((*needed, *perhaps))):
        if isinstance(row, Unusable):
            raise DataError(f"{row.name or name} cannot be read: {row.reason}", _SAVE)
        if not isinstance(row, Mapping):
            raise DataError(f"{name} is no row with columns but of type {type(row).__name__}.", _columns(needed, what))
        cells = {str(column).strip().lower(): value for column, value in row.items()}
        if first and (missing := [column for column in needed if column not in cells]):
            found = ", ".join(str(column) for column in row)
            raise DataError(
                f"{shown(source)} has no column {', '.join(missing)}. It has: {shown(found) or 'none'}.",
                _columns(needed, what),
            )
        first = False
        yield NamedRow(name, cells)


def number_of(cell: object) -> float:
    """A number in a cell, with a decimal point or comma; NaN for anything else, and what is not finite."""
    if isinstance(cell, str):
        text = cell.strip().lstrip("'").replace(",", ".")
        cell = math.nan if "_" in text else text
    try:
        value = float(cell) if isinstance(cell, str | int | float) and not isinstance(cell, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def is_blank(cell: object) -> bool:
    """Whether a cell holds nothing."""
    return cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and cell != cell)


_SAVE = "Save it as CSV in UTF-8 (spreadsheets offer 'CSV UTF-8'), with as many fields in every row as in the first."


def _columns(needed: Sequence[str], what: str) -> str:
    return f"Expected {what} with the columns {', '.join(needed)}, named in its first row or in every JSON object."
