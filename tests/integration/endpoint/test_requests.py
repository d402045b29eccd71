"""What the client sends and counts, how much at once, and how it meets a server that knows fewer fields."""

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from persona_interp.endpoint.client import ChatClient, ChatReply, ChatRequest, Endpoint, Price, RequestFailure
from persona_interp.errors import ConfigError, EndpointError
from tests.integration.endpoint.conftest import Ask, echo, echo_text, requests
from tests.servers import KEY, Sent, completion, failure


def test_outcomes_keep_their_order_and_equal_requests_are_asked_once(ask: Ask):
    client, server = ask(lambda body, _: completion(echo_text(body), delay_s=0.001 * (hash(str(body)) % 20)))
    asked = requests(12) + requests(12)
    texts = [outcome.text for outcome in client.ask(asked) if isinstance(outcome, ChatReply)]
    assert texts == [f"number {i}" for i in range(12)] * 2
    assert server.counts.total() == 12 and client.usage.requests == 12 and client.usage.cached == 0
    assert client.ask([]) == []


def test_what_is_sent(ask: Ask):
    client, server = ask(echo)
    messages = (("system", "s"), ("user", "u"))
    client.ask([ChatRequest(messages, max_tokens=7, temperature=0.5, top_logprobs=20, seed=3)])
    assert server.bodies == [
        {
            "model": "judge-1",
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            "max_tokens": 7,
            "temperature": 0.5,
            "seed": 3,
            "logprobs": True,
            "top_logprobs": 20,
        }
    ]
    assert server.authorizations == {f"Bearer {KEY}"}


def test_usage_and_cost(ask: Ask):
    def behaviour(body: dict[str, Any], _: int) -> Sent:
        if echo_text(body) == "number 0":
            return failure(400)
        return completion("x", usage=False if echo_text(body) == "number 1" else None)

    client, _ = ask(lambda body, n: unsized(behaviour(body, n)), price=Price(prompt=1e6, completion=1e5))
    client.ask(requests(5))
    usage = client.usage
    assert (usage.requests, usage.failed, usage.uncounted) == (5, 1, 1)
    assert (usage.prompt_tokens, usage.completion_tokens) == (30, 6) and usage.cost == pytest.approx(30.6)


def unsized(sent: Sent) -> Sent:
    """Without the counts, where the test said so."""
    data = json.loads(sent.body)
    if data.get("usage") is False:
        data["usage"] = None
    return Sent(json.dumps(data).encode(), sent.status, sent.headers)


def test_as_many_in_flight_as_allowed_and_never_more(ask: Ask):
    client, server = ask(lambda *_: completion("x", delay_s=0.03), in_flight=5)
    start = time.monotonic()
    client.ask(requests(40))
    assert server.peak == 5
    assert time.monotonic() - start < 40 * 0.03, "one after the other takes longer"


def test_the_limit_holds_over_several_callers(ask: Ask):
    client, server = ask(lambda *_: completion("x", delay_s=0.02), in_flight=3)
    callers = [threading.Thread(target=client.ask, args=(requests(8, seed=seed),)) for seed in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert server.peak == 3 and server.counts.total() == 24


SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": False}


@pytest.mark.parametrize("accepted", ["json_schema", "json_object", None])
def test_structured_output_as_far_as_the_server_goes(ask: Ask, accepted: str | None, caplog: pytest.LogCaptureFixture):
    def behaviour(body: dict[str, Any], _: int) -> Sent:
        form = body.get("response_format", {}).get("type")
        return completion("{}") if form in (accepted, None) else failure(400, f"response_format {form} is unknown")

    client, server = ask(behaviour, in_flight=1)
    outcomes = client.ask(requests(3, schema=SCHEMA) + requests(1))
    assert all(isinstance(outcome, ChatReply) for outcome in outcomes)
    tries = [body.get("response_format", {}).get("type") for body in server.bodies]
    ladder = ["json_schema", "json_object", None]
    first = ladder[: ladder.index(accepted) + 1]
    assert tries == [*first, accepted, accepted, None], "what the server accepts is remembered"
    sent = server.bodies[0]["response_format"]["json_schema"]
    assert sent == {"name": "answer", "strict": True, "schema": SCHEMA}
    named = accepted or "none"
    expected = [] if accepted == "json_schema" else [
        f"judge-1 refuses part of the request; from now on it is asked with schema={named}"
    ]  # fmt: skip
    assert [r.getMessage() for r in caplog.records if r.name.startswith("persona_interp")] == expected


def test_a_bad_request_teaches_nothing(ask: Ask):
    """A row that the server refuses for itself does not make the rows after it plainer."""

    def behaviour(body: dict[str, Any], _: int) -> Sent:
        return failure(400, "too long") if echo_text(body) == "number 0" else completion("{}")

    client, server = ask(behaviour, in_flight=1)
    first, second = client.ask(requests(2, schema=SCHEMA))
    assert first == RequestFailure("HTTP 400: too long") and isinstance(second, ChatReply)
    assert server.bodies[-1]["response_format"]["type"] == "json_schema"


def test_models_with_other_fields(ask: Ask):
    def behaviour(body: dict[str, Any], _: int) -> Sent:
        if "max_tokens" in body:
            return failure(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "temperature" in body:
            return failure(400, "'temperature' does not support 0 with this model.")
        return failure(400, "logprobs are not supported") if "logprobs" in body else completion("x")

    client, server = ask(behaviour, in_flight=1)
    replies = client.ask(requests(2, top_logprobs=5))
    assert [isinstance(r, ChatReply) and r.alternatives is None for r in replies] == [True, True]
    assert server.counts.total() == 5 and set(server.bodies[-1]) == {"model", "messages", "max_completion_tokens"}


def test_the_key_appears_nowhere(ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Not in results, errors, logs at their loudest, or the files of the cache, though the server repeats it."""
    caplog.set_level(logging.DEBUG)
    spoken = f"your key \x1b[31m {KEY}\n is odd"

    def behaviour(body: dict[str, Any], n: int) -> Sent:
        if echo_text(body) == "number 0":
            return failure(400, spoken)
        return failure(500) if n == 0 else completion("x")

    client, server = ask(behaviour, cache=tmp_path / "c")
    outcomes = client.ask(requests(3))
    assert outcomes[0] == RequestFailure("HTTP 400: your key  [31m [key]  is odd")
    server.behaviour = lambda *_: failure(401, spoken)
    with pytest.raises(EndpointError) as caught:
        client.ask(requests(1, seed=1))
    assert caught.value.__suppress_context__ and KEY not in str(caught.value)
    assert server.authorizations == {f"Bearer {KEY}"}, "it was sent"
    shown = f"{outcomes} {client.endpoint!r} {client.usage} {vars(client)} {caplog.text}"
    assert caplog.records and KEY not in shown
    files = list(tmp_path.iterdir())
    assert files and not any(KEY.encode() in file.read_bytes() for file in files)


def test_text_that_cannot_be_sent(ask: Ask):
    client, server = ask(echo)
    (outcome,) = client.ask([ChatRequest((("user", "\ud800"),), max_tokens=4)])
    assert outcome == RequestFailure("the request holds characters that are not text") and not server.counts


@pytest.mark.parametrize("options", [{"in_flight": 0}, {"timeout_s": 0.0}, {"max_retries": -1}])
def test_options_that_cannot_be_used(options: dict[str, Any]):
    with pytest.raises(ConfigError, match=f"^{next(iter(options))} must be "):
        ChatClient(Endpoint("m", "http://127.0.0.1:9/v1", ""), **options)
