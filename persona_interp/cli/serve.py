"""`persona-interp serve`: a model on this machine behind the interface of OpenAI's."""

from typing import Annotated

import typer

from persona_interp.cli.options import DEFAULT_MODEL, app


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="A packaged model, or a .gguf file.")] = DEFAULT_MODEL,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; other machines cannot reach it.")] = 8080,
    parallel: Annotated[int, typer.Option(help="Requests answered at the same time.")] = 4,
    context: Annotated[int, typer.Option(help="Tokens of each of them, prompt and answer.")] = 4096,
) -> None:
    """An OpenAI-compatible server without a key, until Ctrl-C: the stand-in for a paid one."""
    import threading
    from pathlib import Path

    from persona_interp.endpoint.local_server import start_server
    from persona_interp.models.packaged import PACKAGED_MODELS, packaged_gguf

    known = PACKAGED_MODELS.get(model)
    path = Path(model) if known is None else packaged_gguf(known)
    server = start_server(path, model if known else path.stem, port=port, parallel=parallel, context=context)
    try:
        typer.echo(f"export OPENAI_BASE_URL={server.base_url}\nexport OPENAI_MODEL={server.model}")
        typer.echo("Give these two lines to another shell. It serves until Ctrl-C.", err=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        typer.echo("stopped.", err=True)
    finally:
        server.close()
