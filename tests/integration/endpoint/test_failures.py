"""The client against a server that fails in the ways that servers do."""

import time
from typing import Any

import pytest

from persona_interp.endpoint import pool
from persona_interp.endpoint.client import ChatReply, RequestFailure
from persona_interp.errors import EndpointError
from tests.integration.endpoint.conftest import Ask, echo, echo_text, requests
from tests.servers import KEY, Sent, completion, failure


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
    "HTTP 429: rate limit: slow down (it asks to wait 0.01 s)": failure(429, "slow down"),
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
    "got 1,000,000 characters": completion("9" * 1_000_000),
    "the reply is too large: got more than 8 MB": Sent(b" " * ((8 << 20) + 1)),
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
def test_a_reply_has_its_time_and_no_more(ask: Ask, slow: dict[str, Any]):
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
    assert client.ask(requests(1, seed=7)) == [
        RequestFailure("HTTP 403: the server's content filter refused it: flagged")
    ]
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


def test_a_silent_server_is_named_and_ends_in_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    """It is asked twice, not seven times, although the client may retry six times."""
    monkeypatch.setattr(pool, "PATIENCE_S", (0.05,))
    client, server = ask(lambda *_: completion("x", delay_s=3.0), timeout_s=0.3, max_retries=6)
    start = time.monotonic()
    with pytest.raises(EndpointError) as caught:
        client.ask(requests(1))
    assert time.monotonic() - start < 4 and server.counts.total() == 2
    assert str(caught.value).startswith(
        f"{server.base_url} does not answer: no reply in 0.3 s, asked twice.\n  It may be"
    )
    said = [r.getMessage() for r in caplog.records if r.name.startswith("persona_interp")]
    assert said[0] == (
        f"judge-1 at {server.base_url}: no reply for 0.05 s; a request waits up to 0.3 s and is then sent again"
    )


def test_a_server_that_falls_silent_ends_in_an_error(ask: Ask):
    """After so many requests in a row, not after each of them has used up its time."""
    client, server = ask(
        lambda body, _: completion("x", delay_s=0.0 if echo_text(body) == "number 0" else 2.0),
        timeout_s=0.1,
        max_retries=0,
        in_flight=2,
    )
    client.ask(requests(1))
    with pytest.raises(EndpointError, match="does not answer: 6 requests in a row, no reply in 0.1 s"):
        client.ask(requests(50))
    assert server.counts.total() < 12


def test_what_was_cut_off_at_its_limit_is_a_failure_with_that_name(ask: Ask):
    words = "max_tokens or model output limit was reached"
    client, server = ask(lambda *_: failure(400, words), max_retries=0)
    assert client.ask(requests(1, reasoning_tokens=10)) == [
        RequestFailure(
            "HTTP 400: cut off before the answer: max_tokens or model output limit was reached", cut_off=True
        )
    ]
    assert [body["max_tokens"] for body in server.bodies] == [14, 24]
