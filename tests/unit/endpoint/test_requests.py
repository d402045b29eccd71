from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.endpoint.requests import ChatRequest
from persona_interp.errors import ConfigError

PLAIN = ChatRequest((("system", "s"), ("user", "u")), max_tokens=4)
texts = st.text(max_size=5)
fields = st.fixed_dictionaries(
    {
        "messages": st.lists(st.tuples(texts, texts), min_size=1, max_size=3).map(tuple),
        "max_tokens": st.integers(1, 3),
        "temperature": st.sampled_from([0.0, 1.0]),
        "top_logprobs": st.sampled_from([None, 1]),
        "schema": st.sampled_from([None, {}, {"type": "object"}]),
        "seed": st.sampled_from([None, 0, 1]),
    }
)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (("user", "s"), ("user", "u"))}, {"messages": (("system", "su"), ("user", ""))},
        {"max_tokens": 5}, {"temperature": 0.5}, {"top_logprobs": 5}, {"schema": {}}, {"seed": 0},
    ],
)  # fmt: skip
def test_everything_in_a_request_is_in_its_key(change: dict[str, Any]):
    assert replace(PLAIN, **change).key("a", "m") != PLAIN.key("a", "m")


def test_server_and_model_are_in_the_key():
    assert len({PLAIN.key("a", "m"), PLAIN.key("b", "m"), PLAIN.key("a", "n"), PLAIN.key("am", "")}) == 4


@given(fields, fields)
def test_equal_keys_are_equal_requests(a: dict[str, Any], b: dict[str, Any]):
    one, other = ChatRequest(**a), ChatRequest(**b)
    assert (one.key("x", "m") == other.key("x", "m")) == (one == other)


def test_the_order_within_a_schema_does_not_matter():
    one, other = replace(PLAIN, schema={"a": 1, "b": 2}), replace(PLAIN, schema={"b": 2, "a": 1})
    assert one.key("a", "m") == other.key("a", "m")


@pytest.mark.parametrize("change", [{"messages": ()}, {"max_tokens": 0}])
def test_requests_for_nothing(change: dict[str, Any]):
    with pytest.raises(ConfigError, match="asks for nothing"):
        replace(PLAIN, **change)
