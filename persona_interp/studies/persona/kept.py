"""Scores that are kept as they are made, and the answers that a judge could not rate."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.errors import EndpointError
from persona_interp.judges.protocol import Judge, Score
from persona_interp.judges.ratings import FAILED
from persona_interp.tables import read_table, write_table

logger = logging.getLogger(__name__)

_UNSCORED = "unscored.parquet"


def rate_answers(trait: Trait, judges: Sequence[Judge], answers: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Scores with a column a judge and the index of the answers.

    `unscored.parquet` in the folder keeps the answers that a judge could not rate, with the reason it gave.
    """
    scores = {judge.name: _rate(judge, trait, answers) for judge in judges}
    _keep_unscored(folder, [_unscored(name, answers, given) for name, given in scores.items()])
    return pd.DataFrame({name: [s.value for s in given] for name, given in scores.items()}, index=answers.index)


def ask_again(path: Path, trait: Trait, judges: Sequence[Judge], rated: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Repeat the requests that failed when a kept table of scores was made, and no others; keep what they bring.

    Refusals and replies that were no ratings stay as they are. The table is written before the list of what it lacks:
    killed in between, the same requests are repeated, which the cache answers. Where none succeeds this is logged.

    Args:
        rated: the answers that the judges were asked for, from the table; their index counts its rows.
    """
    if not path.is_file() or not (path.parent / _UNSCORED).is_file():
        return
    table, unscored = read_table(path), read_table(path.parent / _UNSCORED)
    repeated = False
    for judge in judges:
        failed = (unscored["judge"] == judge.name) & unscored["reason"].str.startswith(FAILED)
        pairs = set(zip(unscored["question"][failed], unscored["answer"][failed], strict=True))
        answers = rated(table)
        answers = answers[[pair in pairs for pair in zip(answers["question"], answers["answer"], strict=True)]]
        if answers.empty:
            continue
        try:
            scores = _rate(judge, trait, answers)
        except EndpointError as error:
            logger.warning(
                "%d failed requests were retried, all failed again: %s", len(answers), str(error).splitlines()[0]
            )
            continue
        repeated = True
        table.loc[answers.index, judge.name] = [score.value for score in scores]
        unscored = pd.concat([unscored[~failed], _unscored(judge.name, answers, scores)], ignore_index=True)
    if repeated:
        write_table(path, table)
        _keep_unscored(path.parent, [unscored])


def _rate(judge: Judge, trait: Trait, answers: pd.DataFrame) -> list[Score]:
    return judge.rate(trait, list(answers["question"]), list(answers["answer"]))


def _unscored(judge: str, answers: pd.DataFrame, scores: Sequence[Score]) -> pd.DataFrame:
    """The answers that a judge could not rate: judge, question, answer, reason."""
    reasons = [score.note for score in scores]
    table = answers[["question", "answer"]].assign(judge=judge, reason=reasons)
    return table.loc[[bool(reason) for reason in reasons], ["judge", "question", "answer", "reason"]]


def _keep_unscored(folder: Path, tables: Sequence[pd.DataFrame]) -> None:
    """These alone are kept: an older list is of failures that need not have happened again."""
    some = [table for table in tables if len(table)]
    if some:
        write_table(folder / _UNSCORED, pd.concat(some))
    else:
        (folder / _UNSCORED).unlink(missing_ok=True)


def unscored_answers(folder: Path, trait: Trait) -> pd.DataFrame:
    """Answers that a judge could not rate, both kinds: trait, condition, judge, question, answer, reason."""
    held_out = folder / "rollouts" / trait.name / "held_out"
    steered = folder / "steering" / trait.name / "evaluation"
    tables = [
        read_table(part / _UNSCORED).assign(trait=trait.name, condition=condition)
        for condition, part in (("prompted", held_out), ("steered", steered))
        if (part / _UNSCORED).is_file()
    ]
    columns = ["trait", "condition", "judge", "question", "answer", "reason"]
    return pd.concat([pd.DataFrame(columns=columns), *tables], ignore_index=True)[columns]
