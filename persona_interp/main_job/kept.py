"""Scores that are kept as they are made, and the answers that a judge could not rate."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.io import atomic_write_bytes
from persona_interp.judges.protocol import Judge
from persona_interp.rollouts.parts import read_table


def kept_table(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table at a path, made and kept there if it is not there yet."""
    if not path.is_file():
        _write_parquet(path, make())
    return read_table(path)


def _write_parquet(path: Path, table: pd.DataFrame) -> None:
    buffer = BytesIO()
    table.to_parquet(buffer, index=False)
    atomic_write_bytes(path, buffer.getvalue())


def rate_answers(trait: Trait, judges: Sequence[Judge], answers: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Scores with a column a judge and the index of the answers.

    `unscored.parquet` in the folder keeps the answers that a judge could not rate, with the reason it gave.
    """
    asked, texts = list(answers["question"]), list(answers["answer"])
    scores = {judge.name: judge.rate(trait, asked, texts) for judge in judges}
    unscored = [
        {"judge": name, "question": asked[i], "answer": texts[i], "reason": score.note}
        for name, given in scores.items()
        for i, score in enumerate(given)
        if score.note
    ]
    path = folder / "unscored.parquet"
    path.unlink(missing_ok=True)  # of a killed run, whose failures need not have come again
    if unscored:
        _write_parquet(path, pd.DataFrame(unscored))
    return pd.DataFrame({name: [s.value for s in given] for name, given in scores.items()}, index=answers.index)


def unscored_answers(folder: Path, trait: Trait) -> pd.DataFrame:
    """Answers that a judge could not rate, both kinds: trait, condition, judge, question, answer, reason."""
    held_out = folder / "rollouts" / trait.name / "held_out"
    steered = folder / "steering" / trait.name / "evaluation"
    tables = [
        read_table(part / "unscored.parquet").assign(trait=trait.name, condition=condition)
        for condition, part in (("prompted", held_out), ("steered", steered))
        if (part / "unscored.parquet").is_file()
    ]
    columns = ["trait", "condition", "judge", "question", "answer", "reason"]
    return pd.concat([pd.DataFrame(columns=columns), *tables], ignore_index=True)[columns]
