"""Agreement of judges on the same answers: two of them point by point, all of them as a matrix."""

from collections.abc import Iterator, Sequence
from typing import cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure, numbered, parts
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, TEXT, legend_below, panel_figure, wrap
from persona_interp.studies.persona.figures import captions
from persona_interp.studies.persona.results import MainJobResults
from persona_interp.studies.persona.rows import agreement

CONDITIONS = {
    "negative prompt": (PALETTE[0], "v"),
    "steered": (PALETTE[2], "o"),
    "positive prompt": (PALETTE[1], "^"),
}
ALL_ANSWERS = "all answers"
MATRICES_ACROSS = 2
COLORMAP = "PuOr_r"


def draw_agreement(results: MainJobResults) -> Iterator[DrawnFigure]:
    """The scatter of the two main judges, a panel a trait, then the matrices of all judges where there are more."""
    table = results.judge_pairs
    if table is None or table.empty:
        return
    judge_a, judge_b = str(table["judge_a"].iloc[0]), str(table["judge_b"].iloc[0])
    table = keep(keep(table, "judge_a", judge_a), "judge_b", judge_b)
    table_of_pairs = agreement(results.effects)
    for part, traits in enumerate(parts(results.traits, distinct(table, "trait"))):
        frame = keep(table, "trait", *traits)
        figure, grid = panel_figure(1, len(traits), panel_height=2.6, square=True)
        for ax, trait in zip(grid[0], traits, strict=True):
            plot_agreement(keep(frame, "trait", trait), ax, judge_a=judge_a, judge_b=judge_b)
            _title(ax, table_of_pairs, trait, judge_a, judge_b)
            if ax is not grid[0][0]:
                ax.set_ylabel("")
        legend_below(figure)
        caption = captions.agreement_caption(frame, has_correlations=not table_of_pairs.empty)
        yield DrawnFigure(numbered("judge_agreement", part), figure, frame, caption)
    yield from _matrices(results)


def _matrices(results: MainJobResults) -> Iterator[DrawnFigure]:
    table = keep(agreement(results.effects), "condition", ALL_ANSWERS)
    several = [trait for trait in distinct(table, "trait") if len(_judges(keep(table, "trait", trait))) > 2]
    for part, traits in enumerate(parts(results.traits, several, MATRICES_ACROSS)):
        frame = keep(table, "trait", *traits)
        figure, grid = panel_figure(1, len(traits), panel_height=2.9, square=True)
        for ax, trait in zip(grid[0], traits, strict=True):
            rows = keep(frame, "trait", trait)
            plot_agreement_matrix(rows, ax, judges=_judges(rows))
            ax.set_title(wrap(trait))
        figure.colorbar(grid[0][0].images[0], ax=grid[0], label="Spearman's ρ", shrink=0.7)
        yield DrawnFigure(numbered("judge_matrix", part), figure, frame, captions.matrix_caption(frame))


def _judges(pairs: DataFrame) -> list[str]:
    return list(dict.fromkeys([*distinct(pairs, "judge_a"), *distinct(pairs, "judge_b")]))


def _title(ax: Axes, pairs: DataFrame, trait: str, judge_a: str, judge_b: str) -> None:
    """The trait and, under it, the correlation of this panel."""
    if pairs.empty:
        ax.set_title(wrap(trait))
        return
    ax.set_title(wrap(trait), pad=15)
    rows = keep(keep(keep(pairs, "trait", trait), "judge_a", judge_a), "judge_b", judge_b)
    for row in records(keep(rows, "condition", ALL_ANSWERS))[:1]:
        text = "ρ = {estimate:.2f} [{low:.2f}, {high:.2f}], n = {n}".format_map(row).replace("-", "−")
        ax.text(0, 1.03, text, fontsize=7, transform=ax.transAxes)


def plot_agreement(frame: DataFrame, ax: Axes, *, judge_a: str, judge_b: str) -> Axes:
    """Score of one judge against the score of another, a point an answer, for one trait.

    The diagonal is equality; a rank correlation does not ask for it.

    Args:
        frame: `condition, value_a, value_b` of one trait and pair of judges.
    """
    ax.plot([0, 100], [0, 100], color=LIGHT_GREY, linewidth=1, zorder=1)
    for condition in [*CONDITIONS, *sorted(set(distinct(frame, "condition")) - set(CONDITIONS))]:
        rows = keep(frame, "condition", condition)
        color, marker = CONDITIONS.get(condition, (GREY, "s"))
        if not rows.empty:
            ax.scatter(
                rows["value_a"],
                rows["value_b"],
                s=10,
                color=color,
                marker=marker,
                alpha=0.55,
                linewidths=0,
                label=condition,
            )
    ax.set(xlim=(-3, 103), ylim=(-3, 103), xticks=range(0, 101, 25), yticks=range(0, 101, 25))
    ax.set_aspect("equal")
    ax.set_xlabel(f"{wrap(judge_a)}\n(0–100)")
    ax.set_ylabel(f"{wrap(judge_b)}\n(0–100)")
    return ax


def plot_agreement_matrix(frame: DataFrame, ax: Axes, *, judges: Sequence[str]) -> Axes:
    """Spearman's rho of every two judges as a heat map, with its interval under each number, for one trait.

    The colour scale runs from -1 to 1; the diagonal is left blank.

    Args:
        frame: `judge_a, judge_b, estimate, low, high`; each pair once.
    """
    rho, place = np.full((len(judges), len(judges)), np.nan), {judge: i for i, judge in enumerate(judges)}
    for row in records(frame):
        a, b = sorted((place[row["judge_a"]], place[row["judge_b"]]))
        rho[b, a] = row["estimate"]
        if not np.isnan(rho[b, a]):
            text = "{estimate:+.2f}\n[{low:.2f}, {high:.2f}]".format_map(row).replace("-", "−")
            color = "white" if abs(rho[b, a]) > 0.6 else TEXT
            ax.text(a, b, text, ha="center", va="center", color=color, fontsize=6)
    shown = np.ma.masked_invalid(rho[1:, :-1])
    extent = (-0.5, len(judges) - 1.5, len(judges) - 0.5, 0.5)
    ax.imshow(shown, cmap=mpl.colormaps[COLORMAP], vmin=-1, vmax=1, extent=cast(tuple, extent))
    ax.set_xticks(range(len(judges) - 1), [wrap(j, 24) for j in judges[:-1]], rotation=40, ha="right", fontsize=6)
    ax.set_yticks(range(1, len(judges)), [wrap(j, 24) for j in judges[1:]], fontsize=6)
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
