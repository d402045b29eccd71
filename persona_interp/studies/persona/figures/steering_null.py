"""The effect of a direction among those of random directions: each of them is one draw."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import GREY, PALETTE, legend_below, panel_figure, wrap
from persona_interp.studies.persona.findings import unit_of
from persona_interp.studies.persona.results import MainJobResults


def plot_steering_null(
    frame: DataFrame, ax: Axes, *, traits: Sequence[str], notes: Sequence[str] = (), unit: str = "points of 100"
) -> Axes:
    """Effects in the judge's unit: a row a trait, a grey point a random direction, a diamond the direction itself.

    Args:
        frame: `trait, role, effect` of one judge.
        notes: what stands behind the name of each trait (its p and q).
    """
    ax.axvline(0, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
    for height, trait in enumerate(traits):
        rows = keep(frame, "trait", trait)
        null = np.sort(keep(rows, "role", "null_draw")["effect"].dropna().to_numpy(float))
        spread = height + 0.3 * np.tile([-1, -1 / 3, 1 / 3, 1], len(null) // 4 + 1)[: len(null)]
        ax.plot(null, spread, "o", color=GREY, markersize=2.2, alpha=0.6, mew=0, label="random directions", zorder=1.5)
        own = keep(rows, "role", "treatment")["effect"]
        ax.plot(own, [height] * len(own), "D", color=PALETTE[1], markersize=5, label="persona vector", zorder=2)
    names = [f"{wrap(trait, 24)}{f'  {note}' if note else ''}" for trait, note in
             zip(traits, notes or [""] * len(traits), strict=True)]  # fmt: skip
    ax.set_yticks(range(len(traits)), names)
    ax.set_ylim(len(traits) - 0.45, -0.55)
    ax.set_xlabel(f"steered minus unsteered expression ({unit})")
    ax.grid(visible=False, axis="y")
    return ax


def draw_steering_null(results: MainJobResults) -> Iterator[DrawnFigure]:
    """The figure of a run; nothing where no random direction was tried."""
    table = results.steering_null
    if table is None or table.empty:
        return
    traits = [trait for trait in results.traits if trait in distinct(table, "trait")]
    rows = {row.trait: row for row in results.summary}
    notes = [
        "" if rows[trait].q_steering is None else f"p = {rows[trait].p_steering:.3g}, q = {rows[trait].q_steering:.3g}"
        for trait in traits
    ]
    figure, grid = panel_figure(1, 1, panel_height=0.6 + 0.5 * len(traits), page_wide=True)
    plot_steering_null(table, grid[0][0], traits=traits, notes=notes, unit=unit_of(results.summary[0]))
    legend_below(figure)
    first, n = table.iloc[0], len(keep(keep(table, "trait", traits[0]), "role", "null_draw"))
    strengths = sorted({float(value) for value in table["coefficient"]})
    strength = (
        f"coefficient {strengths[0]:+.3g}"
        if len(strengths) == 1
        else f"the coefficient of each trait ({strengths[0]:+.3g} to {strengths[-1]:+.3g})"
    )
    caption = (
        f"What each direction does to expression at layer {int(first['layer'])} with {strength},"
        f" a place that no answer chose; greedy answers to"
        f" {int(table['n_questions'].max())} questions. Judge: {first['judge']}. A grey point is one of {n} random"
        " directions of equal norm with the covariance of the activations. p: the share of them, and of the vector"
        " itself, that raise expression as much; q: corrected over the traits."
    )
    yield DrawnFigure("steering_null", figure, table, caption)
