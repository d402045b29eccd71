"""Inventories, from effects: scores with their intervals, what position and wording do to answers, poles of a type."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure, numbered
from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import GREY, PALETTE, TEXT, category, legend_below, panel_figure, wrap
from persona_interp.studies.inventory.effects import LEVEL, PROBABILITY, SCORE, bounds_of, format_of, poles_of
from persona_interp.studies.inventory.movement_effects import MOVEMENT, scale_of

RELIABILITY = {
    "content_share": "same option in both orders",
    "position_share": "same place in both orders",
    "order_agreement": "r between orders",
    "wording_agreement": "r between wordings",
    "half_correlation": "r between keyed halves",
}
"""Metrics that lie between -1 and 1, and what they are called."""

FORMATS = {"rating": "ratings", "choice": "listed pairs", "statement": "statements said"}

SCORES_CAPTION = "Scores with 95 % intervals over items and wordings. Dashed: the midpoint, as of random answers."
RELIABILITY_CAPTION = (
    "What the answers follow. Same option: the item's content decides in both orders of the options. Same place:"
    " position decides. Correlations are over all items."
)
TYPES_CAPTION = (
    "Poles of every dichotomy with 95 % intervals over items and wordings. Hollow: neither pole has 95 % of the draws."
)

MOVEMENT_CAPTION = (
    "High minus low of each trait (rows) on every scale (columns); bold: the 95 % interval over items and wordings"
    " leaves out zero; framed: a trait and its own scale."
)


def plot_inventory_scores(frame: DataFrame, ax: Axes, *, names: Sequence[str] | None = None) -> Axes:
    """The score of every scale (rows) in every condition (colours), with its interval; dashed: the midpoint.

    Args:
        frame: effects with the metric `inventory score`, of one model, inventory and format.
        names: the conditions, in the order of the colours; give all where panels differ.
    """
    shown = frame.rename(columns={"condition": "series"}).drop(columns=["null_low", "null_high"], errors="ignore")
    low, high = bounds_of(str(distinct(frame, "unit")[0]))
    label = "score" if high > 1 else "share of the first pole"
    names = distinct(frame, "condition") if names is None else names
    plot_forest(shown, ax, traits=distinct(frame, "trait"), names=names, chance=(low + high) / 2, label=label)
    margin = 0.03 * (high - low)
    ax.set_xlim(low - margin, high + margin)
    return ax


def plot_movement(frame: DataFrame, ax: Axes, *, traits: Sequence[str], limit: float) -> AxesImage:
    """What high against low of each trait (rows) moves of each scale (columns), in colours and numbers.

    Bold: the interval leaves out zero. The diagonal, a trait and its own scale, is framed.

    Args:
        frame: `trait, scale, estimate, low, high`, of one model, method and format.
        limit: of the colours, on both sides of zero.
    """
    found = {(row["trait"], row["scale"]): row for row in records(frame)}
    table = [[found[a, b]["estimate"] if (a, b) in found else float("nan") for b in traits] for a in traits]
    image = ax.imshow(table, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for (trait, scale), row in found.items():
        sure = row["low"] > 0 or row["high"] < 0
        place = traits.index(scale), traits.index(trait)
        color = "white" if abs(row["estimate"]) > 0.6 * limit else TEXT
        weight = "bold" if sure else "normal"
        shown = f"{row['estimate']:.2g}"
        ax.text(*place, shown, ha="center", va="center", fontsize=6.5, color=color, weight=weight)
    for n in range(len(traits)):
        ax.add_patch(Rectangle((n - 0.5, n - 0.5), 1, 1, fill=False, edgecolor=TEXT, linewidth=1.2))
    names = [trait[:5] for trait in traits]
    ax.set_xticks(range(len(traits)), names)
    ax.set_yticks(range(len(traits)), names)
    ax.set_xlabel("scale")
    ax.grid(visible=False)
    return image


def draw_movement(effects: DataFrame) -> DrawnFigure:
    """A row a model, a panel a method and format, but for random directions; call it in `paper_style`."""
    moved = with_formats(keep(keep(effects, "metric", MOVEMENT), "role", "treatment"))
    shown = moved.assign(scale=[scale_of(condition) for condition in moved["condition"]])
    shown = keep(shown, "scale", *distinct(shown, "trait"))
    kinds, models = shown[["method", "format"]].drop_duplicates().to_numpy().tolist(), distinct(shown, "model")
    figure, axes = panel_figure(len(models), len(kinds), panel_height=1.75, share_y="row")
    for line, model in zip(axes, models, strict=True):
        for ax, (method, form) in zip(line, kinds, strict=True):
            rows = keep(keep(keep(shown, "model", model), "method", method), "format", form)
            if rows.empty:  # an adapter of the other model
                ax.set_axis_off()
                continue
            limit = max(float(rows["estimate"].abs().max()), 1e-3)
            plot_movement(rows, ax, traits=distinct(shown, "trait"), limit=limit)
            ax.set_title(f"{method}, {form}s ({str(distinct(rows, 'unit')[0]).split()[0]})\n{model}", fontsize=7)
        line[0].set_ylabel("high − low of")
    return DrawnFigure("movement_figure", figure, shown, MOVEMENT_CAPTION)


def plot_reliability(frame: DataFrame, ax: Axes, *, names: Sequence[str] | None = None) -> Axes:
    """Shares and correlations over all items (rows) of every format (colours); what was not measured is left out.

    Args:
        frame: effects of one model, inventory and condition.
        names: the formats, in the order of the colours; give all where panels differ.
    """
    shown = with_formats(keep(keep(frame, "trait", "all"), "metric", *RELIABILITY))
    metrics = [metric for metric in RELIABILITY if metric in set(shown["metric"])]
    formats = distinct(shown, "format") if names is None else list(names)
    named = shown.assign(trait=shown["metric"].map(RELIABILITY), series=shown["format"].replace(FORMATS))
    bars = named.assign(low=0.0, high=named["estimate"]).dropna(subset=["estimate"])
    bars = bars.drop(columns=["null_low", "null_high"], errors="ignore")
    series = [FORMATS.get(form, form) for form in formats]
    label = "share, or correlation over items"
    plot_forest(bars, ax, traits=[RELIABILITY[metric] for metric in metrics], names=series, chance=0.0, label=label)
    ax.set_xlim(-1.05, 1.05)
    return ax


def plot_type_poles(frame: DataFrame, ax: Axes, *, names: Sequence[str] | None = None) -> Axes:
    """The share of the first pole of every dichotomy, its poles at the ends; hollow where it is undecided.

    Args:
        frame: effects with the metrics `inventory score` and `probability of the first pole`, of one model, inventory
            and format.
        names: the conditions, in the order of the colours; give all where panels differ.
    """
    shares, first = keep(frame, "metric", SCORE), records(keep(frame, "metric", PROBABILITY))
    probable = {(row["condition"], row["trait"]): row["estimate"] for row in first}
    poles = {row["trait"]: poles_of(row["reference"]) for row in first}
    scales, conditions = list(poles), distinct(shares, "condition") if names is None else list(names)
    step = 0.7 / max(1, len(conditions))
    ax.axvline(0.5, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
    for row in records(shares):
        index, probability = conditions.index(row["condition"]), probable[row["condition"], row["trait"]]
        color, _ = category(index)
        height = scales.index(row["trait"]) + (index - (len(conditions) - 1) / 2) * step
        decided = max(probability, 1 - probability) >= LEVEL
        fill, gid = (color, "decided") if decided else ("white", "undecided")
        ax.plot((row["low"], row["high"]), (height, height), color=color, linewidth=1.1, zorder=2)
        ax.plot([], [], "o-", color=color, markersize=4, linewidth=1.1, label=row["condition"])
        ax.plot(row["estimate"], height, "o", mfc=fill, mec=color, markersize=4.5, gid=gid, zorder=2.2)
    ax.set_yticks(range(len(scales)), [poles[scale][1] for scale in scales])
    ax.set_ylim(len(scales) - 0.45, -0.55)
    ax.set_xlim(-0.03, 1.03)
    for height, scale in enumerate(scales):
        ax.text(1.05, height, poles[scale][0], va="center", fontsize=7, transform=ax.get_yaxis_transform())
    ax.set_xlabel("share of the pole at the right")
    ax.grid(visible=False, axis="y")
    return ax


def undecided_handle() -> Line2D:
    """What a hollow point means, for a legend."""
    return Line2D([], [], marker="o", mfc="white", mec=PALETTE[0], linestyle="none", markersize=4.5, label="undecided")


def draw_inventory(effects: DataFrame) -> list[DrawnFigure]:
    """Scores, types and reliability, a figure a model and kind that there are effects of; call it in `paper_style`."""
    asked = with_formats(effects)
    scores = _panels(keep(asked, "metric", SCORE), "inventory_scores", SCORES_CAPTION, plot_inventory_scores)
    return [*scores, *draw_inventory_types(asked), *draw_inventory_reliability(asked)]


def draw_inventory_types(effects: DataFrame) -> list[DrawnFigure]:
    """A figure a model, a panel an inventory and format that gives a type."""
    asked = with_formats(effects)
    typed = keep(asked, "metric", PROBABILITY)
    formats = set(zip(typed["data"], typed["format"], strict=True))
    there = [place in formats for place in zip(asked["data"], asked["format"], strict=True)]
    return _panels(keep(asked[there], "metric", SCORE, PROBABILITY), "inventory_types", TYPES_CAPTION, plot_type_poles)


def draw_inventory_reliability(effects: DataFrame) -> list[DrawnFigure]:
    """A figure a model, a panel an inventory, of the first condition."""
    measured = with_formats(keep(keep(effects, "metric", *RELIABILITY), "trait", "all"))
    first = keep(measured, "condition", *distinct(measured, "condition")[:1])
    return _panels(first, "inventory_reliability", RELIABILITY_CAPTION, plot_reliability, by="format")


def with_formats(effects: DataFrame) -> DataFrame:
    """The effects with how items were asked in the column `format`."""
    return effects.assign(format=[format_of(judge) for judge in effects["judge"]])


def _panels(frame: DataFrame, stem: str, caption: str, plot: Any, *, by: str = "condition") -> list[DrawnFigure]:
    """A figure a model; panels of its inventories, apart by format unless colours are formats."""
    drawn = []
    apart = ["data"] if by == "format" else ["data", "format"]
    for part, model in enumerate(distinct(frame, "model")):
        rows = keep(frame, "model", model)
        groups = list(rows.groupby(apart, sort=False))
        height = 0.9 + 0.28 * max(group["metric" if by == "format" else "trait"].nunique() for _, group in groups)
        across = min(2, len(groups))
        down = -(-len(groups) // across)
        figure, axes = panel_figure(down, across, panel_height=height)
        panels = [ax for line in axes for ax in line]
        for ax, (key, group) in zip(panels, groups, strict=False):
            plot(group, ax, names=distinct(rows, by))
            title = str(key[0]) if by == "format" else f"{key[0]}: {FORMATS.get(key[1], key[1])}"
            ax.set_title(wrap(title, 34))
        for ax in panels[len(groups) :]:
            ax.set_axis_off()
        legend_below(figure, extra=[undecided_handle()] if plot is plot_type_poles else [])
        drawn.append(DrawnFigure(numbered(stem, part), figure, rows, f"{model}. {caption}"))
    return drawn
