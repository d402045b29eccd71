"""Servers for tests: one on this machine that fails in the ways that real ones do, and a real one with SmolLM2."""

import importlib.util
import json
import math
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from persona_interp.endpoint.client import Endpoint
from persona_interp.models.packaged import PACKAGED_MODELS

KEY = "sk-test-0123456789abcdef"
SMOLLM2 = PACKAGED_MODELS["smollm2-135m-instruct"]


@dataclass(frozen=True)
class Sent:
    """What the server does with one request.

    Args:
        drop: close the connection after that many bytes of the body.
        trickle_s: seconds between the bytes of the body.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: int | None = None
    trickle_s: float = 0.0


Behaviour = Callable[[dict[str, Any], int], Sent]


def completion(
    text: Any,
    tokens: Sequence[Sequence[tuple[str, float]]] | None = None,
    *,
    finish: str = "stop",
    usage: Any = None,
    **how: Any,
) -> Sent:
    """A chat completion.

    Args:
        tokens: for each token (text, probability) of its alternatives.
    """
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    if tokens is not None:
        rows = [
            [{"token": token, "logprob": math.log(p) if p > 0 else -9999.0, "bytes": None} for token, p in alternatives]
            for alternatives in tokens
        ]
        choice["logprobs"] = {"content": [{**row[0], "top_logprobs": row} for row in rows]}
    counts = {"prompt_tokens": 10, "completion_tokens": 2} if usage is None else usage
    return Sent(json.dumps({"object": "chat.completion", "choices": [choice], "usage": counts}).encode(), **how)


def failure(status: int, message: str = "no", *, code: str | None = None, **how: Any) -> Sent:
    """An error as OpenAI words it, to be retried at once."""
    how.setdefault("headers", {"Retry-After": "0.01"})
    return Sent(json.dumps({"error": {"message": message, "code": code}}).encode(), status, **how)


class FaultServer:
    """An OpenAI-compatible server that does as `behaviour` says, and counts.

    Args:
        behaviour: of the request's body and of how often its last message came before.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: set[str | None] = set()
        self.counts: Counter[str] = Counter()
        self.at_once = 0
        self.peak = 0
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def endpoint(self, *, api_key: str = KEY) -> Endpoint:
        return Endpoint(model="judge-1", base_url=self.base_url, api_key=api_key)

    def __enter__(self) -> "FaultServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def begin(self, body: dict[str, Any]) -> int:
        """Count a request and say how often it came before."""
        with self._lock:
            asked = body["messages"][-1]["content"]
            before = self.counts[asked]
            self.counts[asked] += 1
            self.bodies.append(body)
            self.at_once += 1
            self.peak = max(self.peak, self.at_once)
            return before

    def end(self) -> None:
        with self._lock:
            self.at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that went away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: FaultServer

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""

    def do_POST(self) -> None:
        if self.path != "/v1/chat/completions":
            self._write(failure(404, "no such route"))
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.owner.authorizations.add(self.headers["Authorization"])
        before = self.owner.begin(body)
        try:
            sent = self.owner.behaviour(body, before)
            time.sleep(sent.delay_s)
        finally:
            self.owner.end()
        try:
            self._write(sent)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _write(self, sent: Sent) -> None:
        self.send_response(sent.status)
        for name, value in {"Content-Type": "application/json", **sent.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent.body)))
        self.end_headers()
        body = sent.body if sent.drop is None else sent.body[: sent.drop]
        for part in [body] if not sent.trickle_s else [body[i : i + 1] for i in range(len(body))]:
            self.wfile.write(part)
            time.sleep(sent.trickle_s)
        if sent.drop is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


_SERVE = """
import sys, xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path, settings.n_ctx, settings.n_parallel, settings.warmup = sys.argv[1], 4096, 2, False
settings.hostnames, settings.port = ["127.0.0.1"], int(sys.argv[2])
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(settings)
sys.stdin.read()
"""


def smollm2_file() -> Path | None:
    """The packaged GGUF file; None where its package or the server is not installed."""
    part = SMOLLM2.parts[0]
    spec = importlib.util.find_spec(part.package)
    if spec is None or spec.origin is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    return Path(spec.origin).parent / part.file


@contextmanager
def smollm2_server() -> Iterator[Endpoint]:
    """A llama.cpp server with SmolLM2 in another process, which ends with this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _SERVE, str(smollm2_file()), str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process)
            yield Endpoint(SMOLLM2.name, f"http://127.0.0.1:{port}/v1", "")
        finally:
            process.kill()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("the server did not start")
