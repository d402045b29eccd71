"""Emoji by the properties of Unicode: in texts, and as the tokens of a vocabulary that begin one."""

from collections import Counter
from functools import lru_cache

import regex
from transformers import PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.bounds import Text
from persona_interp.errors import ModelError
from persona_interp.models.token_bytes import token_bytes

_TEXT_STYLE, _EMOJI_STYLE, _KEYCAP, _JOINER = "\\uFE0E", "\\uFE0F", "\\u20E3", "\\u200D"
_TAGS = "[\\U000E0020-\\U000E007F]"
_PICTURE = (
    rf"(?:[\p{{Emoji_Presentation}}--\p{{Regional_Indicator}}](?!{_TEXT_STYLE}){_EMOJI_STYLE}?"
    rf"|\p{{Extended_Pictographic}}{_EMOJI_STYLE}|\p{{Emoji_Modifier_Base}}(?=\p{{Emoji_Modifier}}))"
    rf"\p{{Emoji_Modifier}}?{_TAGS}*"
)
_JOINED = rf"(?:{_JOINER}\p{{Extended_Pictographic}}{_EMOJI_STYLE}?\p{{Emoji_Modifier}}?)*"
EMOJI = regex.compile(
    rf"\p{{Regional_Indicator}}{{2}}|[0-9#*]{_EMOJI_STYLE}?{_KEYCAP}|{_PICTURE}{_JOINED}", regex.VERSION1
)
"""One emoji as it is shown as a picture, with skin tone, flag, keycap and joined parts as one.

Digits, #, *, (c), TM and symbols such as the plain heart or check mark are text unless a variation selector (U+FE0F)
asks for the picture.

Source: Unicode Technical Standard 51, Unicode Emoji, section 1.4 (emoji sequences, emoji presentation).
"""

LIKELY = 0.25
"""A share of the characters that begin with some bytes from which on these bytes say emoji.

The first two bytes of nearly all emoji, F0 9F, begin 0.45 emoji by number of characters; F0 alone, or the E2 9C of
dingbats, 0.01 to 0.06.
"""


@checked
def find_emoji(text: Text) -> list[str]:
    """Every emoji of a text in its order, a sequence (flag, family, skin tone) as one."""
    return EMOJI.findall(text)


@checked
def has_emoji(text: Text) -> bool:
    """Whether a text holds an emoji (`EMOJI`)."""
    return EMOJI.search(text) is not None


@checked
def emoji_start_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that begin an emoji, in order: whole ones, and pieces of their first character that say so.

    White space before it counts as part of the token. A piece counts where at least `LIKELY` of the characters that
    begin with its bytes are shown as emoji: in a byte-level vocabulary F0 9F does, F0 alone does not. So emoji whose
    first token begins other characters too, such as the sparkles in most byte-level vocabularies, are not counted.

    Raises:
        ModelError: the vocabulary has no such token.
    """
    found = sorted(number for number, whole in token_bytes(tokenizer).items() if _begins_emoji(whole.lstrip(b" \t\n")))
    if not found:
        raise ModelError(
            f"no token of {tokenizer.name_or_path or 'this tokenizer'} begins an emoji.",
            f"{len(tokenizer)} tokens were looked at; expected pieces of UTF-8 (byte-level) or whole emoji.",
            "A model that cannot write emoji cannot be asked for them.",
        )
    return tuple(found)


def _begins_emoji(piece: bytes) -> bool:
    try:
        return EMOJI.match(piece.decode()) is not None
    except UnicodeDecodeError as error:
        if error.start > 0:  # a whole character, then a piece of one
            return EMOJI.match(piece[: error.start].decode()) is not None
        return error.end == len(piece) and _likely(piece)


def _likely(piece: bytes) -> bool:
    """Whether an unfinished character is likely an emoji; bytes that begin no character are not."""
    shown, all_of_them = _beginnings().get(piece, (0, 1))
    return shown / all_of_them >= LIKELY


@lru_cache(maxsize=1)
def _beginnings() -> dict[bytes, tuple[int, int]]:
    """How many assigned characters begin with some bytes but go on, those shown as emoji first, then all of them."""
    every = "".join(chr(n) for n in range(0x80, 0x110000) if not 0xD800 <= n < 0xE000)
    counts = (Counter(), Counter())
    for count, of in zip(counts, (r"\p{Emoji_Presentation}", r"[^\p{Cn}\p{Co}\p{Cs}]"), strict=True):
        for character in regex.findall(of, every):
            whole = character.encode()
            count.update(whole[:length] for length in range(1, len(whole)))
    shown, assigned = counts
    return {piece: (shown[piece], n) for piece, n in assigned.items()}
