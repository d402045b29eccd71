"""Results that are kept in files, and what each was made from: a kept one is taken for that, and for nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from persona_interp.data.conversations import Conversation
from persona_interp.errors import ConfigError
from persona_interp.io import atomic_write_bytes, sha256_json
from persona_interp.rollouts.parts import refuse_other_config


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


def conversations_hash(data: Sequence[Conversation]) -> str:
    """Of a training set."""
    return sha256_json([[[turn.role, turn.content] for turn in talk.turns] for talk in data])[:16]


def write_tables(folder: Path, **tables: pd.DataFrame) -> None:
    """Every table as CSV."""
    for name, table in tables.items():
        atomic_write_bytes(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n").encode())
