"""Training against the monitor: what each detector still sees, beside what the trait still does."""

from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct
from persona_interp.figures.style import LIGHT_GREY
from persona_interp.studies.finetuning.detector_effects import AGAINST, EXPRESSION


def plot_detectors(effects: DataFrame, ax: Axes) -> Axes:
    """What every detector (rows, top to bottom) sees of every run (colours), as Cliff's delta with its interval.

    The shaded rows are the trait expression by a judge: a run whose detectors are at the dashed line (no difference
    from the benign run) and whose expression is not has blinded them.

    Args:
        effects: those of `detector_effects` with one training seed: `condition, estimate, low, high`.
    """
    split = effects["condition"].str.split(AGAINST, n=1, expand=True)
    rows = effects[["estimate", "low", "high"]].assign(series=split[0], trait=split[1])
    detectors = sorted(distinct(rows, "trait"), key=_is_expression)
    for height, name in enumerate(detectors):
        if _is_expression(name):
            ax.axhspan(height - 0.48, height + 0.48, color=LIGHT_GREY, alpha=0.45, linewidth=0, zorder=0.5)
    label = "Cliff's δ against the benign run"
    plot_forest(rows, ax, traits=detectors, names=distinct(rows, "series"), chance=0.0, label=label)
    ax.set_xlim(-1.05, 1.05)
    return ax


def _is_expression(detector: str) -> bool:
    return detector.startswith(EXPRESSION)
