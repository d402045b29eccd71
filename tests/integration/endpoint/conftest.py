"""A client of chat models and the server that it asks over real HTTP."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from persona_interp.endpoint.client import ChatClient, ChatRequest
from tests.servers import Behaviour, FaultServer, Sent, completion

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


def echo_text(body: dict[str, Any]) -> str:
    return body["messages"][-1]["content"]


def echo(body: dict[str, Any], _: int) -> Sent:
    return completion(body["messages"][-1]["content"][:12])
