"""A small HTTP server on this machine that answers JSON with JSON, whatever it is sent."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

from persona_interp.errors import ConfigError

HOST = "127.0.0.1"
Answer = Callable[[bytes], tuple[int, Mapping[str, Any]]]
"""Status and body of the reply to the body of a request."""

_LARGEST = 1_000_000
_AT_ONCE = 32
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def serving(answer: Answer, *, port: int = 0, read_s: float = 10.0) -> Iterator[int]:
    """The server at work; gives its port. Nobody outside this machine reaches it.

    At most 32 requests are in work at once, others are told to come again (503). A request of another form is answered
    with 400, one that is too large with 413, one that does not end in time with 408; a client that goes away is
    forgotten. Leaving the context waits for no request.

    Args:
        read_s: seconds in which a request must have been sent.

    Raises:
        ConfigError: the port is in use or out of range.
    """
    handler = type("Handler", (_Handler,), {"answer": staticmethod(answer), "timeout": read_s})
    try:
        server = _Server((HOST, port), handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {port} of {HOST} cannot be used: {error}.", "Give another --port.") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refusal(message: str) -> dict[str, Any]:
    """An error as OpenAI words it."""
    return {"error": {"message": message, "type": "invalid_request_error"}}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            request.sendall(_BUSY)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the client went away."""


class _Handler(BaseHTTPRequestHandler):
    answer: Answer
    connection: socket

    def do_POST(self) -> None:
        self._reply(*self._outcome())

    def do_GET(self) -> None:
        self._reply(404, refusal("This server answers POST requests for chat completions only."))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _outcome(self) -> tuple[int, Mapping[str, Any]]:
        given = self.headers.get("Content-Length", "")
        if not (given.isascii() and given.isdigit()):
            return 400, refusal("The request has no Content-Length that is a number.")
        if len(given) > 12 or int(given) > _LARGEST:
            return 413, refusal(f"The request is larger than {_LARGEST:,} bytes.")
        try:
            return self.answer(self._body(int(given)))
        except TimeoutError:
            return 408, refusal("The request did not end in time.")

    def _body(self, length: int) -> bytes:
        """The body of a request.

        Raises:
            TimeoutError: it did not come in time.
            ConnectionError: the client went away before its end.
        """
        deadline, parts = time.monotonic() + (self.timeout or 0), []
        while length:
            self.connection.settimeout(max(0.01, deadline - time.monotonic()))
            part = self.rfile.read1(length)  # pyright: ignore (a BufferedReader)
            if not part:
                raise ConnectionAbortedError
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _reply(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.connection.settimeout(self.timeout)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
