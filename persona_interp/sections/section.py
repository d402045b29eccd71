"""What a section of the report is: sentences, tables and figures, made from tables in a results folder."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure, SavedFigure
from persona_interp.figures.frames import records
from persona_interp.figures.style import save_figure
from persona_interp.files import is_file
from persona_interp.io import read_record
from persona_interp.sections.words import number, plain, signed, whole
from persona_interp.tables import Form, read_table

REMEDY = "Run the command that wrote it again into this folder, or restore the file."

Show = Callable[[Mapping[str, Any]], str]
"""A cell from a row."""


@dataclass(frozen=True)
class Column:
    """A column of a table on the page: its heading, what a cell shows, and whether it is set as a number."""

    heading: str
    show: Show
    numeric: bool = True


@dataclass(frozen=True)
class SectionTable:
    """A table on the page, its cells as text."""

    title: str
    note: str
    headings: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A section of the page: what was found in sentences, its figures, its numbers, and its provenance.

    Args:
        key: its anchor on the page.
        sentences: one a finding, with its numbers.
        notes: what the numbers are and are not, one sentence each.
    """

    key: str
    title: str
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    figures: tuple[DrawnFigure, ...]
    tables: tuple[SectionTable, ...]
    provenance: Mapping[str, Any]


def saved_table(folder: Path, form: Form) -> DataFrame | None:
    """The table of a results folder that has the name of the form; None where it is not there or has no rows.

    Raises:
        ArtefactError: it is damaged or in another form.
    """
    path = folder / "tables" / f"{form.name}.csv"
    frame = read_table(path, form, remedy=REMEDY) if is_file(path) else None
    return None if frame is None or frame.empty else frame


def read_provenance(folder: Path, command: str) -> Mapping[str, Any]:
    """The manifest that a command left beside its tables; empty where there is none.

    Raises:
        ArtefactError: it is not an object in JSON.
    """
    path = folder / f"provenance_{command}.json"
    return read_record(path, remedy=REMEDY) if is_file(path) else {}


def table(title: str, note: str, frame: DataFrame, columns: Sequence[Column]) -> SectionTable:
    """The rows of a frame as text, unreadable characters made visible."""
    return SectionTable(
        title=title,
        note=note,
        headings=tuple((column.heading, column.numeric) for column in columns),
        rows=tuple(tuple(plain(column.show(row)) for column in columns) for row in records(frame)),
    )


def save(drawn: Sequence[DrawnFigure], folder: Path) -> tuple[SavedFigure, ...]:
    """The figures saved in a folder, in their order."""
    return tuple(SavedFigure(*save_figure(one.figure, one.frame, folder, one.name), one.caption) for one in drawn)


def text(name: str, heading: str | None = None) -> Column:
    """A column of words."""
    return Column(name if heading is None else heading, lambda row: words(row[name]), numeric=False)


def count(name: str, heading: str | None = None) -> Column:
    """A column of counts or layers."""
    return Column(
        name if heading is None else heading, lambda row: whole(None if _empty(row[name]) else int(row[name]))
    )


def value(name: str, heading: str | None = None, *, digits: int = 2, sign: bool = False) -> Column:
    """A column of numbers without an interval."""
    show = signed if sign else number
    return Column(
        name if heading is None else heading, lambda row: "—" if _empty(row[name]) else show(float(row[name]), digits)
    )


def estimate(
    name: str, heading: str, *, low: str = "low", high: str = "high", digits: int = 2, sign: bool = False
) -> Column:
    """A column of estimates with their intervals."""
    return Column(heading, lambda row: spread(row[name], row[low], row[high], digits=digits, sign=sign))


def spread(value: Any, low: Any, high: Any, *, digits: int = 2, sign: bool = False) -> str:
    """`0.93 [0.88, 0.97]`; a dash where there is no number."""
    if _empty(value):
        return "—"
    show = signed if sign else number
    ends = "no interval" if _empty(low) or _empty(high) else f"{show(float(low), digits)}, {show(float(high), digits)}"
    return f"{show(float(value), digits)} [{ends}]"


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and value of every entry of a manifest, nested ones by their path."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name} › ")
        else:
            items = value if isinstance(value, list) else [value]
            yield plain(f"{prefix}{name}"), plain(", ".join("—" if item is None else str(item) for item in items))


def words(cell: Any) -> str:
    """A cell as text; a dash where it is empty."""
    return "—" if _empty(cell) else str(cell)


def _empty(cell: Any) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and not math.isfinite(cell))
