"""The first picture of a report: what adding the vector does, and what the model then writes, a row a trait."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, TEXT, panel_figure, wrap
from persona_interp.judges.consensus import CONSENSUS
from persona_interp.sections.words import plain
from persona_interp.studies.persona.results import MainJobResults, TraitSummary
from persona_interp.studies.persona.rows import EXPRESSION, sweep

NAME = "headline"
_COLUMNS, _LONGEST = 92, 190
_SIDES = ((-1, "less", PALETTE[0]), (0, "unsteered", "#555555"), (1, "more", PALETTE[1]))


def draw_headline(results: MainJobResults) -> Iterator[DrawnFigure]:
    """One figure of the traits that a consensus headlines; nothing where there is none."""
    table = keep(keep(sweep(results.effects, EXPRESSION), "judge", CONSENSUS), "role", "treatment")
    rows = [row for row in results.summary if row.chosen_layer is not None and row.trait in distinct(table, "trait")]
    if not rows:
        return
    figure, grid = panel_figure(len(rows), 2, panel_height=2.3, page_wide=True)
    places = grid[0][0].get_gridspec()
    assert places is not None, "the panels are of one grid"
    if places.ncols == 2:
        figure.set_size_inches(figure.get_figwidth(), 2.4 * len(rows) + 0.2)
        places.set_width_ratios([1.0, 1.35])
    frames = []
    for (dose, texts), row in zip(grid, rows, strict=True):
        at = keep(table, "trait", row.trait)
        at = at[(at["layer"] == row.chosen_layer) | at["layer"].isna()].sort_values("coefficient")
        plot_dose(at, dose, row, _null(results, row.trait))
        plot_answers(_examples(results, row.trait), texts, row, characters=68 if places.ncols == 2 else 48)
        frames.append(at)
    shown = frames[0] if len(frames) == 1 else table
    yield DrawnFigure(NAME, figure, shown, _caption(rows))


def plot_dose(frame: DataFrame, ax: Axes, row: TraitSummary, null: DataFrame | None = None) -> Axes:
    """Expression against the strength of the vector at the chosen layer, with what random directions do.

    Args:
        frame: `coefficient, estimate, low, high, coherent`, by the consensus.
        null: `effect, coefficient` of random directions at the place of the test.
    """
    x, y = frame["coefficient"].to_numpy(float), frame["estimate"].to_numpy(float)
    ax.axhline(0, color=LIGHT_GREY, linewidth=0.9, zorder=1)
    if null is not None and len(null):
        effects = null["effect"].dropna().to_numpy(float)
        spread = np.linspace(-1, 1, len(effects)) * 0.02 * float(np.ptp(x))
        place = null["coefficient"].to_numpy(float)[: len(effects)] + spread
        ax.plot(place, np.sort(effects), ".", color=GREY, markersize=2.5, alpha=0.7, zorder=1.5)
        ax.annotate(
            f"{len(effects)} random\ndirections",
            (float(place.max()), float(np.median(effects))),
            xytext=(4, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=6,
            color="#666666",
        )
    ax.fill_between(x, frame["low"].to_numpy(float), frame["high"].to_numpy(float), color=PALETTE[1], alpha=0.15, lw=0)
    ax.plot(x, y, "-", color=PALETTE[1], zorder=2)
    coherent = frame["coherent"].to_numpy(bool)
    ax.plot(x[coherent], y[coherent], "o", color=PALETTE[1], markersize=4.5, zorder=3)
    ax.plot(x[~coherent], y[~coherent], "o", mfc="white", mec=PALETTE[1], markersize=4.5, zorder=3)
    ax.set_title(wrap(f"How {row.trait} the answers are"))
    ax.set_xlabel(f"vector added at layer {row.chosen_layer} (in mean residual norms)")
    ax.set_ylabel("deviations from unsteered")
    return ax


def plot_answers(examples: DataFrame, ax: Axes, row: TraitSummary, *, characters: int = 68) -> Axes:
    """One question, and the answers at minus, zero and plus the chosen strength, under one another.

    Args:
        characters: of a line.
    """
    ax.set_axis_off()
    if examples.empty:
        return ax
    question = distinct(examples, "question")[0]
    answers = keep(examples, "question", question)
    ax.set_title(wrap(f"“{_short(question, 70)}”", characters - 8), fontweight="normal", fontstyle="italic")
    for k, (side, name, color) in enumerate(reversed(_SIDES)):
        own = answers[np.sign(answers["coefficient"].to_numpy(float)) == side]
        text = _short(str(own["answer"].iloc[0]), _LONGEST) if len(own) else ""
        label = name if side == 0 else f"{name} {row.trait}"
        top = 1 - k / 3
        box = FancyBboxPatch(
            (0.0, top - 0.31), 1.0, 0.29, boxstyle="round,pad=0,rounding_size=0.02", fc=color, ec="none", alpha=0.09,
            transform=ax.transAxes, clip_on=False,
        )  # fmt: skip
        ax.add_patch(box)
        ax.text(0.02, top - 0.04, label, transform=ax.transAxes, fontsize=6.5, weight="bold", color=color, va="top")
        said = wrap(text or "(no answer)", characters)
        ax.text(0.02, top - 0.105, said, transform=ax.transAxes, fontsize=6.3, color=TEXT, va="top", linespacing=1.15)
    return ax


def _null(results: MainJobResults, trait: str) -> DataFrame | None:
    table = results.steering_null
    return None if table is None else keep(keep(table, "trait", trait), "role", "null_draw")


def _examples(results: MainJobResults, trait: str) -> DataFrame:
    table = results.examples
    return DataFrame() if table is None else keep(table, "trait", trait)


def _short(text: str, longest: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(plain(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def _caption(rows: list[TraitSummary]) -> str:
    judges = "; ".join(f"{row.trait}: {' and '.join(row.judges_shown or ())}" for row in rows)
    return (
        "Left: mean expression by the consensus of judges, in standard deviations of the unsteered answers, as the"
        " persona vector is added with rising strength at the chosen layer; the band is the 95 % interval over"
        " questions; hollow points fail the coherence gate; grey points are random directions of equal norm, at the"
        f" place of the test. Right: answers to the first evaluation question. Judges: {judges}."
    )
