"""Tables that are kept in files."""

from collections.abc import Mapping
from pathlib import Path

from pandas import DataFrame

from persona_interp.tables import read_table, write_table


def write_tables(folder: Path, tables: Mapping[str, DataFrame], *, digits: int | None = None) -> None:
    """Every table as CSV under its name, which may begin with folders; `digits` as of `write_table`."""
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table, digits=digits)


def read_tables(folder: Path, *names: str) -> list[DataFrame]:
    """Tables as `write_tables` left them, in the order of the names.

    Raises:
        ArtefactError: one is missing or damaged.
    """
    return [read_table(folder / f"{name}.csv") for name in names]
