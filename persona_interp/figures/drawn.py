"""What every figure of the main job shares: its rows and caption, and how many traits stand side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from pandas import DataFrame

PANELS_ACROSS = 3


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk: the picture for the page, the one for print, the numbers in it, and what it shows."""

    png: Path
    pdf: Path
    csv: Path
    caption: str


@dataclass(frozen=True, eq=False)
class DrawnFigure:
    """A figure before it is saved, with the rows it shows."""

    name: str
    figure: Figure
    frame: DataFrame
    caption: str


def parts(traits: Sequence[str], present: Iterable[str], across: int = PANELS_ACROSS) -> list[list[str]]:
    """The traits that a table has, as many at a time as fit side by side."""
    known = set(present)
    shown = [trait for trait in traits if trait in known]
    return [shown[start : start + across] for start in range(0, len(shown), across)]


def numbered(stem: str, part: int) -> str:
    """The name of one of several figures of a kind; the first has no number."""
    return stem if part == 0 else f"{stem}_{part + 1}"
