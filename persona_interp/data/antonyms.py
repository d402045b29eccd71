"""Pairs of antonyms on the three axes of meaning: Evaluation, Potency and Activity; written for this project.

The axes are those of Osgood, Suci and Tannenbaum 1957, The Measurement of Meaning.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from persona_interp.errors import DataError
from persona_interp.io import read_json

Axis = Literal["evaluation", "potency", "activity"]
AXES: tuple[Axis, ...] = get_args(Axis)
FRAME = "It is {word}."
"""The sentence in which a word is read."""
_FILE = Path(__file__).with_name("antonyms.json")
_LEAST = 8


@dataclass(frozen=True)
class Antonyms:
    """Two words that differ along an axis: the first has more of it."""

    high: str
    low: str

    @property
    def sentences(self) -> tuple[str, str]:
        """Both words in the frame."""
        return FRAME.format(word=self.high), FRAME.format(word=self.low)


def load_antonyms(path: Path | None = None) -> dict[Axis, tuple[Antonyms, ...]]:
    """The pairs of each axis of a JSON file {axis: [[high, low], ...]}; by default twelve each.

    Raises:
        ArtefactError: the file is missing or not JSON.
        DataError: an axis is missing, or has fewer than eight pairs or one of another form; or a word comes twice.
    """
    path = _FILE if path is None else path
    data = read_json(path)
    if not isinstance(data, dict) or set(data) != set(AXES):
        raise DataError(f"{path} must have the axes {', '.join(AXES)} and no other.")
    found: dict[Axis, tuple[Antonyms, ...]] = {}
    for axis in AXES:
        rows = data[axis]
        if not isinstance(rows, list) or len(rows) < _LEAST or not all(map(_is_pair, rows)):
            raise DataError(f"{path}: {axis} must be {_LEAST} pairs of words or more.", 'As in ["kind", "cruel"].')
        found[axis] = tuple(Antonyms(*row) for row in rows)
    words = [word for pairs in found.values() for pair in pairs for word in (pair.high, pair.low)]
    if twice := sorted({word for word in words if words.count(word) > 1}):
        raise DataError(f"{path} has the word {twice[0]!r} twice.")
    return found


def _is_pair(row: object) -> bool:
    return isinstance(row, list) and len(row) == 2 and all(isinstance(word, str) and word.strip() for word in row)
