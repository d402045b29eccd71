"""`persona-interp models`: what packages carry."""


def models() -> None:
    """The models that packages carry, and whether they are installed."""
    from rich.console import Console
    from rich.table import Column, Table

    from persona_interp.models.packaged import PACKAGED_MODELS, is_installed

    table = Table(Column("model", no_wrap=True), "architecture", "kind", "licence", "installed")
    for model in PACKAGED_MODELS.values():
        there = "yes" if is_installed(model) else model.install
        table.add_row(model.name, model.architecture, model.kind, model.licence, there)
    Console().print(table)
