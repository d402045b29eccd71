"""Paper style: sizes in inches at print size, a colour-blind-safe palette, and atomic saving of a figure."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from persona_interp.errors import ArtefactError
from persona_interp.io import atomic_write_bytes
from persona_interp.tables import write_table

COLUMN_WIDTH = 3.3
"""Width in inches of one column of a two-column page."""

PAGE_WIDTH = 7.0
"""Width in inches of both columns."""

PNG_DPI = 200
_NARROWEST, _ASKED = 2.3, 0.125
"""Inches of a panel, and the height by which a width in matplotlib's settings is known to be ours."""
_LONG = 22
"""Characters of a label of which one stands in a line of a narrow legend."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Categories. The first seven are the colours of Okabe and Ito (2008) that show on white, in another order."""

LINE_STYLES = ("-", "--", ":", "-.")
GREY = "#8A8A8A"
LIGHT_GREY = "#DDDDDD"
TEXT = "#222222"

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "text.color": TEXT,
    "text.parse_math": False,  # names from data may hold dollar signs
    "axes.labelcolor": TEXT,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "grid.color": "#EEEEEE",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.2,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
}


@contextmanager
def paper_style(width: float | None = None) -> Iterator[None]:
    """The matplotlib settings of every figure here; the caller's own settings come back afterwards.

    Args:
        width: inches of every figure, in the place of its own; panels stand below one another where they would be
            narrower than a column.
    """
    with mpl.rc_context({**_RC, **({} if width is None else {"figure.figsize": (width, _ASKED)})}):
        yield


def panel_figure(
    rows: int,
    columns: int,
    *,
    panel_height: float = 1.9,
    page_wide: bool | None = None,
    share_y: Literal["all", "row", "none"] = "none",
    square: bool = False,
) -> tuple[Figure, list[list[Axes]]]:
    """An empty grid of panels, one column wide for one panel and a page wide for more; call it in `paper_style`.

    Args:
        panel_height: inches a row of panels; the legend has its own 0.6 inch.
        page_wide: a page wide or one column wide, whatever the number of panels.
        share_y: panels with one vertical scale; only the outer ones have its numbers.
        square: the panels keep an equal aspect.
    """
    wide = columns > 1 if page_wide is None else page_wide
    width = _asked_width() or (PAGE_WIDTH if wide else COLUMN_WIDTH)
    across = columns if width / columns >= _NARROWEST else max(1, int(width / _NARROWEST))
    down = rows * -(-columns // across)
    figure = Figure(figsize=(width, down * panel_height + 0.6), layout="compressed" if square else "constrained")
    if across == columns:
        return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False, sharey=share_y)]
    panels = [list(row) for row in figure.subplots(down, across, squeeze=False, sharey=share_y == "all")]
    lines = [[ax for line in panels[k : k + down // rows] for ax in line] for k in range(0, down, down // rows)]
    for ax in (ax for line in lines for ax in line[columns:]):
        ax.set_visible(False)
    return figure, [line[:columns] for line in lines]


def _asked_width() -> float | None:
    """Inches that `paper_style` was asked for."""
    width, height = mpl.rcParams["figure.figsize"]
    return float(width) if height == _ASKED else None


def legend_below(figure: Figure, *, extra: Sequence[Line2D] = (), columns: int | None = None) -> None:
    """One legend for all panels, below them, each label once in the order in which it was drawn."""
    handles: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    for line in extra:
        handles.setdefault(str(line.get_label()), line)
    if handles:
        narrow = figure.get_figwidth() < 2 * _NARROWEST
        default = 2 if narrow else 4
        if narrow and columns is not None:
            columns = min(columns, 1 if max(map(len, handles)) > _LONG else 2)
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=columns or min(default, len(handles)),
        )


def sequential(n: int) -> list[str]:
    """`n` colours from light to dark for ordered things such as layers; readable on white and in grey."""
    colormap = mpl.colormaps["viridis_r"]
    return [to_hex(colormap(position)) for position in np.linspace(0.18, 1.0, n)] if n > 1 else ["#31688E"]


def category(index: int) -> tuple[str, str]:
    """Colour and line style of category `index`; the style changes when the colours come round again."""
    return PALETTE[index % len(PALETTE)], LINE_STYLES[(index // len(PALETTE)) % len(LINE_STYLES)]


def wrap(text: str, width: int = 28) -> str:
    """Text from data in lines of at most `width` characters, at most three of them."""
    return "\n".join(textwrap.wrap(text, width, max_lines=3, placeholder=" …")) or " "


def save_figure(fig: Figure, frame: DataFrame, folder: Path, name: str) -> tuple[Path, Path, Path]:
    """The paths of name.png (200 dpi), name.pdf and name.csv, which holds the plotted numbers in full precision.

    Raises:
        ArtefactError: the name would leave the folder, or a file cannot be written.
    """
    if Path(name).name != name or name in {"", ".", ".."}:
        raise ArtefactError(f"cannot save a figure under the name {name!r}.", "Expected a file name without a folder.")
    paths = folder / f"{name}.png", folder / f"{name}.pdf", folder / f"{name}.csv"
    with mpl.rc_context(_RC):
        atomic_write_bytes(paths[0], rendered(fig, "png"))
        atomic_write_bytes(paths[1], rendered(fig, "pdf"))
    write_table(paths[2], frame)
    return paths


def rendered(figure: Figure, kind: str) -> bytes:
    """The figure as bytes that are equal for equal figures: no date inside."""
    buffer = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"CreationDate": None}
    figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return buffer.getvalue()
