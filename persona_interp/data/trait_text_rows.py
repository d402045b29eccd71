"""Rows of files of texts with scores: CSV and JSONL of users, and the rated snippets of the vaderSentiment source."""

import csv
import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_interp.data.archives import MOST_UNPACKED, member
from persona_interp.data.csv_text import LONGEST_FIELD
from persona_interp.data.values import parse_json
from persona_interp.errors import ArtefactError, ConfigError, DataError
from persona_interp.files import MOST_WHOLE, is_folder, read_bytes
from persona_interp.texts import clean_text

FORM = (
    "Expected CSV with the columns message_id, message and one for each trait,"
    ' or JSONL with {"text": ..., "scores": {trait: number}}.'
)
RATED_PARTS: Mapping[str, str] = {
    "film": "movieReviewSnippets_GroundTruth.txt",
    "product": "amazonReviewSnippets_GroundTruth.txt",
    "news": "nytEditorialSnippets_GroundTruth.txt",
    "tweet": "tweets_GroundTruth.txt",
}
"""Snippets of film reviews, product reviews, news and tweets, and their files."""
_ARCHIVE = "hutto_ICWSM_2014.tar.gz"
_TEXT, _ID = ("message", "text"), ("message_id", "id")


@dataclass(frozen=True)
class ScoredRow:
    """A text with its scores, and what an error calls its row."""

    where: str
    text: str
    scores: Mapping[str, float]
    row_id: str | None = None
    estimated: bool = False


def scored_rows(path: Path) -> Iterator[ScoredRow]:
    """Rows of a .csv or .jsonl file.

    Raises:
        ArtefactError: the file is missing or of another kind.
        DataError: a row is not in the expected form; it is named, and the column where it is one.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise ArtefactError(f"{path} is not read as texts with scores.", "Expected a name in .csv or .jsonl.", FORM)
    try:
        content = read_bytes(path, most=MOST_WHOLE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not valid UTF-8 ({error.reason} at byte {error.start}).", FORM) from error
    return _csv_rows(path, content) if path.suffix == ".csv" else _jsonl_rows(path, content)


def rated_rows(source: Path, parts: Sequence[str]) -> Iterator[ScoredRow]:
    """Snippets with their mean human rating, -4 to 4, of the archives or the folder described in `RATED_PARTS`.

    Raises:
        ArtefactError: a part's file is not there.
        ConfigError: a part is unknown, or none is asked for.
        DataError: a line is not number, rating and text.
    """
    if not parts or set(parts) - set(RATED_PARTS):
        raise ConfigError(f"no rated snippets are called {list(parts)}.", f"Parts: {', '.join(RATED_PARTS)}.")
    for part in parts:
        data = _rated_file(source, RATED_PARTS[part])
        lines = data.decode("utf-8", errors="replace").splitlines()
        for k, line in enumerate((line for line in lines if line.strip()), start=1):
            where, fields = f"{RATED_PARTS[part]}, line {k}", line.split("\t", 2)
            if len(fields) != 3:
                raise DataError(f"{where}: {len(fields)} fields.", "Expected number, mean rating and text, by tabs.")
            rating = _number(fields[1], where, "sentiment")
            yield ScoredRow(where, _text(fields[2], where), {"sentiment": rating}, f"{part}_{fields[0]}")


def _csv_rows(path: Path, content: str) -> Iterator[ScoredRow]:
    if "\0" in content:
        raise DataError(f"{path} holds a NUL character.", FORM)
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    reader = csv.reader(content.splitlines(keepends=True))
    try:
        header = [name.strip() for name in next(reader, [])]
        text = next((name for name in _TEXT if name in header), None)
        row_id = next((name for name in _ID if name in header), None)
        traits = [name for name in header if name not in (text, row_id)]
        if text is None or not traits or len(set(header)) < len(header):
            lacks = "no text column" if text is None else "no trait column" if not traits else "two columns of one name"
            raise DataError(f"{path} has {lacks}: {', '.join(header)[:200] or 'it is empty'}.", FORM)
        for k, fields in enumerate((fields for fields in reader if fields), start=1):
            where = f"{path.name}, row {k}"
            if len(fields) != len(header):
                raise DataError(f"{where}: {len(fields)} fields; the header names {len(header)}.", FORM)
            row = dict(zip(header, fields, strict=True))
            scores = {name: _number(row[name], where, name) for name in traits}
            yield ScoredRow(where, _text(row[text], where), scores, row[row_id] if row_id else None)
    except csv.Error as error:
        raise DataError(f"{path} is not valid CSV: {error}.", FORM) from error


def _jsonl_rows(path: Path, content: str) -> Iterator[ScoredRow]:
    for k, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name}, line {k}"
        try:
            row = parse_json(line)
        except DataError as error:
            raise DataError(f"{where}: {error}", FORM) from error
        scores = row.get("scores") if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not isinstance(scores, Mapping) or not scores:
            raise DataError(f"{where}: there are no scores.", FORM)
        numbers = {str(name): _number(value, where, str(name)) for name, value in scores.items()}
        text = _text(next((row[key] for key in _TEXT if key in row), None), where)
        row_id = next((row[key] for key in _ID if row.get(key) is not None), None)
        yield ScoredRow(where, text, numbers, None if row_id is None else str(row_id), row.get("estimated") is True)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: the text is {'empty' if isinstance(value, str) else 'missing'}.", FORM)
    return clean_text(value, f"{where}: the text", error=DataError).strip()


def _number(value: object, where: str, column: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{where}, column {column}: {reprlib.repr(value)} is no score.",
            "Expected a finite number. Leave the row out, or leave out a column that holds no scores.",
        )
    return number


def _rated_file(source: Path, name: str) -> bytes:
    """The bytes of a file in an unpacked folder, in the inner archive, or in the source distribution around it."""
    if is_folder(source):
        found = next(iter(sorted(source.rglob(name))), None)
        if found is not None:
            return read_bytes(found)
        source = next(iter(sorted(source.rglob(_ARCHIVE))), source / _ARCHIVE)
    data = member(source, read_bytes(source, most=MOST_UNPACKED), (name, _ARCHIVE), _EXPECTED)
    return member(source, data, (name,), _EXPECTED) if data[:2] == b"\x1f\x8b" else data


_EXPECTED = (
    f"Expected the source distribution of vaderSentiment 3.3.2 (not its wheel), the {_ARCHIVE} inside it, or a folder"
    " of it: pip download --no-deps --no-binary :all: vaderSentiment==3.3.2"
)
