"""Results that are kept in files, and what each was made from: a kept one is taken for that, and for nothing else."""

from collections.abc import Mapping
from pathlib import Path

from pandas import DataFrame

from persona_interp.errors import ConfigError
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.tables import read_table, write_table


def refuse_other_inputs(made: Path, identity: Mapping[str, object]) -> None:
    """Say what a result will be made from, in a file beside it; refuse one that was made from something else.

    Raises:
        ConfigError: names what differs, or the result is there and nothing says what it was made from.
    """
    said = made.with_name(f"{made.stem}_made_from.json")
    if made.is_file() and not said.is_file():
        raise ConfigError(
            f"{made} does not say what it was made from: {said.name} is not there.",
            "It was made by an earlier version. Give another --work, or delete it to make it again.",
        )
    refuse_other_config(said, identity)


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
