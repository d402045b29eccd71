"""The bytes that every token of a vocabulary stands for, whole characters or not."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from persona_interp.arguments import checked

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


@checked
def token_bytes(tokenizer: PreTrainedTokenizerBase) -> dict[int, bytes]:
    """The UTF-8 bytes of every token, by id; special tokens and those added to the vocabulary are left out.

    Byte-level vocabularies write a byte as a character (`Ġ` for a space), others write the space as `▁` and single
    bytes as `<0xF0>`. A token may hold part of a character.
    """
    added = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    of_character = {character: byte for byte, character in bytes_to_unicode().items()}
    by_bytes = _is_byte_level(tokenizer)
    found = {}
    for token, number in tokenizer.get_vocab().items():
        if number in added:
            continue
        if by_bytes and all(character in of_character for character in token):
            found[number] = bytes(of_character[character] for character in token)
        elif one := _BYTE.fullmatch(token):
            found[number] = bytes([int(one[1], 16)])
        else:
            found[number] = token.replace(_SPACE, " ").encode("utf-8", "replace")
    return found


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}" in tokenizer.get_vocab()
    return any(part.get("type") == "ByteLevel" for part in _parts(json.loads(backend.to_str()).get("decoder")))


def _parts(decoder: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """A decoder and those it is made of."""
    if decoder is not None:
        yield decoder
        for inner in decoder.get("decoders", ()):
            yield from _parts(inner)
