"""Styles: how well each layer tells them apart, and what steering toward them changes."""

import re
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.drawn import PANELS_ACROSS, DrawnFigure
from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct, keep, leave_out, records
from persona_interp.figures.steering import incoherent_handle
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, category, legend_below, panel_figure, wrap

METHODS = {
    "prompt": "prompted",
    "style_vector": "activations",
    "style_vector, published reading": "activations, a block earlier",
    "style_vector_generated": "own answers",
    "style_vector_trained": "trained",
}
NOT_SHOWN = ("unsteered", "random")


def plot_style_probe(frame: DataFrame, ax: Axes, *, layers: Sequence[int] = ()) -> Axes:
    """Held-out AUC of one style against layer, a line a readout with its interval.

    Left of layer 0, hollow: the embedding of the last token alone. The dashed line is the 95th percentile of shuffled
    labels at each layer, the dotted one that of their largest value over all layers. Grey columns are the layers where
    styles are steered.

    Args:
        frame: `readout, layer, stream, auc, low, high, null_95, null_max_95` of one style.
    """
    for layer in layers:
        ax.axvspan(layer - 0.5, layer + 0.5, color=LIGHT_GREY, alpha=0.5, lw=0, label="steered", zorder=0.5)
    blocks = keep(frame, "stream", "resid_post")
    for index, readout in enumerate(distinct(frame, "readout")):
        color, _ = category(index)
        rows = keep(blocks, "readout", readout).sort_values("layer")
        ax.fill_between(rows["layer"], rows["low"], rows["high"], color=color, alpha=0.15, lw=0)
        ax.plot(rows["layer"], rows["auc"], color=color, marker="o", markersize=2.5, label=str(readout), zorder=2.2)
        start = keep(keep(frame, "stream", "resid_pre"), "readout", readout)
        ax.vlines([-1] * len(start), start["low"], start["high"], color=color, linewidth=0.8, zorder=2)
        ax.plot([-1] * len(start), start["auc"], "o", mfc="white", mec=color, markersize=4, zorder=2.3, gid="embedding")
    null = blocks.groupby("layer")[["null_95", "null_max_95"]].max()
    ax.plot(null.index, null["null_95"], color=GREY, linestyle="--", lw=1, label="shuffled labels, 95th")
    ax.plot(null.index, null["null_max_95"], color=GREY, linestyle=":", lw=1.3, label="… largest over layers")
    ax.set_xlabel("layer (0-based block)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    ax.set_ylim(min(0.35, float(frame["low"].min())), 1.03)
    return ax


def draw_style_probe(table: DataFrame, *, layers: Sequence[int] = ()) -> list[DrawnFigure]:
    """A figure a corpus and model, with a panel a style.

    Args:
        table: `model, corpus, style`, and the columns of `plot_style_probe`.
        layers: where styles are steered.
    """
    several = len(distinct(table, "model")) > 1
    drawn = []
    for (corpus, model), rows in table.groupby(["corpus", "model"], sort=False):
        styles = distinct(rows, "style")
        figure, panels = _panels(len(styles), 1.75, share_y="all")
        for style, ax in zip(styles, panels, strict=True):
            plot_style_probe(keep(rows, "style", style), ax, layers=layers)
            ax.set_title(style)
        for ax in panels[::PANELS_ACROSS]:
            ax.set_ylabel("held-out AUC")
        legend_below(figure, columns=3 if len(styles) > 1 else 2)
        caption = (
            f"{corpus}, {model}: held-out AUC of each style against the others by layer, with 95 % intervals; a fresh"
            " logistic probe a layer, and the projection on the style vector. Left of layer 0: the embedding of the"
            " last token."
        )
        name = f"style_probe_{corpus}" + (f"_{model}" if several else "")
        drawn.append(DrawnFigure(_file_name(name), figure, rows, caption))
    return drawn


def steering_rows(table: DataFrame, *, coefficient: float | None = None) -> DataFrame:
    """The effects that a forest shows: the chosen coefficient of every arm, or all arms at one coefficient.

    Columns of `plot_forest`, style, and coherent. Arms without a coefficient are always shown.

    Args:
        table: of one judge.
    """
    rows = table[~table["method"].str.startswith(NOT_SHOWN)]
    shown = rows["chosen"] if coefficient is None else (rows["coefficient"] == coefficient) | (rows["coefficient"] == 0)
    rows = rows[shown]
    labels = [_arm(row["method"], _layers(row["layers"])) for row in records(rows)]
    bounds = {"estimate": rows["effect"], "low": rows["effect_low"], "high": rows["effect_high"]}
    return rows.assign(trait=labels, series=rows["prompts"], **bounds)


def draw_style_steering(table: DataFrame, *, coefficient: float | None = None) -> list[DrawnFigure]:
    """What each arm changes in the expression of each style: a figure a corpus and judge, with a panel a style.

    Factual and subjective prompts are apart. The grey bar is the range of random directions at the same blocks and
    coefficient. Hollow points fail the coherence gate.

    Args:
        table: of `style_table`, for one model, with a column corpus.
        coefficient: at which arms are compared; default: each at the one that its selection prompts chose.
    """
    strength = "the coefficient chosen on other prompts" if coefficient is None else f"coefficient {coefficient:g}"
    drawn = []
    for (corpus, judge), group in table.groupby(["corpus", "judge"], sort=False):
        rows = steering_rows(group, coefficient=coefficient)
        styles, arms, sets = distinct(rows, "style"), distinct(rows, "trait"), distinct(rows, "series")
        figure, panels = _panels(len(styles), 0.7 + 0.27 * len(arms), share_y="row")
        for style, ax in zip(styles, panels, strict=True):
            here = keep(rows, "style", style)
            plot_forest(here, ax, traits=arms, names=sets, chance=0.0, label="change of expression")
            _mark_incoherent(here, ax, arms, sets)
            ax.set_title(style)
        legend_below(figure, extra=[incoherent_handle()], columns=3)
        caption = (
            f"{corpus}: change of expression against unsteered answers to the same prompts, by {judge}, at {strength},"
            " with 95 % intervals over prompts; grey: random directions of equal length."
        )
        name = f"style_steering_{corpus}_{str(judge).split()[0]}" + ("" if coefficient is None else f"_{coefficient:g}")
        drawn.append(DrawnFigure(_file_name(name), figure, rows, caption))
    return drawn


def _panels(n: int, height: float, *, share_y: Literal["all", "row"]) -> tuple[Figure, list[Axes]]:
    """As many panels as there are styles, some side by side; what is left of the last row is empty."""
    across = min(PANELS_ACROSS, n)
    figure, axes = panel_figure(-(-n // across), across, panel_height=height, page_wide=across > 1, share_y=share_y)
    panels = [ax for row in axes for ax in row]
    for ax in panels[n:]:
        ax.set_axis_off()
    return figure, panels[:n]


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name)


def _layers(value: object) -> str:
    """The blocks of an arm, which a file may give as a number, or not at all."""
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value)


def _mark_incoherent(rows: DataFrame, ax: Axes, arms: Sequence[str], sets: Sequence[str]) -> None:
    step = 0.7 / max(1, len(sets))
    for row in records(leave_out(rows, "coherent", True)):
        index = sets.index(row["series"])
        height = arms.index(row["trait"]) + (index - (len(sets) - 1) / 2) * step
        ax.plot(
            row["estimate"], height, "o", mfc="white", mec=PALETTE[index], markersize=4, zorder=2.3, gid="incoherent"
        )


def _arm(method: str, layers: str) -> str:
    name = METHODS.get(method, method)
    return wrap(f"{name}, layer{'s' if '+' in layers else ''} {layers}" if layers else name, 26)
