"""Reliability of judges: what people say of answers against the score that a judge gives them."""

from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.drawn import PANELS_ACROSS, DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import GREY, category, panel_figure, wrap
from persona_interp.studies.judge_validity.labelled_effects import BIN_SCORE, MEAN_LABEL, SHARE

COLUMNS = ["trait", "judge", "data", "condition"]


def reliability(effects: DataFrame) -> DataFrame:
    """A row a bin of scores: its mean score, and the share with the trait (or mean label), both in points of 100."""
    labels = keep(effects, "metric", SHARE, MEAN_LABEL)
    scores = keep(effects, "metric", BIN_SCORE)[[*COLUMNS, "estimate"]].rename(columns={"estimate": "score"})
    rows = labels[[*COLUMNS, "metric", "estimate", "low", "high", "n"]].merge(scores, on=COLUMNS)
    for name in ("estimate", "low", "high"):
        rows[name] = rows[name] * (rows["metric"] == SHARE).map({True: 100.0, False: 1.0})
    return rows


def draw_reliability(effects: DataFrame) -> list[DrawnFigure]:
    """A panel a judge; none where no judge was tried on labelled answers."""
    rows = reliability(effects)
    judges = distinct(rows, "judge")
    if not judges:
        return []
    across = min(PANELS_ACROSS, len(judges))
    figure, grid = panel_figure(-(-len(judges) // across), across, panel_height=2.3, square=True)
    panels = [ax for line in grid for ax in line]
    for k, ax in enumerate(panels):
        if k >= len(judges):
            ax.set_visible(False)
            continue
        plot_reliability(keep(rows, "judge", judges[k]), ax)
        ax.set_title(wrap(judges[k]))
    graded = (rows["metric"] == MEAN_LABEL).any()
    caption = (
        f"{'Mean label' if graded else 'Percentage of answers labelled as with the trait'}, by bins of a judge's score"
        " of equally many answers, with intervals over groups. On the dashed line scores are calibrated: above it the"
        " judge sees too little of the trait, below it too much."
    )
    return [DrawnFigure("reliability", figure, rows, caption)]


def plot_reliability(rows: DataFrame, ax: Axes) -> Axes:
    """Label against score of one judge.

    Args:
        rows: of `reliability`.
    """
    color, _ = category(0)
    ax.plot((0, 100), (0, 100), color=GREY, linestyle="--", linewidth=0.9, zorder=1)
    ordered = rows.sort_values("score")
    for row in records(ordered):
        ax.plot((row["score"],) * 2, (row["low"], row["high"]), color=color, linewidth=1.1, zorder=2)
    ax.plot(ordered["score"], ordered["estimate"], "o-", color=color, zorder=2.2)
    ax.set_xlim(-3, 103)
    ax.set_ylim(-3, 103)
    ax.set_aspect("equal")
    ax.set_xlabel("score")
    ax.set_ylabel("mean label" if (rows["metric"] == MEAN_LABEL).any() else "with the trait, %")
    return ax
