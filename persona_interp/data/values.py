"""Values in the cells of data files: texts, parts of texts, and JSON. Errors name no row."""

import ast
import json
import reprlib
from collections.abc import Mapping

from persona_interp.errors import DataError

_MARK = b"\xef\xbb\xbf"
_TEXT_PARTS = ("text", "input_text", "output_text")


def parse_json(text: bytes | str) -> object:
    """What a JSON text holds; a byte order mark before it is skipped.

    Raises:
        DataError: not UTF-8, not JSON, or nested too deeply.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.removeprefix(_MARK).decode())
    except UnicodeDecodeError as error:
        raise DataError(f"not valid UTF-8 ({error.reason} at byte {error.start}).") from error
    except ValueError as error:
        raise DataError(f"not valid JSON ({error}).") from error
    except RecursionError as error:
        raise DataError("not valid JSON (nested too deeply).") from error


def listed(value: object) -> object:
    """A list that a text holds, as JSON or as Python writes one (pandas does, in CSV); anything else as it is.

    Raises:
        DataError: a text that begins like a list is neither.
    """
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        return parse_json(value)
    except DataError:
        try:
            return ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
        raise


def text_of(value: object, where: str) -> str:
    """A text, or the text parts of a list joined.

    Raises:
        DataError: it is something else, a part is no text, or a character is half there.
    """
    if isinstance(value, list):
        return "".join(_part(part, where) for part in value)
    if not isinstance(value, str):
        raise DataError(f"{where} is of type {type(value).__name__}, not a text.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where} holds half a character (a lone surrogate) at {error.start}.") from error
    return value


def _part(part: object, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or kind not in _TEXT_PARTS:
        raise DataError(f"{where} has a part of type {reprlib.repr(kind)}; only text can be read.")
    return text_of(part.get("text"), f"{where}, a part's text")
