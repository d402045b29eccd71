"""Texts that somebody gives: what can be printed, saved and made part of a path."""

import re
import unicodedata

from persona_interp.errors import ConfigError, DataError, PersonaInterpError

LONGEST = 1_000_000
"""Characters of a text that is given as an option or an argument."""
MOST_BYTES = 80
"""Of a name that becomes part of a path: two of them, a prefix and a suffix fit the 255 bytes of a file name."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that are devices on some systems, whatever their ending."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def text_fault(text: str, longest: int = LONGEST) -> str | None:
    """What is wrong with a text that is to be printed and saved; None where nothing is."""
    if len(text) > longest:
        return f"it has {len(text):,} characters, at most {longest:,} are taken"
    if found := _SURROGATE.search(text):
        return f"its character {found.start() + 1} is half of a pair (U+{ord(found[0]):04X}), which no encoding has"
    if "\0" in text:
        return f"its character {text.index(chr(0)) + 1} is NUL"
    return None


def clean_text(
    value: object, name: str, *, longest: int = LONGEST, error: type[PersonaInterpError] = ConfigError
) -> str:
    r"""A text that can be printed and saved, unchanged.

    Half of a surrogate pair comes of bytes on the command line that are not UTF-8, and of "\ud800" in JSON.

    Args:
        name: what the text is, for the message: "--system", "the trait of evil.json".
        error: `ConfigError` for an argument or an option; another where it was found in a file.

    Raises:
        PersonaInterpError: it is no text, is longer than `longest` characters, or holds NUL or half of a pair.
    """
    if not isinstance(value, str):
        raise error(f"{name} is a {type(value).__name__}.", "Expected a text.")
    if fault := text_fault(value, longest):
        raise error(f"{name} cannot be used as a text: {fault}.", "Give it in UTF-8, without control characters.")
    return value


def path_part(name: str, what: str) -> str:
    """A name that becomes a file or folder inside an output folder, unchanged; anything that could leave it is refused.

    Args:
        what: the kind of name, for the message: "trait", "style", "inventory".

    Raises:
        DataError: the name is empty, too long or that of a device, begins with a dot or a dash, ends with a dot, or
            holds a separator or a control character.
    """
    long = len(name) > MOST_BYTES or len(name.encode(errors="replace")) > MOST_BYTES
    bad = long or any(part in '/\\:*?"<>|' or unicodedata.category(part).startswith("C") for part in name)
    edges = not name.strip() or name != name.strip() or name[0] in ".-~" or name[-1] == "."
    if bad or edges or _RESERVED.fullmatch(name):
        raise DataError(
            f"{name[:60]!r} cannot be the name of a {what}: files are named after it.",
            f"Give 1 to {MOST_BYTES} bytes without separators (/ \\ :), wildcards, quotes or control characters, that"
            " do not begin with a dot, a dash or a tilde, do not end with a dot, and are no device's (NUL, CON).",
        )
    return name
