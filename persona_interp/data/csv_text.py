"""Rows of CSV texts with a header, each with as many fields as it."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from persona_interp.errors import DataError
from persona_interp.files import shown

LONGEST_FIELD = 2**24
"""Characters of a field; Python's own limit is 131,072."""


def csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The line at which each row ends, and its fields by the names of the header.

    Raises:
        DataError: the text holds NUL, a field has more than 2^24 characters, the header is missing or names a column
            twice, or a row has another number of fields; the line is named.
    """
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{shown(path)}, line {line} holds a NUL character.", "Save it as plain CSV in UTF-8.")
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, [])
        if not header or len(set(header)) < len(header):
            named = ", ".join(header)[:200] or "no columns"
            raise DataError(f"{shown(path)} has {named}.", "Expected a first line that names each column once.")
        for fields in reader:
            if len(fields) != len(header) and fields:
                raise DataError(
                    f"{shown(path)}, line {reader.line_num} has {len(fields)} fields; the header names {len(header)}.",
                    "Put texts with commas in quotes.",
                )
            if fields:
                yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DataError(f"{shown(path)} is not valid CSV, line {reader.line_num}: {error}.") from error
