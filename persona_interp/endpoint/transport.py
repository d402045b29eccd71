"""HTTP with bounds: a reply has so many seconds and so many bytes, and a server that was never there is not retried."""

import time
from typing import Any

import httpx2
from openai import DefaultHttpxClient, OpenAIError

MAX_BYTES = 8 << 20
CONNECT_S = 10.0
NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
_OF_THE_WIRE = ("content-encoding", "content-length", "transfer-encoding")


class UnreachableError(OpenAIError):
    """No connection, and there never was one. `openai` does not retry its own errors, so this ends the request."""


class OversizedReplyError(OpenAIError):
    """More bytes than any reply has."""


class BoundedClient(DefaultHttpxClient):
    """The HTTP client under `openai`, with a time limit for the whole reply where httpx has one for each read."""

    def __init__(self, timeout_s: float) -> None:
        timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S))
        super().__init__(timeout=timeout, follow_redirects=False)
        self._timeout_s = timeout_s
        self._answered = False

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:  # noqa: ARG002
        """The response, read to its end within the bounds."""
        deadline = time.monotonic() + self._timeout_s
        try:
            response = super().send(request, stream=True, **options)
        except NO_CONNECTION as error:
            if self._answered:
                raise
            raise UnreachableError(type(error).__name__) from error
        self._answered = True
        try:
            body = _read(response, request, deadline)
        finally:
            response.close()
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_WIRE]
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
