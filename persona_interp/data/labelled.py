"""Answers with labels that people gave: with the trait or without it, or how much of it from 0 to 100."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.csv_texts import as_given
from persona_interp.data.cells import NamedRow, is_blank, named_rows, number_of
from persona_interp.data.sources import shown, suffix_of
from persona_interp.errors import DataError
from persona_interp.io import sha256_json
from persona_interp.texts import clean_text

ANSWER, LABEL, QUESTION, GROUP = "answer", "label", "question", "group"
COLUMNS = (
    f"Expected the columns {ANSWER} and {LABEL}, and perhaps {QUESTION} and {GROUP} (what belongs together; default:"
    " the question)."
)
LABELS = "A label is 0 or 1, yes or no, true or false (with the trait or without it), or a number from 0 to 100."
LEAST, LEAST_A_SIDE = 10, 3
"""Labelled answers, and of them with and without the trait, below which nothing is said of a judge."""
_TRUTHS = {"1": 1.0, "yes": 1.0, "true": 1.0, "0": 0.0, "no": 0.0, "false": 0.0}
_MOST = 100.0


@checked
@dataclass(frozen=True, eq=False)
class Labelled:
    """Answers with labels.

    Args:
        questions: empty where the file has none.
        labels: 1 with the trait and 0 without it; or, where `graded`, how much of it there is, 0 to 100.
        groups: what belongs together: intervals are over these.
        source: name of the file.
        n_left_out: rows without a label or without an answer.
    """

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    labels: Float[np.ndarray, " answer"]
    groups: tuple[str, ...]
    graded: bool
    source: str
    n_left_out: int = 0

    def __post_init__(self) -> None:
        """Refuse labels from which nothing can be learnt about a judge."""
        columns = self.questions, self.answers, self.groups
        if {len(column) for column in columns} != {len(self.labels)}:
            raise DataError(f"every answer of {self.source} needs a question (perhaps empty), a label and a group.")
        _check_varied(self)

    def __len__(self) -> int:
        """Number of answers."""
        return len(self.answers)

    @property
    def data_hash(self) -> str:
        """Hash of texts, labels and groups, for provenance."""
        return sha256_json([self.questions, self.answers, self.labels.tolist(), self.groups])[:16]


@checked
def read_labelled(path: str | Path) -> Labelled:
    """Answers and labels of a file in any form that `stream_rows` reads: CSV, TSV, JSON, JSONL, Parquet, with .gz too.

    Columns: answer, label, and perhaps question and group, in any case and order; others are passed over. Labels are
    of two values (0 and 1, yes and no, true and false) or numbers from 0 to 100. Rows without a label or an answer are
    left out and counted.

    Raises:
        ArtefactError: the file is missing or of another kind.
        DataError: a column is missing, a label cannot be read, no row has an answer and a label, there are fewer than
            10 (or fewer than 3 with or without the trait), or all labels are equal; what was found is named.
    """
    rows, left_out = [], 0
    for row in named_rows(path, (ANSWER, LABEL), "labelled answers", perhaps=(QUESTION, GROUP)):
        if is_blank(row.cells.get(ANSWER)) or is_blank(row.cells.get(LABEL)):
            left_out += 1
        else:
            rows.append(row)
    source = Path(path).name
    if not rows:
        raise DataError(f"none of {left_out} rows of {shown(path)} has both an answer and a label.", COLUMNS)
    labels, graded = _labels(rows)
    frame = _texts(rows, undo=suffix_of(Path(path)) in (".csv", ".tsv"))
    groups = frame[GROUP].where(frame[GROUP] != "", frame[QUESTION])
    alone = [f"row {k}" for k in range(len(frame))]  # answers without a question belong to nothing
    return Labelled(
        questions=tuple(frame[QUESTION]),
        answers=tuple(frame[ANSWER]),
        labels=labels,
        groups=tuple(group or own for group, own in zip(groups, alone, strict=True)),
        graded=graded,
        source=source,
        n_left_out=left_out,
    )


def _texts(rows: Sequence[NamedRow], *, undo: bool) -> DataFrame:
    """Question, answer and group; without the apostrophes that this package puts before formulas in CSV."""
    made: dict[str, list[str]] = {QUESTION: [], ANSWER: [], GROUP: []}
    for row in rows:
        for column in (QUESTION, ANSWER):
            cell = row.cells.get(column)
            text = "" if is_blank(cell) else clean_text(cell, f"{row.name}: the {column}", error=DataError)
            made[column].append(text)
        cell = row.cells.get(GROUP)
        made[GROUP].append("" if is_blank(cell) else str(cell).strip())
    frame = DataFrame(made)
    return as_given(frame) if undo else frame


def _labels(rows: Sequence[NamedRow]) -> tuple[Float[np.ndarray, " answer"], bool]:
    """The labels, and whether they are graded."""
    words = [_word(row.cells[LABEL]) for row in rows]
    if all(word in _TRUTHS for word in words):
        return np.array([_TRUTHS[word] for word in words]), False
    values = np.array([number_of(row.cells[LABEL]) for row in rows])
    wrong = np.flatnonzero(~((values >= 0) & (values <= _MOST)))
    if len(wrong):
        row = rows[wrong[0]]
        raise DataError(
            f"{row.name}: the label {str(row.cells[LABEL])[:40]!r} cannot be read"
            f"{f' ({len(wrong)} such of {len(rows)})' if len(wrong) > 1 else ''}.",
            LABELS,
            "All labels of a file are of one kind. Leave the cell empty where there is none.",
        )
    if set(np.unique(values)) <= {0.0, _MOST}:
        return values / _MOST, False
    return values, True


def _word(cell: Any) -> str:
    value = number_of(cell)
    return f"{value:g}" if value == value else str(cell).strip().lower()


def _check_varied(data: Labelled) -> None:
    n, first = len(data.labels), data.labels[0] if len(data.labels) else np.nan
    if n < LEAST:
        raise DataError(
            f"{data.source} has {n} labelled answers, at least {LEAST} are needed.",
            "With fewer, an interval of a judge's validity would say nothing.",
        )
    if np.ptp(data.labels) == 0:
        raise DataError(
            f"all {n} labels of {data.source} are {first:g}, so no judge can be told from another.",
            "Give answers with the trait and answers without it.",
        )
    smaller = int(min((data.labels == value).sum() for value in (0.0, 1.0)))
    if not data.graded and smaller < LEAST_A_SIDE:
        raise DataError(
            f"{data.source} has {smaller} answer{'' if smaller == 1 else 's'} of one label among {n}, at least"
            f" {LEAST_A_SIDE} of each are needed."
        )
    if len(set(data.groups)) < 2:
        raise DataError(
            f"all {n} answers of {data.source} are of one group, {data.groups[0][:60]!r}.",
            "Intervals are over groups (default: questions). Give a column group, or answers to several questions.",
        )
