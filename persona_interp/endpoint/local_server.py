"""A GGUF model served on this machine as an OpenAI-compatible API: the stand-in for one that needs a key."""

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_interp.errors import ConfigError, MissingPackageError, ModelError

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
_INSTALL = 'pip install "persona-interp[server]"'
_ERRORS_ONLY = 1
_READ_S = 60


@dataclass(eq=False)
class LocalServer:
    """A running server; it stops when it is closed, or with the process.

    Args:
        model: the name by which requests ask for it.
        base_url: the address of its API, as clients of OpenAI's take it.
    """

    model: str
    base_url: str
    _running: Any

    def close(self) -> None:
        """Stop answering and free the model, once all requests in work are finished.

        llama.cpp cannot be told to drop them, and nothing else in this process runs until then: a process that need not
        go on ends by `os._exit`.
        """
        self._running = None


def start_server(gguf: Path, model: str, *, port: int = 8080, parallel: int = 4, context: int = 4096) -> LocalServer:
    """A server for one GGUF file at 127.0.0.1, ready to answer when this returns.

    Chat completions with log-probabilities, JSON schemas and seeds. Nobody outside this machine reaches it.

    Args:
        parallel: requests answered at the same time; each has `context` tokens for itself.

    Raises:
        ConfigError: the port or a count is out of range, or the port is in use.
        MissingPackageError: xllamacpp is not installed.
        ModelError: the file is not there, or is no model that llama.cpp reads.
    """
    _check(gguf, port=port, parallel=parallel, context=context)
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(gguf)
    settings.model_alias = {model}
    settings.n_ctx, settings.n_parallel, settings.kv_unified = parallel * context, parallel, False
    settings.hostnames, settings.port = [HOST], port
    settings.timeout_read = _READ_S
    settings.warmup, settings.ui, settings.verbosity = False, False, _ERRORS_ONLY
    try:
        running = xllamacpp.Server(settings)
    except RuntimeError as error:
        raise ModelError(
            f"llama.cpp could not serve {gguf.name} on port {port}: {error}.",
            "The file may be truncated or of an architecture that it does not read.",
        ) from error
    return LocalServer(model, f"{running.listening_address}/v1", running)


def _check(gguf: Path, *, port: int, parallel: int, context: int) -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingPackageError(
            "cannot serve a model: the package xllamacpp is not installed.", f"Install it: {_INSTALL}"
        )
    if not gguf.is_file():
        raise ModelError(f"there is no GGUF file {gguf}.", "Give a packaged model's name or the path of a .gguf file.")
    if not 0 < port < 65536 or not 0 < parallel <= 64 or context < 256:
        raise ConfigError(
            f"cannot serve on port {port} with {parallel} requests at a time of {context} tokens each.",
            "Ports run from 1 to 65535; 1 to 64 requests at a time; at least 256 tokens each.",
        )
    _refuse_taken(port)


def _refuse_taken(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of {HOST} cannot be used: {error.strerror}.", "Give another --port."
            ) from error
