"""Emoji are what Unicode shows as pictures, and the tokens that begin one are found in any vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from persona_interp.errors import ModelError
from persona_interp.measurements.emoji import emoji_start_ids, find_emoji, has_emoji
from persona_interp.models.token_bytes import token_bytes
from tests.contract.tiny import make_tokenizer

SMILE, FLAG, FAMILY = "\U0001f600", "\U0001f1eb\U0001f1f7", "\U0001f468\u200d\U0001f469\u200d\U0001f467"
THUMB, HEART, KEYCAP = "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "1\ufe0f\u20e3"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize("one", [SMILE, FLAG, FAMILY, THUMB, HEART, KEYCAP, SCOTLAND, "\u26a1", "\u2728"])
def test_a_picture_is_one_emoji(one: str) -> None:
    assert find_emoji(one) == [one]
    assert find_emoji(f"a {one} b{one}") == [one, one]


@pytest.mark.parametrize(
    "text", ["", "12 # * 3", "\u00a9 \u2122 \u2764 \u2714", ":-) <3", "\u2192 \u2022", "\U0001f600\ufe0e", "\U0001f1eb"]
)
def test_text_is_no_emoji(text: str) -> None:
    assert not has_emoji(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x7F)))
def test_plain_ascii_never_holds_one(text: str) -> None:
    assert not has_emoji(text) and find_emoji(text) == []


@given(
    st.lists(st.sampled_from([SMILE, FLAG, FAMILY, THUMB, HEART, KEYCAP]), max_size=5),
    st.text(alphabet="ab .", max_size=5),
)
def test_every_one_is_counted_between_words(several: list[str], between: str) -> None:
    assert find_emoji(f"{between} ".join(several)) == several


def vocabulary(*merged: str) -> PreTrainedTokenizerFast:
    """Byte-level tokens: every byte, and the given texts or beginnings of their bytes whole."""
    of_byte = bytes_to_unicode()
    tokens = list(of_byte.values())
    for text in merged:
        tokens.append("".join(of_byte[byte] for byte in text.encode("utf-8", "surrogateescape")))
    inner = Tokenizer(BPE({token: i for i, token in enumerate(dict.fromkeys(tokens))}, []))
    inner.pre_tokenizer = ByteLevel(add_prefix_space=False)  # pyright: ignore
    inner.decoder = ByteLevelDecoder()  # pyright: ignore
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def test_tokens_are_the_bytes_they_stand_for() -> None:
    tokenizer = vocabulary(SMILE, " the")
    found = token_bytes(tokenizer)
    assert sorted(len(whole) for whole in found.values())[:256] == [1] * 256
    assert SMILE.encode() in found.values() and b" the" in found.values()


def test_whole_emoji_and_pieces_that_say_so_begin_one() -> None:
    half = SMILE.encode()[:2].decode("utf-8", "surrogateescape")
    tokenizer = vocabulary(SMILE, f" {SMILE}", half, "the")
    found = token_bytes(tokenizer)
    starts = {found[number] for number in emoji_start_ids(tokenizer)}
    assert {SMILE.encode(), f" {SMILE}".encode(), SMILE.encode()[:2]} <= starts
    assert b"\xf0" not in starts and b"the" not in starts and b"1" not in starts


def test_a_vocabulary_without_any_is_refused() -> None:
    with pytest.raises(ModelError, match="begins an emoji"):
        emoji_start_ids(make_tokenizer())
