"""What heat maps share: names along both sides without ticks or spines, and a frame where row and column are one."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle


def name_cells(ax: Axes, rows: Sequence[str], columns: Sequence[str], *, rotation: int) -> None:
    """Names of rows and of columns, which are turned, and nothing else around the cells."""
    ax.set_xticks(range(len(columns)), list(columns), rotation=rotation, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def frame_same(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """A black frame around every cell whose row and column have the same name."""
    for a, name in enumerate(rows):
        if name in columns:
            corner = (list(columns).index(name) - 0.47, a - 0.47)
            ax.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor="black", linewidth=1.4, gid="same-trait"))
