"""`persona-interp traits`: the traits there are."""

from typing import Annotated

import typer

from persona_interp.cli.options import app


@app.command()
def traits(name: Annotated[str, typer.Argument(help="Show one trait, or a trait file, whole.")] = "") -> None:
    """The traits of the package; with a name, its prompts and questions."""
    import json

    from persona_interp.data.traits import list_traits, load_trait, trait_to_dict

    if name:
        typer.echo(json.dumps(trait_to_dict(load_trait(name)), indent=2, ensure_ascii=False))
        return
    for known in list_traits():
        typer.echo(f"{known:24}{load_trait(known).description}")
