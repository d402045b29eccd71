"""The panel of a trait: what can be read and what acts, layer by layer, beside random directions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, legend_below, panel_figure
from persona_interp.studies.causal.effects import (
    AUC,
    CHANGE,
    CUMULATIVE,
    DISTANCE,
    EXPRESSION,
    LAYER,
    NAMED,
    SAID,
    SHARE,
)


def draw_causal(effects: DataFrame) -> list[DrawnFigure]:
    """Every figure of the effects of panels; call it in `paper_style`."""
    made = []
    for trait in distinct(effects, "trait"):
        rows = keep(effects, "trait", trait)
        made += [*_draw_panel(str(trait), rows), *_draw_expression(str(trait), rows)]
    return made


def plot_profile(effects: DataFrame, ax: Axes, *, color: str = PALETTE[0], label: str = "", shift: float = 0) -> Axes:
    """An estimate a layer with its interval; filled where q <= 0.05; the middle 95 % of random directions in grey."""
    rows = effects.assign(at=[_last(cell) for cell in effects["layers"]]).sort_values("at")
    x = rows["at"].to_numpy(float) + shift
    null = rows[rows["null_low"].notna()]
    if len(null):
        ends = null["null_low"].to_numpy(float), null["null_high"].to_numpy(float)
        ax.fill_between(null["at"].to_numpy(float), *ends, color=LIGHT_GREY, lw=0, label="random directions")
    ax.plot(x, rows["estimate"], color=color, label=label or None)
    ax.vlines(x, rows["low"], rows["high"], color=color, lw=0.8)
    for row, at in zip(records(rows), x, strict=True):
        sure = row["q"] is not None and row["q"] <= 0.05
        ax.plot(at, row["estimate"], "o", ms=3.6, mec=color, mfc=color if sure else "white")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return ax


def plot_apart(decoded: DataFrame, steered: DataFrame, ax: Axes) -> Axes:
    """Effect of adding the direction against the distance of the poles, a layer a point, joined in their order."""
    at = {_last(row["layers"]): row["estimate"] for row in records(decoded)}
    rows = steered.assign(at=[_last(cell) for cell in steered["layers"]]).sort_values("at")
    rows = rows[rows["at"].isin(list(at))]
    x, y = [at[layer] for layer in rows["at"]], rows["estimate"].to_numpy(float)
    ax.plot(x, y, color=LIGHT_GREY, lw=1, zorder=1)
    ax.scatter(x, y, s=12, color=PALETTE[0], zorder=2)
    for layer, a, b in zip(rows["at"], x, y, strict=True):
        ax.annotate(str(layer), (a, b), xytext=(2.5, 2.5), textcoords="offset points", fontsize=6)
    ax.axhline(0, color=GREY, lw=0.7)
    ax.set_xlabel(DISTANCE)
    ax.set_ylabel("effect of adding it")
    return ax


def _draw_panel(trait: str, rows: DataFrame) -> list[DrawnFigure]:
    single = rows[rows["condition"].astype(str).str.endswith(LAYER)]
    changes, shares = keep(single, "metric", CHANGE), keep(rows, "metric", SHARE)
    auc, distance = keep(rows, "metric", AUC), keep(rows, "metric", DISTANCE)
    if changes.empty or auc.empty:
        return []
    figure, axes = panel_figure(2, 3, panel_height=1.9)
    plot_profile(auc, axes[0][0])
    axes[0][0].axhline(0.5, color=GREY, lw=0.7)
    axes[0][0].set_ylabel("AUC of held-out answers")
    axes[0][0].set_title("decodable")
    for ax, (what, title) in zip([*axes[0][1:], axes[1][0]], NAMED.items(), strict=True):
        plot_profile(keep(changes, "condition", f"{SAID[what]}, {LAYER}"), ax, label="along the direction")
        if what == "patched":
            whole = keep(changes, "condition", f"{SAID['patched whole']}, {LAYER}")
            plot_profile(whole, ax, color=PALETTE[1], label="whole residual")
        ax.axhline(0, color=GREY, lw=0.7)
        ax.set_title(title)
        ax.set_ylabel("change of preference\n(nats a token)")
    for k, (what, scope, label) in enumerate(
        (
            ("patched", LAYER, "along the direction"),
            ("patched whole", LAYER, "whole residual"),
            ("withheld", LAYER, "withheld"),
            ("patched", CUMULATIVE, f"along it, {CUMULATIVE}"),
        )
    ):
        of = keep(shares, "condition", f"{SAID[what]}, {scope}")
        if len(of):
            plot_profile(of, axes[1][1], color=PALETTE[k], label=label, shift=0.15 * (k - 1.5))
    axes[1][1].axhline(0, color=GREY, lw=0.7)
    axes[1][1].set_ylabel("share of the prompt's effect")
    axes[1][1].set_title("mediated")
    if len(shares):
        axes[1][1].set_ylim(*_held(shares))
    else:
        axes[1][1].text(0.5, 0.5, "the prompt's own effect\nis not shown", ha="center", transform=axes[1][1].transAxes)
    plot_apart(distance, keep(changes, "condition", f"{SAID['steered']}, {LAYER}"), axes[1][2])
    axes[1][2].set_title("read against act")
    for ax in (*axes[0], *axes[1][:2]):
        ax.set_xlabel("layer (0-based block)")
    legend_below(figure, columns=3)
    n = int(changes["n_cluster"].max())
    caption = (
        f"{trait}: where its direction is read and where it acts, with 95 % intervals over {n} evaluation questions."
        " Preference: how much likelier answers with the trait are than answers without, nats a token. Steerable: the"
        " direction added at one KL divergence. Necessary: ablated under the trait's prompt. Sufficient: its component"
        " patched in from the trait's prompt. Mediated: shares of the prompt's effect; withheld: what is lost when the"
        " component is that of the opposite prompt. Filled: q <= 0.05 over layers. Grey: middle 95 % of random"
        " directions."
    )
    return [DrawnFigure(f"causal_panel_{trait}", figure, rows[rows["layers"].notna()], caption)]


def _draw_expression(trait: str, rows: DataFrame) -> list[DrawnFigure]:
    judged = keep(rows, "metric", EXPRESSION)
    if judged.empty:
        return []
    figure, [axes] = panel_figure(1, 2, panel_height=1.9)
    for ax, what, title in zip(axes, ("steered", "ablated"), ("direction added", "direction ablated"), strict=True):
        of = keep(judged, "condition", f"{SAID[what]}, {LAYER}")
        for k, judge in enumerate(distinct(of, "judge")):
            plot_profile(keep(of, "judge", judge), ax, color=PALETTE[k], label=str(judge), shift=0.2 * k)
        ax.axhline(0, color=GREY, lw=0.7)
        ax.set_title(title)
        ax.set_xlabel("layer (0-based block)")
    axes[0].set_ylabel("change of expression\n(points)")
    legend_below(figure, columns=2)
    caption = (
        f"{trait}: expression of greedy answers, by every judge, with 95 % intervals over evaluation questions. Added:"
        " at one KL divergence, without a system prompt. Ablated: under the trait's prompt."
    )
    return [DrawnFigure(f"causal_expression_{trait}", figure, judged, caption)]


def _held(shares: DataFrame) -> tuple[float, float]:
    """Limits that estimates fit in; intervals of small effects may leave them."""
    values = shares["estimate"].to_numpy(float)
    values = values[np.isfinite(values)]
    return min(-0.1, float(values.min()) - 0.1), max(1.1, float(values.max()) + 0.1)


def _last(cell: object) -> int:
    return int(str(cell).rpartition("+")[2])
