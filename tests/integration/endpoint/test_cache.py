"""What was answered once is not asked again: after failures, without the server, after the run was killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from persona_interp.endpoint.client import ChatClient, ChatReply
from persona_interp.errors import ArtefactError, EndpointError
from tests.integration.conftest import HEARS_CTRL_C, ROOT
from tests.integration.endpoint.conftest import Ask, echo, echo_text, requests
from tests.servers import Behaviour, completion, failure


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


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_run_asks_nothing_twice(ask: Ask, tmp_path: Path, how: signal.Signals):
    """But for what was in flight: kill -9 and Ctrl-C in the middle, then the same again."""
    client, server = ask(lambda *_: completion("x", delay_s=0.02))
    command = [sys.executable, "-c", HEARS_CTRL_C + PROGRAM, server.base_url, str(tmp_path / "c")]
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
