"""A trait's substrates: what each part writes, the writers, probes of k neurons, and what ablation removes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, legend_below, panel_figure
from persona_interp.studies.substrates.effects import ABLATED, AUC, CHANGE, PIECE, SHARE, WITH, WITHOUT

N_BARS = 12
_UNITS = ("neuron", "head")


def draw_units(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    """The figures of a trait's writers, probes and ablations."""
    made = [draw(trait, effects) for draw in (_draw_parts, _draw_writers, _draw_probe, _draw_ablation)]
    return [figure for some in made for figure in some]


def plot_parts(effects: DataFrame, ax: Axes) -> Axes:
    """What attention and MLP of every block add along the direction, with and without the trait; 95 % intervals."""
    for color, part, offset in ((PALETTE[0], "attention", -0.18), (PALETTE[1], "mlp", 0.18)):
        rows = keep(effects, "condition", part)
        x = rows["layers"].astype(int) + offset
        ax.vlines(x, rows["low"], rows["high"], color=color, lw=0.9)
        ax.plot(x, rows["estimate"], "o", color=color, ms=3, label="attention" if part == "attention" else "MLP")
    embedding = keep(effects, "condition", "embedding")
    ax.plot([-1] * len(embedding), embedding["estimate"], "D", color=GREY, ms=3.5, label="embedding")
    ax.axhline(0, color=GREY, lw=0.7)
    ax.set_xlabel("layer (0-based block)")
    ax.set_ylabel("share of the projection\n(residual units)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    return ax


def plot_writers(effects: DataFrame, ax: Axes) -> Axes:
    """The units that write most, the largest on top: share and interval over questions; filled where p <= 0.05."""
    rows = effects.sort_values("estimate", ascending=False).head(N_BARS)
    for y, row in enumerate(records(rows)):
        ax.plot([row["low"], row["high"]], [y, y], color=PALETTE[0], lw=1)
        sure = row["q"] is not None and row["q"] <= 0.05
        ax.plot(row["estimate"], y, "o", ms=4, mec=PALETTE[0], mfc=PALETTE[0] if sure else "white")
    names = [str(row["condition"]).partition(",")[0].partition(" ")[2] for row in records(rows)]
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.axvline(0, color=GREY, lw=0.7)
    ax.set_xlabel("share (residual units)")
    return ax


def plot_probe(effects: DataFrame, ax: Axes) -> Axes:
    """Held-out AUC against the number of neurons: chosen ones, random ones, and the dense readouts as lines."""
    sparse, random = keep(effects, "method", "sparse"), keep(effects, "method", "random")
    if len(random):
        if random["low"].notna().any():
            ax.fill_between(random["strength"], random["low"], random["high"], color=LIGHT_GREY, lw=0)
        ax.plot(random["strength"], random["estimate"], color=GREY, marker="s", ms=3, label="random neurons")
    ax.vlines(sparse["strength"], sparse["low"], sparse["high"], color=PALETTE[0], lw=0.9)
    ax.plot(sparse["strength"], sparse["estimate"], color=PALETTE[0], marker="o", ms=3.5, label="chosen neurons")
    if sparse["null_high"].notna().any():
        ax.plot(sparse["strength"], sparse["null_high"], color=GREY, ls="--", lw=1, label="shuffled poles, 95th")
    for color, method, label in ((PALETTE[1], "direction", "mean difference"), (PALETTE[2], "all", "dense probe")):
        for value in distinct(keep(effects, "method", method), "estimate"):
            ax.axhline(value, color=color, lw=1.1, label=label)
    ax.set_xscale("log", base=2)
    ticks = [int(k) for k in sparse["strength"]]
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_xlabel("neurons in the probe")
    ax.set_ylabel("held-out AUC")
    return ax


def plot_ablation(effects: DataFrame, ax: Axes) -> Axes:
    """Change of expression against the number of units ablated; the band is the middle 95 % of random sets."""
    rows = effects.sort_values("strength")
    x = np.arange(len(rows))
    for place, row in zip(x, records(rows), strict=True):
        if row["null_low"] == row["null_low"]:
            ax.fill_between([place - 0.3, place + 0.3], row["null_low"], row["null_high"], color=LIGHT_GREY, lw=0)
    ax.vlines(x, rows["low"], rows["high"], color=PALETTE[0], lw=1)
    ax.plot(x, rows["estimate"], "o", color=PALETTE[0], ms=4)
    ax.axhline(0, color=GREY, lw=0.7)
    ax.set_xticks(x, [f"{k:.0f}" for k in rows["strength"]])
    ax.set_xlim(-0.6, len(rows) - 0.4)
    return ax


def _draw_parts(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", PIECE)
    if rows.empty:
        return []
    figure, [[ax]] = panel_figure(1, 1, panel_height=2.3)
    plot_parts(rows, ax)
    ax.set_title(f"who writes {trait}")
    legend_below(figure, columns=3)
    layer = distinct(keep(rows, "condition", "all parts"), "layers")
    caption = (
        f"{trait}: what attention and MLP of every block add along its direction at layer {layer[0] if layer else ''},"
        " answers with the trait minus answers without, over held-out questions with 95 % intervals. All parts add up"
        " to the difference of the projection. Left of layer 0: the embedding."
    )
    return [DrawnFigure(f"substrate_parts_{trait}", figure, rows, caption)]


def _draw_writers(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", SHARE)
    if rows.empty:
        return []
    panels = [(kind, said) for kind in _UNITS for said in (WITHOUT, WITH)]
    figure, grid = panel_figure(2, 2, panel_height=2.4)
    for ax, (kind, said) in zip([ax for line in grid for ax in line], panels, strict=True):
        plot_writers(keep(rows, "substrate", kind)[lambda t, s=said: t["condition"].str.endswith(s)], ax)
        ax.set_title(f"{kind}s" + ("" if said == WITHOUT else ", outliers included"))
    caption = (
        f"{trait}: the neurons and heads (layer.index) that write most of it, with 95 % intervals over held-out"
        " questions that are not corrected for the ranking; filled: sign flips of questions, corrected over all units,"
        " p at most 0.05. Left: without the high-norm dimensions and positions; right: what the ranking would be with"
        " them."
    )
    return [DrawnFigure(f"substrate_writers_{trait}", figure, rows, caption)]


def _draw_probe(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(keep(effects, "metric", AUC), "place", "swept")
    if rows.empty:
        return []
    figure, [[ax]] = panel_figure(1, 1, panel_height=2.4)
    plot_probe(rows, ax)
    ax.set_title(f"{trait} read from k neurons")
    legend_below(figure, columns=2)
    caption = (
        f"{trait}: held-out AUC of logistic probes of k neurons, whole questions held out, with 95 % intervals over"
        " questions. Grey: k random neurons, mean and middle 95 % of the draws. Lines: readouts of the whole residual"
        " stream at the direction's layer."
    )
    return [DrawnFigure(f"substrate_probe_{trait}", figure, rows, caption)]


def _draw_ablation(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", CHANGE)
    rows = rows[rows["condition"].str.startswith("writers set to their mean", na=False)]
    if rows.empty:
        return []
    judges = _headline(rows)
    figure, [axes] = panel_figure(1, 2, panel_height=2.2)
    for ax, kind in zip(axes, _UNITS, strict=True):
        plot_ablation(keep(keep(rows, "substrate", kind), "judge", *judges), ax)
        ax.set_title(f"{kind}s ablated")
        ax.set_xlabel(f"{kind}s that write most")
    axes[0].set_ylabel("change of expression (points)")
    caption = (
        f"{trait}: expression under the trait prompt without the units that write most (set to their mean), minus that"
        f" of whole answers, with 95 % intervals over evaluation questions, by {judges[0]}. Grey: the middle 95 % of"
        " random units of the same layers and sizes, where there are 40 draws or more."
    )
    return [DrawnFigure(f"substrate_ablation_{trait}", figure, rows, caption)]


def _headline(rows: DataFrame) -> Sequence[str]:
    return distinct(keep(rows, "family", ABLATED), "judge") or distinct(rows, "judge")[:1]
