"""Tables that are kept in files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pandas import DataFrame

from persona_interp.effects import saved_claims, saved_effects
from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.style import paper_style, save_figure
from persona_interp.tables import read_table, write_table


def write_tables(folder: Path, tables: Mapping[str, DataFrame], *, digits: int | None = None) -> None:
    """Every table as CSV under its name, which may begin with folders; `digits` as of `write_table`."""
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table, digits=digits)


def read_tables(folder: Path, *names: str) -> list[DataFrame]:
    """Tables as `write_tables` left them, in the order of the names.

    Raises:
        ArtefactError: one is missing or damaged.
    """
    return [read_table(folder / f"{name}.csv") for name in names]


def draw_saved(folder: Path, study: str, draw: Callable[[DataFrame], Sequence[DrawnFigure]]) -> None:
    """The figures of a study's effects, which have just been written to the folder, beside them."""
    effects = saved_effects(folder, study)
    assert effects is not None, f"{study} has been written"
    with paper_style():
        for one in draw(effects):
            save_figure(one.figure, one.frame, folder, one.name)


def print_sentences(folder: Path, study: str) -> None:
    """The claims of a study in a folder, a line each."""
    claims = saved_claims(folder, study)
    print(*([] if claims is None else claims["sentence"]), sep="\n")  # noqa: T201
