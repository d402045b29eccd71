"""Four-option questions of general knowledge over ten subjects, to see what a change of a model costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_interp.errors import DataError
from persona_interp.io import read_json

_FILE = Path(__file__).with_name("multiple_choice.json")
_FORM = 'Expected {"question": text, "options": four different texts, "answer": 0 to 3}.'


@dataclass(frozen=True)
class ChoiceItem:
    """A question with four options.

    Args:
        answer: 0-based number of the right option.
    """

    subject: str
    question: str
    options: tuple[str, str, str, str]
    answer: int


def load_multiple_choice(path: Path | None = None, *, subjects: Sequence[str] | None = None) -> tuple[ChoiceItem, ...]:
    """The items of a JSON file {subject: [item, ...]}, in its order; by default those written for this project.

    The right option is at each of the four places equally often, within one item.

    Args:
        subjects: only these, in the order of the file.

    Raises:
        ArtefactError: the file is missing or not JSON.
        DataError: an item is not in the expected form, a question comes twice, or a subject is unknown.
    """
    path = _FILE if path is None else path
    data = read_json(path)
    if not isinstance(data, dict) or not all(isinstance(rows, list) for rows in data.values()):
        raise DataError(f"{path} does not hold multiple-choice items.", "Expected an object {subject: [item, ...]}.")
    items = tuple(
        _item(row, subject, f"{path}, {subject}, item {i}")
        for subject, rows in data.items()
        for i, row in enumerate(rows, start=1)
    )
    questions = [item.question for item in items]
    if twice := sorted({question for question in questions if questions.count(question) > 1}):
        raise DataError(f"{path} asks {twice[0]!r} more than once.", "Every question must be there once.")
    if unknown := [subject for subject in subjects or () if subject not in data]:
        raise DataError(f"{path} has no subject {unknown[0]!r}.", f"Subjects: {', '.join(data) or 'none'}.")
    kept = tuple(item for item in items if subjects is None or item.subject in subjects)
    if not kept:
        raise DataError(
            f"{path} holds no multiple-choice item of these subjects.", "Give a file, or subjects, with some."
        )
    return kept


def _item(row: Any, subject: str, where: str) -> ChoiceItem:
    if not isinstance(row, dict):
        raise DataError(f"{where}: got {type(row).__name__}.", _FORM)
    question, options, answer = row.get("question"), row.get("options"), row.get("answer")
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: there is no question.", _FORM)
    if not isinstance(options, list) or not all(isinstance(option, str) and option.strip() for option in options):
        raise DataError(f"{where}: the options are not texts.", _FORM)
    if len(options) != 4 or len({option.strip() for option in options}) != 4:
        raise DataError(f"{where}: got {len({option.strip() for option in options})} different options.", _FORM)
    if type(answer) is not int or not 0 <= answer <= 3:
        raise DataError(f"{where}: the answer is {answer!r}.", _FORM)
    first, second, third, fourth = (option.strip() for option in options)
    return ChoiceItem(subject, question.strip(), (first, second, third, fourth), answer)
