"""Training against the monitor: what each detector still sees, beside what the trait still does."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct
from persona_interp.figures.style import GREY, LIGHT_GREY

EXPRESSION = "trait expression"


def plot_detectors(
    frame: DataFrame,
    ax: Axes,
    *,
    runs: Sequence[str] | None = None,
    detectors: Sequence[str] | None = None,
    whole: float | None = 1.0,
    label: str = "share of the change under plain finetuning",
) -> Axes:
    """What every detector (rows, top to bottom) sees of every run (colours), with its interval.

    The shaded rows named `trait expression` (or `trait expression: JUDGE`) are what the trait does: a run whose
    detectors are at the dashed line (nothing changed) and whose expression is not has blinded them. All numbers are in
    one unit; by default the change that a run shows, divided by the change that plain finetuning shows.

    Args:
        frame: `run, detector, estimate, low, high`.
        runs: in the order of the colours.
        detectors: the rows, in order; default: as they come, expression last.
        whole: where the solid line of plain finetuning stands; None where the unit has none.
        label: of the horizontal axis: the unit.
    """
    names = distinct(frame, "detector") if detectors is None else detectors
    rows = list(names) if detectors is not None else sorted(names, key=_is_expression)
    for height, name in enumerate(rows):
        if _is_expression(name):
            ax.axhspan(height - 0.48, height + 0.48, color=LIGHT_GREY, alpha=0.45, linewidth=0, zorder=0.5)
    if whole is not None:
        ax.axvline(whole, color=GREY, linewidth=0.9, zorder=1)
    plot_forest(
        frame[["detector", "run", "estimate", "low", "high"]].rename(columns={"detector": "trait", "run": "series"}),
        ax,
        traits=rows,
        names=distinct(frame, "run") if runs is None else runs,
        chance=0.0,
        label=label,
    )
    return ax


def _is_expression(detector: str) -> bool:
    return detector.startswith(EXPRESSION)
