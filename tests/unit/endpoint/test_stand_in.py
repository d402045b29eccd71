"""The stand-in server over real sockets, against clients that do not keep to the rules."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from persona_interp.data.trait_replay import replaying
from persona_interp.data.traits import load_trait
from persona_interp.endpoint.stand_in import serving
from persona_interp.errors import ConfigError


@pytest.fixture
def port() -> Iterator[int]:
    def answer(data: bytes) -> tuple[int, dict]:
        if data == b"slow":
            time.sleep(30)
        return 200, {"n": len(data)}

    with serving(answer, read_s=0.3) as chosen:
        yield chosen


def post(length: object, body: bytes = b"") -> bytes:
    return f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + body


def exchange(port: int, sent: bytes) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        whole = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(whole.split()[1]) if whole else 0, whole.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post(3, b"abc"), 200),
        (post(0), 200),
        (post("many"), 400),
        (post(-1), 400),
        (post("٣"), 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (post(10**7), 413),
        (post("9" * 5000), 413),
        (post(10, b"abc"), 408),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 404),
        (b"PUT / HTTP/1.1\r\n\r\n", 501),
        (b"POST / HTTP", 0),
    ],
)
def test_every_request_has_its_answer_in_time(port: int, sent: bytes, status: int, capfd: pytest.CaptureFixture[str]):
    start = time.monotonic()
    found, body = exchange(port, sent)
    assert found == status and time.monotonic() - start < 3
    if status in (400, 404, 408, 413) and body.startswith(b"{"):
        assert json.loads(body)["error"]["message"].endswith(".")
    assert capfd.readouterr() == ("", "")


def test_a_body_that_trickles_has_no_more_time_than_another(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(post(100))
        start = time.monotonic()
        for _ in range(50):
            try:
                connection.sendall(b"x")
            except OSError:
                break
            time.sleep(0.05)
        assert time.monotonic() - start < 2


def test_a_client_that_goes_away_is_forgotten(port: int, capfd: pytest.CaptureFixture[str]):
    for sent in (b"", post(100, b"abc"), post(4, b"slow")):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, no orderly end
        connection.sendall(sent)
        connection.close()
    assert exchange(port, post(3, b"abc")) == (200, b'{"n": 3}')
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_threads_are_bounded_and_leaving_waits_for_none():
    before = threading.active_count()
    with serving(lambda _: (200, {}), read_s=30.0) as port:
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        deadline = time.monotonic() + 3
        while threading.active_count() - before < 33 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert exchange(port, post(0))[0] == 503
        assert threading.active_count() - before == 33, "32 requests and the server"
        start = time.monotonic()
    assert time.monotonic() - start < 2
    for connection in held:
        connection.close()


def test_what_a_replay_cannot_read_is_refused():
    with replaying(load_trait("impolite")) as url:
        port = int(url.split(":")[2].split("/")[0])
        for body in (b"[" * 100_000, b"\xff\xfe", b"9" * 5000, b'{"response_format": []}', b"{}", b"null"):
            status, said = exchange(port, post(len(body), body))
            assert status == 400 and b"only replays a trait" in said


@pytest.mark.parametrize("port", [-1, 65536, 10**20])
def test_a_port_that_is_none(port: int):
    with pytest.raises(ConfigError, match="cannot be used"), serving(lambda _: (200, {}), port=port):
        pass
