"""How well a chat client keeps its requests in flight, against a stub server that takes a fixed time to answer."""

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from persona_interp.endpoint.client import ChatClient, Endpoint
from persona_interp.endpoint.requests import ChatReply, ChatRequest


@dataclass
class Traffic:
    """What the server saw: when each request came and was answered, and the most that were in work at once."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mean_in_flight(self) -> float:
        """Requests in work at a time, averaged from the first arrival to the last answer."""
        wall = max(end for _, end in self.spans) - min(start for start, _ in self.spans)
        return sum(end - start for start, end in self.spans) / wall


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, latency: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.latency, self.traffic = latency, Traffic()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        start, traffic = time.perf_counter(), self.server.traffic
        with traffic.lock:
            traffic.now += 1
            traffic.most = max(traffic.most, traffic.now)
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.latency)
        with traffic.lock:
            traffic.now -= 1
            traffic.spans.append((start, time.perf_counter()))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_REPLY)))
        self.end_headers()
        self.wfile.write(_REPLY)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


_REPLY = json.dumps(
    {
        "id": "0",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "50"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
    }
).encode()


@contextmanager
def _serving(latency: float) -> Iterator[_Server]:
    server = _Server(latency)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def api_row(n_requests: int = 200, in_flight: int = 16, latency: float = 0.05) -> dict[str, float]:
    """Requests in flight and wall time over the ideal one, ceil(requests / in flight) x latency.

    The connections are opened before the clock starts, by a round of requests of their own.
    """
    requests = [ChatRequest((("user", f"Rate answer {i}."),), max_tokens=1) for i in range(n_requests + in_flight)]
    with _serving(latency) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        client = ChatClient(Endpoint("stub", address, "none"), in_flight=in_flight, progress=False)
        client.ask(requests[n_requests:])
        server.traffic = Traffic()
        start = time.perf_counter()
        outcomes = client.ask(requests[:n_requests])
        wall = time.perf_counter() - start
        client.close()
    assert all(isinstance(outcome, ChatReply) for outcome in outcomes), "the stub answers everything"
    ideal = math.ceil(n_requests / in_flight) * latency
    return {
        "requests": n_requests,
        "latency, s": latency,
        "in flight, configured": in_flight,
        "in flight, mean": server.traffic.mean_in_flight(),
        "in flight, most": server.traffic.most,
        "wall over ideal": wall / ideal,
    }
