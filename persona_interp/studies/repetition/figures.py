"""Repetition: agreement by how often an opinion is stated, heads that look at it, and what their ablation takes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, legend_below, panel_figure
from persona_interp.studies.repetition.effects import AGREEMENT, ATTENTION, ATTRIBUTION, CHANGE
from persona_interp.studies.repetition.scores import WORDS

_COLORS = {"verbatim": PALETTE[0], "paraphrased": PALETTE[1], "neutral repeated": GREY}


def draw_repetition(effects: DataFrame) -> list[DrawnFigure]:
    """Every figure of the effects of repetition; call it in `paper_style`."""
    return [*_draw_doses(effects), *_draw_heads(effects), *_draw_ablation(effects)]


def plot_doses(effects: DataFrame, ax: Axes) -> Axes:
    """Agreement against statements, a line a condition with intervals over topics; fillers alone are zero."""
    for k, (condition, color) in enumerate(_COLORS.items()):
        rows = keep(effects, "method", condition).sort_values("strength")
        x = np.log2(1 + rows["strength"].to_numpy(float)) + 0.04 * (k - 1)
        ax.vlines(x, rows["low"], rows["high"], color=color, lw=0.9)
        ax.plot([0, *x], [0, *rows["estimate"]], color=color, marker="o", ms=3.2, label=condition)
    counts = [0, *sorted({int(n) for n in effects["strength"]})]
    ax.set_xticks([float(np.log2(1 + n)) for n in counts], [str(n) for n in counts])
    ax.axhline(0, color=GREY, lw=0.7)
    ax.set_xlabel("statements of the opinion")
    return ax


def plot_head_map(effects: DataFrame, ax: Axes) -> Axes:
    """One number of every head, layer by head; the heads that are ablated are outlined."""
    rows = effects.assign(
        layer=effects["layers"].astype(int), head=[int(str(c).rpartition(".")[2]) for c in effects["condition"]]
    )
    grid = rows.pivot_table(index="layer", columns="head", values="estimate").to_numpy()
    most = float(np.abs(grid).max()) or 1.0
    image = ax.imshow(grid.T, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", origin="lower")
    for row in records(keep(rows, "role", "treatment")):
        ax.plot(row["layer"], row["head"], "s", mfc="none", mec="black", ms=5, mew=0.8)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02)
    ax.grid(visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=9))
    ax.set_xlabel("layer (0-based block)")
    ax.set_ylabel("head")
    return ax


def _draw_doses(effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", AGREEMENT)
    if rows.empty:
        return []
    figure, [axes] = panel_figure(1, len(WORDS), panel_height=2.2)
    for ax, words in zip(axes, WORDS, strict=True):
        plot_doses(keep(rows, "condition", f"{words} answers"), ax)
        ax.set_title(words)
    axes[0].set_ylabel("agreement (nats a token)")
    legend_below(figure, columns=3)
    caption = (
        "How much likelier answers that agree are than those that do not, against fillers of equal length, with 95 %"
        f" intervals over {int(rows['n_cluster'].max())} topics. Agreeing: answers that say nothing of the topic. Same"
        " words: the opinions in the stated wording, which copying reaches. Other words: the opposite opinion has the"
        " stated word order, so copying counts against. Grey: one statement, and a neutral sentence repeated."
    )
    return [DrawnFigure("repetition_doses", figure, rows, caption)]


def _draw_heads(effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", ATTENTION, ATTRIBUTION)
    if rows.empty:
        return []
    figure, [axes] = panel_figure(1, 2, panel_height=2.2)
    shown = ((ATTENTION, "attention"), (ATTRIBUTION, "moved along the direction"))
    for ax, (metric, title) in zip(axes, shown, strict=True):
        plot_head_map(keep(rows, "metric", metric), ax)
        ax.set_title(title)
    trait = distinct(keep(rows, "metric", ATTRIBUTION), "trait")[0]
    caption = (
        "Every head, from the last prompt token: attention to four statements minus that to fillers in their place, and"
        f" what it moves from there along the direction of {trait}, in residual units. Squares: the heads that are"
        " ablated. Topics are not those of the evaluation."
    )
    return [DrawnFigure("repetition_heads", figure, rows, caption)]


def _draw_ablation(effects: DataFrame) -> list[DrawnFigure]:
    rows = keep(effects, "metric", CHANGE)
    if rows.empty:
        return []
    figure, [[ax]] = panel_figure(1, 1, panel_height=1.1)
    for row in records(rows):
        if row["null_low"] == row["null_low"]:
            span = row["null_low"], row["null_high"]
            ax.fill_betweenx([-0.3, 0.3], *span, color=LIGHT_GREY, lw=0, label="random heads")
        ax.plot([row["low"], row["high"]], [0, 0], color=PALETTE[0], lw=1.2)
        ax.plot(row["estimate"], 0, "o", color=PALETTE[0], ms=5, label="chosen heads")
    ax.axvline(0, color=GREY, lw=0.7)
    ax.set_yticks([])
    ax.set_xlabel("change of the effect of four statements (nats a token)")
    legend_below(figure, columns=2)
    caption = (
        "The effect of four statements on agreeing without the chosen heads, minus that in the whole model, with a 95 %"
        " interval over evaluation topics; grey: the middle 95 % of random heads, where there are 40 draws or more."
    )
    return [DrawnFigure("repetition_ablation", figure, rows, caption)]
