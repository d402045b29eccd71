"""`persona-interp figures`: the figures of saved results drawn again."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome


def figures(
    runs: Annotated[list[Path], typer.Argument(help="Results folders.", metavar="RUN...")],
    out: Annotated[Path, typer.Option(help="Where they go; with several runs, a folder each.")],
    only: Annotated[
        list[str], typer.Option(help="Names of figures, or their beginnings.", show_default="all")
    ] = options.NONE,
    width: Annotated[
        float | None, typer.Option(help="Inches; default: 3.3 for one panel, 7 for more.", min=2.0, max=20.0)
    ] = None,
) -> Outcome:
    """Every figure of results folders as PNG, PDF and CSV, without a model."""
    from persona_interp.errors import ArtefactError
    from persona_interp.redraw import redraw

    for run in runs:
        if not run.is_dir():
            raise ArtefactError(f"{run} is no results folder.", "Expected a folder that a command wrote.")
    places = [out] if len(runs) == 1 else [out / "-".join(run.resolve().parts[-2:]) for run in runs]
    saved = [one for run, place in zip(runs, places, strict=True) for one in redraw(run, place, only=only, width=width)]
    files = [str(one.pdf) for one in saved]
    return Outcome([*files], {"figures": files}, out)
