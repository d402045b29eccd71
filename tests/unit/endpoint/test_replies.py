import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.endpoint.replies import MalformedReplyError, pack, read_reply, unpack
from persona_interp.endpoint.requests import ChatReply

USAGE = {"prompt_tokens": 7, "completion_tokens": 1}


def body(message: Any = None, logprobs: Any = None, usage: Any = USAGE, **more: Any) -> bytes:
    choice = {"message": {"content": "85"} if message is None else message, "finish_reason": "stop"}
    return json.dumps({"choices": [{**choice, "logprobs": logprobs, **more}], "usage": usage}).encode()


def read(data: bytes) -> ChatReply:
    return read_reply(data, max_tokens=2, logprobs=True)


def test_a_plain_reply():
    assert read(body()) == ChatReply("85", None, 7, 1, "stop", cached=False)
    assert read(body(usage=None)).prompt_tokens == 0
    assert read(body(usage={})).prompt_tokens == 0


def test_alternatives_of_each_token():
    top = [{"token": "85", "logprob": -0.5}, {"token": "9", "logprob": -math.inf}, {"token": "x", "logprob": 0}]
    content = [
        {"token": "85", "logprob": -0.5, "top_logprobs": top},
        {"token": ".", "logprob": 1e-6, "top_logprobs": []},
    ]
    expected = ((("85", -0.5), ("9", -9999.0), ("x", 0.0)), ((".", 0.0),))
    assert read(body(logprobs={"content": content})).alternatives == expected
    assert read_reply(body(logprobs={"content": content}), max_tokens=2, logprobs=False).alternatives is None


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"tokens": ["85"]}])
def test_no_log_probabilities(logprobs: Any):
    assert read(body(logprobs=logprobs)).alternatives is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the reply is not JSON"),
        (b"<html>502 Bad Gateway</html>", "the reply is not JSON"),
        (b"\xff\xfe85", "the reply is not JSON"),
        (b"[" * 100_000, "the reply is not JSON"),
        (b'{"choices": [' + b"9" * 5000 + b"]}", "the reply is not JSON"),
        (b"85", "the reply is a int, not an object"),
        (b"{}", "choices is missing, not a list"),
        (b'{"error": {"message": "Overloaded.\\nTry later."}}', "the server says: Overloaded. Try later."),
        (b'{"error": "no", "choices": []}', "the server says: no"),
        (b'{"error": {"code": 502}}', 'the server says: {"code": 502}'),
        (b'{"choices": {}}', "choices is a dict, not a list"),
        (b'{"choices": []}', "the reply has no choices"),
        (b'{"choices": [85]}', "the choice is a int, not an object"),
        (b'{"choices": [{}]}', "the message is missing, not an object"),
        (body([]), "the message is a list, not an object"),
        (body({}), "the content is missing, not a text (finish_reason stop)"),
        (body({"content": 85}), "the content is a int, not a text (finish_reason stop)"),
        (body({"content": ["85"]}, finish_reason="\x1b[31m"), "the content is a list, not a text"),
        (body({"content": None, "refusal": "I will not."}), "the model declined to answer"),
        (body({"content": "9" * 513}), "got 513 characters where at most 2 tokens were asked for"),
        (body(usage=3), "usage is a int, not an object"),
        (body(usage={"prompt_tokens": 3}), "usage holds no token counts"),
        (body(usage=USAGE | {"completion_tokens": -1}), "usage holds no token counts"),
        (body(usage=USAGE | {"completion_tokens": True}), "usage holds no token counts"),
        (body(logprobs=[]), "logprobs is a list, not an object"),
        (body(logprobs={"content": {}}), "the list of log-probabilities is a dict, not a list"),
        (body(logprobs={"content": [1]}), "a token is a int, not an object"),
        (body(logprobs={"content": [{"top_logprobs": 1}]}), "a token's alternatives is a int, not a list"),
        (body(logprobs={"content": [{"token": "1"}]}), "an alternative is not a token with its log-probability"),
        (body(logprobs={"content": [{"token": 1, "logprob": 0}]}), "an alternative is not a token with its"),
        (body(logprobs={"content": [{"token": "1", "logprob": True}]}), "an alternative is not a token with its"),
        (body(logprobs={"content": [{"token": "1", "logprob": 0.7}]}), "a log-probability is above 0 or not a number"),
        (body(logprobs={"content": [{"token": "1", "logprob": math.nan}]}), "a log-probability is above 0 or not"),
    ],
)  # fmt: skip
def test_what_is_no_reply(data: bytes, reason: str):
    with pytest.raises(MalformedReplyError) as caught:
        read(data)
    assert str(caught.value).startswith(reason)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "logprobs", "usage", "token"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(json_values, json_values, json_values)
def test_no_json_raises_another_error(a: Any, b: Any, c: Any):
    for data in (json.dumps(a).encode(), body(a, b, c)):
        try:
            reply = read(data)
        except MalformedReplyError:
            continue
        assert isinstance(reply.text, str) and reply.prompt_tokens >= 0


@given(st.binary(max_size=40))
def test_no_bytes_raise_another_error(data: bytes):
    with pytest.raises(MalformedReplyError):
        read(data)


tokens = st.lists(st.lists(st.tuples(st.text(max_size=3), st.floats(-9999, 0)), max_size=3).map(tuple), max_size=3)


@given(st.text(max_size=9) | st.just("\ud800"), st.none() | tokens.map(tuple), st.integers(0, 99))
def test_the_cache_gives_back_what_it_was_given(text: str, alternatives: Any, count: int):
    reply = ChatReply(text, alternatives, count, count, "stop", cached=True)
    assert unpack(pack(reply)) == reply


@pytest.mark.parametrize("row", ["", "[]", "{}", '{"text": 1}', '{"text": "a", "finish_reason": "b"}'])
def test_a_row_that_is_no_reply(row: str):
    with pytest.raises(MalformedReplyError):
        unpack(row)
