"""The client of chat models over real HTTP, against a server that fails in the ways that servers do."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_interp.endpoint.client import ChatClient, ChatReply, ChatRequest, Endpoint, Price, RequestFailure
from persona_interp.errors import ArtefactError, ConfigError, EndpointError
from tests.servers import KEY, Behaviour, FaultServer, Sent, completion, failure

ROOT = Path(__file__).parents[2]
Ask = Callable[..., tuple[ChatClient, FaultServer]]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """A client and the server that it asks; both end with the test."""
    opened: list[Any] = []

    def open_both(behaviour: Behaviour, **options: Any) -> tuple[ChatClient, FaultServer]:
        server = FaultServer(behaviour)
        client = ChatClient(server.endpoint(), progress=False, **{"timeout_s": 5.0, "max_retries": 2, **options})
        opened.append((client, server))
        return client, server

    yield open_both
    for client, server in opened:
        client.close()
        server.__exit__()


def requests(n: int, **options: Any) -> list[ChatRequest]:
    return [ChatRequest((("user", f"number {i}"),), max_tokens=4, **options) for i in range(n)]


def echo(body: dict[str, Any], _: int) -> Sent:
    return completion(body["messages"][-1]["content"][:12])


def test_outcomes_keep_their_order_and_equal_requests_are_asked_once(ask: Ask):
    client, server = ask(lambda body, _: completion(echo_text(body), delay_s=0.001 * (hash(str(body)) % 20)))
    asked = requests(12) + requests(12)
    texts = [outcome.text for outcome in client.ask(asked) if isinstance(outcome, ChatReply)]
    assert texts == [f"number {i}" for i in range(12)] * 2
    assert server.counts.total() == 12 and client.usage.requests == 12 and client.usage.cached == 0
    assert client.ask([]) == []


def echo_text(body: dict[str, Any]) -> str:
    return body["messages"][-1]["content"]


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


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_passing_trouble_is_retried(ask: Ask, status: int):
    client, server = ask(lambda _, n: completion("fine") if n == 2 else failure(status))
    (reply,) = client.ask(requests(1))
    assert isinstance(reply, ChatReply) and reply.text == "fine"
    assert server.counts.total() == 3 and client.usage.requests == 1 and client.usage.failed == 0


def test_retry_after_is_kept_to(ask: Ask):
    client, _ = ask(lambda _, n: completion("x") if n else failure(429, headers={"Retry-After": "0.3"}))
    start = time.monotonic()
    client.ask(requests(1))
    assert 0.3 <= time.monotonic() - start < 3


PASSING = {
    "HTTP 500: no": failure(500),
    "HTTP 429: slow down": failure(429, "slow down"),
    "HTTP 400: bad": failure(400, "bad"),
    "HTTP 302": Sent(status=302, headers={"Location": "http://127.0.0.1:9/"}),
}
MALFORMED = {
    "the reply is not JSON": Sent(b"<html><h1>502 Bad Gateway</h1></html>", headers={"Content-Type": "text/html"}),
    "the reply has no choices": Sent(b'{"choices": []}'),
    "choices is missing": Sent(b'{"object": "chat.completion"}'),
    "the content is missing, not a text": completion(None),
    "the content is a int, not a text": completion(85),
    "usage holds no token counts": completion("x", usage={"prompt_tokens": "many"}),
    "1,000,000 characters came": completion("9" * 1_000_000),
    "the reply is too large: more than 8 MB came": Sent(b" " * ((8 << 20) + 1)),
}


@pytest.mark.parametrize(("reason", "sent"), [*PASSING.items(), *MALFORMED.items()])
def test_one_row_fails_and_the_others_do_not(ask: Ask, reason: str, sent: Sent):
    client, _ = ask(lambda body, _: sent if echo_text(body) == "number 1" else completion("x"))
    first, failed, last = client.ask(requests(3))
    assert isinstance(first, ChatReply) and isinstance(last, ChatReply)
    assert isinstance(failed, RequestFailure) and failed.reason.startswith(reason)
    assert "\n" not in failed.reason and len(failed.reason) < 300
    assert client.usage.failed == 1


def test_a_broken_reply_is_asked_again(ask: Ask):
    whole = completion("fine")
    client, _ = ask(lambda _, n: whole if n else Sent(whole.body, drop=20), max_retries=1)
    (reply,) = client.ask(requests(1))
    assert isinstance(reply, ChatReply) and reply.text == "fine"
    client, _ = ask(lambda *_: Sent(whole.body, drop=20), max_retries=0)
    assert client.ask(requests(1)) == [RequestFailure("the connection broke (RemoteProtocolError)")]


@pytest.mark.parametrize("slow", [{"delay_s": 3.0}, {"trickle_s": 0.02}])
def test_a_reply_has_its_time_and_no_more(ask: Ask, slow: dict[str, float]):
    """Not even one that sends a byte now and then."""
    client, _ = ask(lambda *_: completion("x", **slow), timeout_s=0.2, max_retries=0)
    start = time.monotonic()
    assert client.ask(requests(1)) == [RequestFailure("no reply in time")]
    assert time.monotonic() - start < 2.5


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (
            failure(401, f"Incorrect API key: {KEY}"),
            "{url} refuses the key (HTTP 401).\n  Check api_key, or OPENAI_API",
        ),
        (failure(403), "{url} refuses the key (HTTP 403).\n"),
        (failure(404), "{url} knows no model 'judge-1', or is no such server (HTTP 404).\n  Check model and base_url"),
        (failure(429, code="insufficient_quota"), "{url} has no credit left for this key (HTTP 429).\n  Add credit.\n"),
    ],
)
def test_what_fails_for_every_row_stops_at_once(ask: Ask, sent: Sent, text: str):
    client, server = ask(lambda *_: sent, in_flight=4, max_retries=0)
    with pytest.raises(EndpointError) as caught:
        client.ask(requests(100))
    assert str(caught.value).startswith(text.format(url=server.base_url)) and KEY not in str(caught.value)
    assert server.counts.total() <= 12


def test_a_key_that_was_good_is_not_blamed_for_one_refused_row(ask: Ask):
    """Some providers answer 403 where they moderate what was sent."""
    client, server = ask(lambda body, _: failure(403, "flagged") if "seed" in body else echo(body, 0))
    assert isinstance(client.ask(requests(1))[0], ChatReply)
    assert client.ask(requests(1, seed=7)) == [RequestFailure("HTTP 403: flagged")]
    assert len(server.bodies) == 2


def test_a_server_that_is_not_there(ask: Ask):
    client, server = ask(echo, max_retries=6)
    server.__exit__()
    start = time.monotonic()
    with pytest.raises(EndpointError) as caught:
        client.ask(requests(50))
    assert time.monotonic() - start < 2
    assert str(caught.value) == (
        f"cannot reach {server.base_url} (ConnectError).\n"
        "  Check the address (base_url, or OPENAI_BASE_URL) and that the server runs.\n"
        "  What was answered is in the cache, if there is one: the same command goes on from there."
    )


def test_a_server_that_goes_away(ask: Ask, tmp_path: Path):
    client, server = ask(echo, max_retries=0, cache=tmp_path / "c")
    client.ask(requests(1))
    server.__exit__()
    client._openai.close()  # the open connection, which the server's thread would still answer
    client.close()
    again = ChatClient(server.endpoint(), max_retries=0, cache=tmp_path / "c", progress=False)
    with pytest.raises(EndpointError, match="cannot reach"):
        again.ask(requests(2))
    (reply,) = again.ask(requests(1))
    assert isinstance(reply, ChatReply) and reply.cached, "what is in the cache needs no server"
    again.close()


def test_the_cache_serves_what_was_answered_and_no_failure(ask: Ask, tmp_path: Path):
    behaviour: Behaviour = lambda body, _: failure(400) if echo_text(body) == "number 1" else completion("x")  # noqa: E731
    client, server = ask(behaviour, cache=tmp_path / "c")
    first = client.ask(requests(3))
    client.close()
    server.behaviour = echo
    again = ChatClient(server.endpoint(api_key="another"), cache=tmp_path / "c", progress=False)
    second = again.ask(requests(4))
    assert [isinstance(outcome, ChatReply) for outcome in first] == [True, False, True]
    assert [outcome.cached for outcome in second if isinstance(outcome, ChatReply)] == [True, False, True, False]
    assert (again.usage.cached, again.usage.requests, again.usage.prompt_tokens) == (2, 2, 20)
    assert dict(server.counts) == {"number 0": 1, "number 1": 2, "number 2": 1, "number 3": 1}
    again.ask(requests(1, seed=1))
    assert server.counts["number 0"] == 2, "another seed is another request"
    again.close()


def test_a_damaged_cache(ask: Ask, tmp_path: Path):
    (tmp_path / "c").write_bytes(b"x" * 5000)
    with pytest.raises(ArtefactError, match="is damaged"):
        ask(echo, cache=tmp_path / "c")


PROGRAM = """
import sys
from pathlib import Path
from persona_interp.endpoint.client import ChatClient, ChatRequest, Endpoint
endpoint = Endpoint("judge-1", sys.argv[1], "k")
client = ChatClient(endpoint, in_flight=4, cache=Path(sys.argv[2]), progress=False)
print("asking", flush=True)
client.ask([ChatRequest((("user", f"number {i}"),), max_tokens=4) for i in range(60)])
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_asks_nothing_twice(ask: Ask, tmp_path: Path, how: signal.Signals):
    """But for what was in flight: kill -9 and Ctrl-C in the middle, then the same again."""
    client, server = ask(lambda *_: completion("x", delay_s=0.02))
    command = [sys.executable, "-c", PROGRAM, server.base_url, str(tmp_path / "c")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        while server.counts.total() < 20:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(how)
        sent = time.monotonic()
        process.wait(10)
    assert process.returncode == -how and time.monotonic() - sent < 5
    before = server.counts.total()
    assert 20 <= before < 60, "it was stopped in the middle"
    again = ChatClient(server.endpoint(), in_flight=4, cache=tmp_path / "c", progress=False)
    assert all(isinstance(outcome, ChatReply) for outcome in again.ask(requests(60)))
    assert again.usage.cached >= before - 4
    assert set(server.counts) == {f"number {i}" for i in range(60)}
    assert sum(n - 1 for n in server.counts.values()) <= 4 and max(server.counts.values()) <= 2
    again.close()


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
    with pytest.raises(ConfigError, match="cannot be used"):
        ChatClient(Endpoint("m", "http://127.0.0.1:9/v1", ""), **options)
