"""Files that users keep sentences of styles in, row by row with the place of each, for errors."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from persona_interp.data.csv_text import csv_rows as rows_of_csv
from persona_interp.errors import DataError
from persona_interp.files import MOST_WHOLE, read_bytes
from persona_interp.records import parse_json
from persona_interp.texts import clean_text

Row = tuple[str, str, str]
"""Place, text, style."""

FORMS = (
    "Expected .jsonl or .csv with the columns text and style, or a folder with one .txt a style, one sentence a line."
)
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "packed with gzip", b"PK\3\4": "a zip file"}
_COLUMNS = ("text", "style")


def decode(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        DataError: it is not UTF-8; the line is named.
        ArtefactError: it cannot be read.
    """
    data = read_bytes(path, most=MOST_WHOLE)
    if other := next((name for mark, name in _MARKS.items() if data.startswith(mark)), None):
        raise DataError(f"{path} is {other}, not UTF-8.", "Save the file as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line} is not UTF-8: found byte 0x{data[error.start]:02x}.", "Save the file as UTF-8."
        ) from error


def folder_rows(folder: Path) -> Iterator[Row]:
    """Rows of a folder with one .txt a style, one sentence a line.

    Raises:
        DataError: no .txt file, or one that is not UTF-8.
    """
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise DataError(f"{folder} holds no .txt file.", FORMS)
    for file in files:
        for k, line in enumerate(decode(file).removesuffix("\n").split("\n"), start=1):
            yield f"{file}, line {k}", line, file.stem


def jsonl_rows(path: Path, text: str) -> Iterator[Row]:
    """Rows of JSON lines with `text` and `style`.

    Raises:
        DataError: a line is not such an object.
    """
    for k, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            row = parse_json(line.encode())
        except ValueError as error:
            raise DataError(f"{path}, line {k} is not JSON: {str(error)[:200]}.", FORMS) from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {k} holds a {type(row).__name__}.", 'Expected {"text": ..., "style": ...}.')
        yield _row(row, f"{path}, line {k}")


def csv_rows(path: Path, text: str) -> Iterator[Row]:
    """Rows of a CSV file with the columns `text` and `style`; a row of several lines is named by its last.

    Raises:
        DataError: a column is missing.
    """
    for line, row in rows_of_csv(path, text):
        yield _row(row, f"{path}, line {line}")


def _row(row: Mapping[str, Any], place: str) -> Row:
    missing = [column for column in _COLUMNS if column not in row]
    if missing:
        found = ", ".join(map(str, row))[:200] or "nothing"
        raise DataError(f"{place} lacks the column {' and '.join(missing)}.", f"Found {found}.", FORMS)
    texts = [row[column] for column in _COLUMNS]
    if not all(isinstance(value, str) for value in texts):
        raise DataError(f"{place}: text and style must be texts, got {texts!r:.200}.", FORMS)
    said, style = (
        clean_text(value, f"{place}: {name}", error=DataError) for name, value in zip(_COLUMNS, texts, strict=True)
    )
    return place, said, style
