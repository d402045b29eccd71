"""`persona-interp serve`: a model on this machine with an OpenAI-compatible interface, or a rehearsal without one."""

import os
import sys
import threading
from typing import Annotated, NoReturn

import typer

from persona_interp.ending import INTERRUPTED, TERMINATED, told
from persona_interp.errors import ConfigError
from persona_interp.studies.options import DEFAULT_MODEL

_LOOKS_S = 0.2
_PARALLEL, _CONTEXT = 4, 4096


def serve(
    model: Annotated[str, typer.Argument(help="A packaged model, or a .gguf file.")] = DEFAULT_MODEL,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; other machines cannot reach it.", min=0, max=65535)] = 8080,
    parallel: Annotated[int, typer.Option(help="Requests answered at the same time.", min=1, max=256)] = _PARALLEL,
    context: Annotated[int, typer.Option(help="Tokens of each, prompt and answer.", min=1)] = _CONTEXT,
    replay: Annotated[str, typer.Option(help="No model: replay this trait to `traits new`, to rehearse it.")] = "",
) -> None:
    """An OpenAI-compatible server without a key, until Ctrl-C: the stand-in for a paid one."""
    if replay and (model, parallel, context) != (DEFAULT_MODEL, _PARALLEL, _CONTEXT):
        raise ConfigError(
            "--replay serves no model, so MODEL, --parallel and --context do nothing.", "Leave out either."
        )
    if replay:
        from persona_interp.data.trait_replay import MODEL, replaying
        from persona_interp.data.traits import load_trait

        with replaying(load_trait(replay), port=port) as base_url:
            _wait(base_url, MODEL)
        return
    from pathlib import Path

    from persona_interp.endpoint.local_server import start_server
    from persona_interp.models.packaged import PACKAGED_MODELS, packaged_gguf

    known = PACKAGED_MODELS.get(model)
    path = Path(model) if known is None else packaged_gguf(known)
    server = start_server(path, model if known else path.stem, port=port, parallel=parallel, context=context)
    try:
        _wait(server.base_url, server.model)
    except KeyboardInterrupt:
        _leave()


def _wait(base_url: str, model: str) -> None:
    """Say how to use the server, and wait for Ctrl-C."""
    typer.echo(f"export OPENAI_BASE_URL={base_url}\nexport OPENAI_MODEL={model}")
    typer.echo("Give these two lines to another shell. It serves until Ctrl-C.", err=True)
    never = threading.Event()
    while not never.wait(_LOOKS_S):  # the system may give the signal to another thread, which wakes no wait without end
        pass


def _leave() -> NoReturn:
    """End the process at once: freeing the model would wait for every request in work, however long it takes."""
    typer.echo("stopped.", err=True)
    sys.stdout.flush()
    os._exit(TERMINATED if told() else INTERRUPTED)
