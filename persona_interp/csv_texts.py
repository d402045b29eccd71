"""Texts in CSV that spreadsheets would run as formulas, written so that they do not, and read back as they were."""

import re
from collections.abc import Callable
from typing import Any, cast

import pandas as pd
from pandas import DataFrame, Series

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a text begins that a spreadsheet would run, or one that was written so that none does."""


def inert(frame: DataFrame) -> DataFrame:
    """The frame with an apostrophe before each text, or name of a column, that begins with =, +, -, @ or a tab.

    Numbers stay as they are, as texts too. A text that begins with apostrophes and one of these gets one more.
    """
    return _each_text(frame, _with_apostrophe)


def as_given(frame: DataFrame) -> DataFrame:
    """The frame that `inert` was given."""
    return _each_text(frame, _without_apostrophe)


def _each_text(frame: DataFrame, change: Callable[[str], str]) -> DataFrame:
    def changed(cell: Any) -> Any:
        return change(cell) if isinstance(cell, str) else cell

    columns = [cast("Series[Any]", frame.iloc[:, k]) for k in range(frame.shape[1])]
    if not any(_touched(column, change) for column in columns) and all(changed(n) == n for n in frame.columns):
        return frame
    made = [column.map(changed) if _touched(column, change) else column for column in columns]
    return pd.concat(made, axis=1).set_axis([changed(name) for name in frame.columns], axis=1)


def _touched(column: "Series[Any]", change: Callable[[str], str]) -> bool:
    if pd.api.types.is_numeric_dtype(column):
        return False
    return any(isinstance(cell, str) and change(cell) != cell for cell in column)


def _with_apostrophe(text: str) -> str:
    if _FORMULA.match(text) and (text[0] == "'" or not _is_number(text)):
        return f"'{text}"
    return text


def _without_apostrophe(text: str) -> str:
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
