"""Choosing rows of a table: the few selections that figures and report need."""

from typing import Any, cast

from pandas import DataFrame


def keep(frame: DataFrame, column: str, *values: object) -> DataFrame:
    """The rows that have one of the values in a column."""
    return cast(DataFrame, frame[frame[column].isin(list(values))])


def leave_out(frame: DataFrame, column: str, *values: object) -> DataFrame:
    """The rows that have none of the values in a column."""
    return cast(DataFrame, frame[~frame[column].isin(list(values))])


def distinct(frame: DataFrame, column: str) -> list[Any]:
    """The values of a column, each once, in the order in which they appear, without missing ones."""
    return list(dict.fromkeys(cast(Any, frame[column].dropna()).tolist()))


def cells(frame: DataFrame, column: str) -> list[Any]:
    """The values of a column, row by row."""
    return cast(Any, frame[column]).tolist()


def records(frame: DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries of plain Python values."""
    return cast(list[dict[str, Any]], frame.to_dict("records"))
