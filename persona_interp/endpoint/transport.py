"""HTTP with bounds: a reply has so many seconds and so many bytes, and a server that was never there is not retried."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
from openai import DefaultHttpxClient, OpenAIError

MAX_BYTES = 8 << 20
CONNECT_S = 10.0
NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
_OF_THE_WIRE = ("content-encoding", "content-length", "transfer-encoding")


class UnreachableError(OpenAIError):
    """No connection, and there never was one. `openai` does not retry its own errors, so this ends the request."""


class SilentError(OpenAIError):
    """Connections, and no reply: once twice to a first request, later to many requests in a row. Not retried either."""


class OversizedReplyError(OpenAIError):
    """More bytes than any reply has."""


class BoundedClient(DefaultHttpxClient):
    """The HTTP client under `openai`, with a time limit for the whole reply where httpx has one for each read.

    Args:
        redact: takes secrets out of a text. Bodies and headers pass it before anything else sees them.
        patience: requests in a row that may get no reply before it is an error.
    """

    def __init__(self, timeout_s: float, *, redact: Callable[[str], str], patience: int) -> None:
        timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S))
        super().__init__(timeout=timeout, follow_redirects=False)
        self._timeout_s, self._patience, self._redact = timeout_s, patience, redact
        self._answered = False
        self._silences = 0

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:  # noqa: ARG002
        """The response, read to its end within the bounds."""
        deadline = time.monotonic() + self._timeout_s
        try:
            response = self._whole(super().send(request, stream=True, **options), request, deadline)
        except NO_CONNECTION as error:
            if self._answered:
                raise
            raise UnreachableError(type(error).__name__) from error
        except httpx2.TimeoutException as error:
            self._silences += 1
            again = request.headers.get("x-stainless-retry-count", "0") != "0"
            if not self._answered and again:
                raise SilentError(f"no reply in {self._timeout_s:g} s, asked twice") from error
            if self._silences >= self._patience:
                raise SilentError(f"{self._silences} requests in a row, no reply in {self._timeout_s:g} s") from error
            raise
        self._silences = 0
        return response

    def _whole(self, response: httpx2.Response, request: httpx2.Request, deadline: float) -> httpx2.Response:
        self._answered = True
        try:
            body = self._redact(_read(response, request, deadline).decode("latin-1")).encode("latin-1")
        finally:
            response.close()
        items = response.headers.multi_items()
        headers = [(name, self._redact(value)) for name, value in items if name not in _OF_THE_WIRE]
        if response.status_code == 429 and b"insufficient_quota" in body:
            headers.append(("x-should-retry", "false"))
        return httpx2.Response(response.status_code, headers=headers, content=body, request=request)


def _read(response: httpx2.Response, request: httpx2.Request, deadline: float) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > MAX_BYTES:
            raise OversizedReplyError(f"got more than {MAX_BYTES >> 20} MB")
        if time.monotonic() > deadline:
            raise httpx2.ReadTimeout("the reply did not end in time", request=request)
        parts.append(part)
    return b"".join(parts)
