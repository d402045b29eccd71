"""Items of a producer in the background, and text as its tokens come."""

from types import SimpleNamespace

import pytest

from persona_interp.studies.monitoring.streaming import in_background, text_pieces
from tests.contract.tiny import make_tokenizer


def test_items_come_in_order_and_exceptions_where_they_are_taken() -> None:
    def produce(put) -> None:
        for k in range(3):
            put(k)
        raise ValueError("planned")

    taken = []
    with pytest.raises(ValueError, match="planned"):
        for item in in_background(produce):
            taken.append(item)
    assert taken == [0, 1, 2]


def test_closing_ends_the_producer() -> None:
    state = SimpleNamespace(put=0, ended=False)

    def produce(put) -> None:
        try:
            for k in range(1000):
                put(k)
                state.put += 1
        finally:
            state.ended = True

    items = in_background(produce)
    assert [next(items), next(items)] == [0, 1]  # pyright: ignore
    items.close()  # pyright: ignore
    assert state.ended and state.put < 10


def test_a_character_of_several_tokens_comes_when_it_is_whole() -> None:
    known = {(1,): "a", (1, 2): "a\ufffd", (1, 2, 3): "aé"}
    tokenizer = make_tokenizer()
    tokenizer.decode = lambda ids, **_: known[tuple(ids)]  # pyright: ignore
    pieces = text_pieces(tokenizer)
    next(pieces)
    assert [pieces.send(k) for k in (1, 2, 3)] == ["a", "", "é"]
