"""Families at the same strength: the frontier of expression and KL, what it costs, and what moves off target."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, leave_out, records
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, TEXT, category, panel_figure
from persona_interp.studies.comparison.figures.axes import short
from persona_interp.studies.comparison.off_target_effects import OFF_COSINE, OFF_TARGET, SLOPE
from persona_interp.studies.comparison.strength_effects import ACCURACY, AREA, CHANGE, LOSS, OVER, RANDOM_MEAN

_PROMPT = "system prompt"


def draw_strength(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    """The figures of a trait's families at the same strength; none where nothing was steered."""
    if keep(effects, "metric", CHANGE).empty:
        return []
    return [*_draw_frontier(trait, effects), *_draw_areas(trait, effects), *_draw_off_target(trait, effects)]


def plot_frontier(rows: DataFrame, ax: Axes, *, labels: bool = True) -> Axes:
    """Estimates against KL, a line a family named at its end; open where answers are not coherent; prompts are points.

    Args:
        rows: effects of one metric and judge.
    """
    ends: list[tuple[float, str, str]] = []
    right = float(rows.loc[rows["condition"] != _PROMPT, "strength"].max())
    families = distinct(rows, "method")
    prompts = [name for name in families if keep(rows, "method", name)["condition"].iloc[0] == _PROMPT]
    lines = [name for name in families if not _is_random(name) and name not in prompts]
    colors = {name: category(k)[0] for k, name in enumerate(lines)}
    for name in families:
        own = keep(rows, "method", name).sort_values("strength")
        if name in prompts:
            _plot_prompt(ax, records(own)[0], "Ds^v"[prompts.index(name) % 4])
            continue
        color = colors.get(name, GREY)
        x, y = [0.0, *own["strength"]], [0.0, *own["estimate"]]
        ax.plot(x, y, color=color, lw=1.2, zorder=1 if _is_random(name) else 2)
        for row in records(own):
            open_ = row.get("coherent") is not None and row["coherent"] == False  # noqa: E712
            ax.plot(row["strength"], row["estimate"], "o", ms=3.6, mec=color, mfc="white" if open_ else color, zorder=3)
        if own["strength"].iloc[-1] == right:
            ends.append((float(own["estimate"].iloc[-1]), short(name), color))
    if labels:
        _label_ends(ax, right, ends)
    ax.axhline(0, color=GREY, lw=0.6)
    ax.set_xlabel("KL from the unsteered model (nats)")
    return ax


def plot_rows(rows: DataFrame, ax: Axes, names: Sequence[str], label: str) -> Axes:
    """Estimates with their intervals, a row a family; filled where q is at most 0.05, or nothing was tested."""
    for row in records(rows):
        if row["method"] not in names:
            continue
        y = list(names).index(row["method"])
        color = GREY if _is_random(row["method"]) else PALETTE[0]
        ax.plot([row["low"], row["high"]], [y, y], color=color, lw=1.1)
        shown = row["q"] != row["q"] or row["q"] <= 0.05
        ax.plot(row["estimate"], y, "o", ms=4, mec=color, mfc=color if shown else "white")
    ax.axvline(0, color=GREY, lw=0.7, ls="--")
    ax.set_yticks(range(len(names)), [short(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(label)
    ax.grid(visible=False, axis="y")
    return ax


def plot_off_target(cosines: DataFrame, changes: DataFrame, slope: DataFrame, ax: Axes) -> Axes:
    """Off-target change against cosine, a point a family and trait, both without the means of families and traits."""
    x, y = (table.pivot_table(index="method", columns="condition", values="estimate") for table in (cosines, changes))
    shared = [name for name in y.columns if name in x.columns and y[name].notna().all()]
    x, y = x.loc[y.index, shared].to_numpy(), y[shared].to_numpy()
    a, b = (v - v.mean(axis=0) - v.mean(axis=1, keepdims=True) + v.mean() for v in (x, y))
    ax.plot(a.ravel(), b.ravel(), "o", ms=2.2, color=PALETTE[0], alpha=0.55, mew=0)
    reach = np.array([a.min(), a.max()])
    for row in records(slope):
        ax.fill_between(reach, row["null_low"] * reach, row["null_high"] * reach, color=LIGHT_GREY, lw=0, zorder=0)
        ax.plot(reach, row["estimate"] * reach, color=PALETTE[1], lw=1.3)
    ax.axhline(0, color=GREY, lw=0.6)
    ax.set_xlabel("cosine with the off-target vector, centred")
    ax.set_ylabel("off-target change (SD), centred")
    return ax


def _plot_prompt(ax: Axes, row: dict[str, Any], marker: str) -> None:
    """A prompt at its own KL, with its interval, named at its side."""
    x, y = row["strength"], row["estimate"]
    ax.plot([x, x], [row["low"], row["high"]], color="#BBBBBB", lw=0.9, zorder=1)
    ax.plot(x, y, marker, ms=4.5, color=TEXT, zorder=3)
    ax.annotate(
        short(row["method"]), (x, y), (5, -1), textcoords="offset points", va="center", fontsize=6.5, color=TEXT
    )


def _is_random(name: str) -> bool:
    return "random direction" in name


def _label_ends(ax: Axes, right: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names at the right ends of lines, apart from each other; one for all random directions."""
    low, high = ax.get_ylim()
    gap = (high - low) * 0.058
    grey = [end for end in ends if end[1].startswith("random")]
    kept = [end for end in ends if end not in grey] + (
        [(np.mean([e[0] for e in grey]), "random", GREY)] if grey else []
    )
    ordered = sorted(kept)
    places = [value for value, _, _ in ordered]
    for _ in range(200):
        for k in range(1, len(places)):
            overlap = gap - (places[k] - places[k - 1])
            if overlap > 0:
                places[k - 1] -= overlap / 2
                places[k] += overlap / 2
    for (value, name, color), at in zip(ordered, places, strict=True):
        ax.annotate(
            name, (right, value), (right * 1.06, at), textcoords="data", va="center", fontsize=6.5, color=color,
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": color, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip
    ax.set_xlim(-0.02 * right, right * 1.62)


def _headline(effects: DataFrame) -> str:
    tested = keep(effects, "family", OVER)
    return (distinct(tested, "judge") or distinct(keep(effects, "metric", CHANGE), "judge"))[0]


def _draw_frontier(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    judge = _headline(effects)
    rows = keep(keep(effects, "metric", CHANGE), "judge", judge)
    cost = keep(effects, "metric", LOSS)
    figure, [axes] = panel_figure(1, 2, panel_height=2.9)
    plot_frontier(rows, axes[0])
    axes[0].set_ylabel("change of expression (points)")
    axes[0].set_title(f"{trait}: expression")
    plot_frontier(cost, axes[1])
    axes[1].set_ylabel("change of loss (nats a token)")
    axes[1].set_title("neutral text")
    n = int(rows["n_cluster"].max())
    caption = (
        f"{trait}: change of expression by {judge} against the mean KL from the unsteered model, over {n} evaluation"
        " questions; open: fewer than 80 % of the answers pass the gate of coherence; dark marks: prompts, at their own"
        " KL, with 95 % intervals. Right: what steering costs on neutral text; a prompt has no place there."
    )
    return [DrawnFigure(f"comparison_frontier_{trait}", figure, DataFrame(records(rows) + records(cost)), caption)]


def _draw_areas(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    judge = _headline(effects)
    areas = keep(keep(effects, "metric", AREA), "judge", judge)
    over = keep(keep(effects, "metric", OVER), "judge", judge)
    right = keep(effects, "metric", ACCURACY)
    if areas.empty:
        return []
    right = right[right["strength"] == right["strength"].max()]
    shown = leave_out(areas, "method", *[n for n in distinct(areas, "method") if _is_random(n) and n != RANDOM_MEAN])
    names = distinct(shown.sort_values("estimate", ascending=False), "method")
    figure, [axes] = panel_figure(1, 3, panel_height=2.5, share_y="all")
    plot_rows(shown, axes[0], names, "mean change up to\nthe largest KL (points)")
    plot_rows(over, axes[1], names, "minus random\ndirections (points)")
    plot_rows(right, axes[2], names, "change of accuracy\nat the largest KL")
    axes[0].set_title(f"{trait}: area")
    axes[1].set_title("beyond random")
    axes[2].set_title("four options")
    caption = (
        f"{trait}: area under expression and KL, the mean change of expression ({judge}) over strengths up to the"
        " largest target; the same minus that of the mean random direction, filled where q is at most 0.05; and the"
        " change of four-option accuracy at the largest target. 95 % intervals over questions, or items."
    )
    frame = DataFrame(records(shown) + records(over) + records(right))
    return [DrawnFigure(f"comparison_areas_{trait}", figure, frame, caption)]


def _draw_off_target(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    slopes = keep(effects, "metric", SLOPE)
    slopes = keep(slopes, "family", "entanglement")
    if slopes.empty:
        return []
    target = distinct(slopes, "strength")[0]
    changes = keep(effects, "metric", OFF_TARGET)
    changes = changes[changes["strength"] == target]
    cosines = keep(effects, "metric", OFF_COSINE)
    figure, [[ax]] = panel_figure(1, 1, panel_height=2.3)
    plot_off_target(cosines, changes, slopes, ax)
    ax.set_title(f"off target, {trait}, KL {target:g}")
    caption = (
        f"{trait}: change of off-target traits and of axes of meaning in standard deviations of unsteered answers, at a"
        f" KL of {target:g} nats, against the cosine of the family's direction with theirs; both without the means of"
        " families and of traits. Line: least squares; grey: middle 95 % of slopes with renamed traits."
    )
    return [
        DrawnFigure(f"comparison_off_target_{trait}", figure, DataFrame(records(changes) + records(slopes)), caption)
    ]
