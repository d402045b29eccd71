"""Families on the same axes: a map of cosines and projections, cosines over layers, and stability."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.heat_map import name_cells
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, TEXT, legend_below, panel_figure
from persona_interp.studies.comparison.axes import PLAIN
from persona_interp.studies.comparison.axes_effects import COSINE, PLURAL, PROJECTIONS, STABILITY, relations
from persona_interp.studies.comparison.families.answers import NAME

SHORT = {NAME: "persona", f"{NAME}, prompt_last": "persona, last", f"{NAME}, prompt_mean": "persona, prompt"}
_ACROSS = 4


def short(name: str) -> str:
    """The name of a family as it fits in a figure."""
    said = (
        name.replace("style vector", "style")
        .replace("random directions", "random")
        .replace("random direction", "random")
    )
    return SHORT.get(name, said.removeprefix("top "))


def draw_axes(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    """The figures of a trait's families on the same axes."""
    made = [draw(trait, effects) for draw in (_draw_map, _draw_layers, _draw_stability)]
    return [figure for some in made for figure in some]


def other_of(rows: DataFrame) -> list[str]:
    """The second family of each row, from its condition."""
    names = []
    for condition in rows["condition"]:
        said = str(condition).removeprefix("with ")
        cut = next(end for end in (", high-norm", ", all answers", ", length", ", pole") if end in said)
        names.append(said.partition(cut)[0])
    return names


def plot_pairs(rows: DataFrame, values: DataFrame, ax: Axes) -> Axes:
    """Cosines without scatter below the diagonal, rank correlations of projections above it, in hundredths.

    A black frame is the verdict same, a dashed one opposed; bold is related, grey unrelated or undecided. A dot is no
    estimate.

    Args:
        rows: effects of cosines at one layer; values: of projections there.
    """
    names = list(dict.fromkeys([*rows["method"], *other_of(rows)]))
    place = {name: k for k, name in enumerate(names)}
    grid = np.full((len(names), len(names)), np.nan)
    verdicts = relations(records(rows.astype(object).where(rows.notna(), None)))
    for row, other, verdict in zip(records(rows), other_of(rows), verdicts, strict=True):
        y, x = place[other], place[row["method"]]
        grid[y, x] = row["estimate"]
        clear = verdict in ("same", "related", "opposed")
        _write(ax, y, x, row["estimate"], bold=clear, faint=not clear)
        if verdict in ("same", "opposed"):
            style = "-" if verdict == "same" else "--"
            ax.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor="black", lw=1.2, ls=style))
    for row, other in zip(records(values), other_of(values), strict=True):
        if row["method"] in place and other in place:
            y, x = place[row["method"]], place[other]
            grid[y, x] = row["estimate"]
            beyond = abs(row["estimate"]) > row["null_high"] and row["low"] * row["high"] > 0
            _write(ax, y, x, row["estimate"], bold=beyond, faint=not beyond)
    ax.imshow(np.ma.masked_invalid(np.clip(grid, -1, 1)), cmap="RdBu_r", vmin=-1, vmax=1)
    name_cells(ax, [short(name) for name in names], [short(name) for name in names], rotation=40)
    return ax


def _write(ax: Axes, y: int, x: int, value: float, *, bold: bool, faint: bool) -> None:
    known = value == value
    text = f"{100 * value:.0f}".replace("-", "−") if known else "·"
    dark = known and abs(value) > 0.65
    color = "white" if dark else ("#777777" if faint else TEXT)
    ax.text(x, y, text, ha="center", va="center", fontsize=6.5, color=color, fontweight="bold" if bold else "normal")


def plot_over_layers(rows: DataFrame, ax: Axes) -> Axes:
    """Cosine without scatter of one family with the persona vector over layers, its interval, and the null."""
    rows = rows.assign(layer=rows["layers"].astype(int)).sort_values("layer")
    x = rows["layer"].to_numpy()
    ax.fill_between(x, -rows["null_high"], rows["null_high"], color=LIGHT_GREY, lw=0, label="random directions, 95 %")
    known = rows[rows["low"].notna()]
    at = known["layer"].to_numpy()
    ends = np.clip(known[["low", "high"]].to_numpy(float), -1.05, 1.15)
    ax.vlines(at, ends[:, 0], ends[:, 1], color=PALETTE[0], lw=0.9, label="95 % interval")
    ax.plot(at, np.clip(known["estimate"], -1.05, 1.15), "o", ms=2.4, color=PALETTE[0], label="cosine without scatter")
    ax.axhline(0.8, color=GREY, lw=0.7, ls="--")
    ax.axhline(0, color=GREY, lw=0.6)
    ax.set_ylim(-0.5, 1.18)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return ax


def plot_stability(rows: DataFrame, ax: Axes) -> Axes:
    """Stepped-up agreement of halves of every family: a colour a way to halve, grey bars what nothing gives."""
    names = distinct(rows, "method")
    ways = distinct(rows, "cluster")
    step = 0.75 / max(1, len(ways))
    for k, way in enumerate(ways):
        for row in records(keep(rows, "cluster", way)):
            y = names.index(row["method"]) + (k - (len(ways) - 1) / 2) * step
            if row["null_high"] == row["null_high"]:
                ax.plot(
                    [0, max(row["null_high"], 0)], [y, y], color=LIGHT_GREY, lw=3.5, solid_capstyle="butt", zorder=1
                )
            if row["low"] == row["low"]:
                ax.plot([row["low"], row["high"]], [y, y], color=PALETTE[k], lw=1)
            ax.plot(row["estimate"], y, "o", ms=3.2, color=PALETTE[k], label=PLURAL[way])
    ax.set_yticks(range(len(names)), [short(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(min(-0.05, float(np.nanmin(rows["estimate"])) - 0.05), 1.03)
    ax.axvline(0, color=GREY, lw=0.6)
    ax.set_xlabel("agreement of halves, stepped up")
    ax.grid(visible=False, axis="y")
    return ax


def _draw_map(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(keep(effects, "metric", COSINE), "place", "named")
    if rows.empty:
        return []
    values = keep(effects, "metric", PROJECTIONS)
    values = values[values["condition"].str.endswith(PLAIN)]
    figure, [[ax]] = panel_figure(1, 1, panel_height=3.1, page_wide=False)
    plot_pairs(rows, values, ax)
    layer = distinct(rows, "layers")[0]
    ax.set_title(f"{trait}, layer {layer}")
    caption = (
        f"{trait}: families at layer {layer}, × 100. Below the diagonal: cosine without scatter; framed: the same"
        " direction (interval above 0.8); bold: related (interval above what 95 % of random directions stay below);"
        " grey: unrelated or undecided; a dot: halves do not agree. Above: rank correlation of the projections of the"
        " same held-out answers; bold: beyond projections on random directions, interval without 0."
    )
    both = DataFrame(records(rows) + records(values))
    return [DrawnFigure(f"comparison_map_{trait}", figure, both, caption)]


def _draw_layers(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", COSINE)
    rows = keep(rows.assign(other=other_of(rows)), "method", NAME)
    swept = keep(rows, "place", "swept")
    if swept.empty:
        return []
    others = distinct(rows[rows["low"].notna()], "other")
    others = [other for other in others if len(keep(swept, "other", other))]
    left = [short(other) for other in distinct(swept, "other") if other not in others]
    if not others:
        return []
    lines = -(-len(others) // _ACROSS)
    figure, grid = panel_figure(lines, min(_ACROSS, len(others)), panel_height=1.5, page_wide=True, share_y="all")
    axes = [ax for line in grid for ax in line]
    for ax, other in zip(axes, others, strict=False):
        plot_over_layers(keep(rows, "other", other), ax)
        ax.set_title(short(other))
    for ax in axes[len(others) :]:
        ax.set_visible(False)
    for line in grid:
        line[0].set_ylabel("cosine")
    for ax in axes[max(0, len(others) - _ACROSS) : len(others)]:
        ax.set_xlabel("layer")
    legend_below(figure, columns=3)
    caption = (
        f"{trait}: cosine without scatter of each family with the persona vector, over layers, with 95 % intervals over"
        " questions; dashed: 0.8, from which an interval says the same direction. A layer without a point: the halves"
        " of one of the two do not clearly agree there." + (f" At no layer: {', '.join(left)}." if left else "")
    )
    return [DrawnFigure(f"comparison_layers_{trait}", figure, rows, caption)]


def _draw_stability(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", STABILITY)
    if rows.empty:
        return []
    figure, [[ax]] = panel_figure(1, 1, panel_height=2.6)
    plot_stability(rows, ax)
    ax.set_title(f"stability, {trait}")
    legend_below(figure, columns=2)
    caption = (
        f"{trait}: agreement of a family's directions from two halves, stepped up to whole sets (Spearman-Brown), with"
        " 95 % intervals over questions where halves are of these. Grey: up to the 95th percentile where the poles of a"
        " random half of the questions are exchanged."
    )
    return [DrawnFigure(f"comparison_stability_{trait}", figure, rows, caption)]
