"""Held-out separation of the persona vector beside that of other methods on the same answers."""

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.drawn import PANELS_ACROSS, DrawnFigure
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import GREY, PALETTE, legend_below, panel_figure, wrap
from persona_interp.studies.persona.figures import captions
from persona_interp.studies.persona.results import MainJobResults
from persona_interp.studies.persona.rows import baselines

PERSONA = "persona_vector"
STYLES = {
    PERSONA: (PALETTE[0], "-", 2.0),
    "pca": (PALETTE[1], "--", 1.1),
    "logistic": (PALETTE[2], "-", 1.1),
    "lda": (PALETTE[3], "-.", 1.1),
    "random": (GREY, ":", 1.1),
}
LABELS = {PERSONA: "persona vector", "pca": "PCA (LAT)", "logistic": "logistic probe", "lda": "LDA", "random": "random"}


def draw_baselines(results: MainJobResults) -> Iterator[DrawnFigure]:
    """A panel a trait, a line a method."""
    table = baselines(results.effects)
    if table.empty:
        return
    traits = [trait for trait in results.traits if trait in distinct(table, "trait")]
    columns = min(PANELS_ACROSS, len(traits))
    figure, grid = panel_figure(-(-len(traits) // columns), columns, share_y="all")
    panels, first = [ax for line in grid for ax in line], [line[0] for line in grid]
    for ax, trait in zip(panels, traits, strict=False):
        plot_baselines(keep(table, "trait", trait), ax)
        ax.set_title(wrap(trait))
        ax.set_ylabel("held-out AUC" if ax in first else "")
    for ax in panels[len(traits) :]:
        ax.remove()
    legend_below(figure)
    yield DrawnFigure("baselines_by_layer", figure, table, captions.baselines_caption(table))


def plot_baselines(frame: DataFrame, ax: Axes) -> Axes:
    """Held-out AUC against layer of every method, the persona vector bold with its interval, for one trait.

    The horizontal line is chance, the vertical one the layer chosen for steering.

    Args:
        frame: `rows.baselines` of one trait.
    """
    ax.axhline(0.5, color=GREY, linewidth=0.7, zorder=1)
    for method in [*STYLES, *(name for name in distinct(frame, "method") if name not in STYLES)]:
        rows = keep(frame, "method", method).sort_values("layer")
        if rows.empty:
            continue
        color, line, width = STYLES.get(method, (PALETTE[4], "-", 1.1))
        ax.plot(
            rows["layer"],
            rows["estimate"],
            color=color,
            linestyle=line,
            linewidth=width,
            label=LABELS.get(method, method),
        )
        if method == PERSONA:
            ax.fill_between(rows["layer"], rows["low"], rows["high"], color=color, alpha=0.18, lw=0)
    for layer in distinct(keep(frame, "place", "chosen"), "layer"):
        ax.axvline(layer, color=PALETTE[1], linewidth=0.9, label="layer chosen for steering", zorder=0.9)
    ax.set_xlabel("layer (0-based block)")
    ax.set_ylabel("held-out AUC")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    return ax
