"""Styles: how well each layer tells them apart, and what steering toward them changes."""

import re
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.effects import layers_of
from persona_interp.figures.drawn import PANELS_ACROSS, DrawnFigure
from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.steering import incoherent_handle
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, category, legend_below, panel_figure, wrap
from persona_interp.studies.styles.effects import CHANGE

METHODS = {
    "prompt": "prompted",
    "style_vector": "activations",
    "style_vector, published reading": "activations, a block earlier",
    "style_vector_generated": "own answers",
    "style_vector_trained": "trained",
}
PROMPTS = re.compile(r"answers to (.*) prompts")


def draw_styles(effects: DataFrame, *, layers: Sequence[int] = ()) -> list[DrawnFigure]:
    """Every figure of the effects of styles; call it in `paper_style`.

    Args:
        layers: where styles are steered; default: at the place that was named.
    """
    named = keep(keep(effects, "metric", CHANGE), "place", "named", "chosen")
    steered = layers or sorted({layer for cell in distinct(named, "layers") for layer in layers_of(cell)})
    return draw_style_probe(effects, layers=steered) + draw_style_steering(effects)


def plot_style_probe(effects: DataFrame, ax: Axes, *, layers: Sequence[int] = ()) -> Axes:
    """Held-out AUC of one style against layer, a line a readout with its interval.

    Left of layer 0, hollow: the embedding of the last token alone. The dashed line is the 95th percentile of shuffled
    labels at each layer, the dotted one that of their largest value over all layers. Grey columns are the layers where
    styles are steered.

    Args:
        effects: of one style, with the metric AUC.
    """
    for layer in layers:
        ax.axvspan(layer - 0.5, layer + 0.5, color=LIGHT_GREY, alpha=0.5, lw=0, label="steered", zorder=0.5)
    swept = keep(effects, "place", "swept").assign(layer=lambda rows: rows["layers"].astype(int))
    blocks = keep(swept, "stream", "resid_post")
    for index, method in enumerate(distinct(swept, "method")):
        color, _ = category(index)
        rows = keep(blocks, "method", method).sort_values("layer")
        ax.fill_between(rows["layer"], rows["low"], rows["high"], color=color, alpha=0.15, lw=0)
        ax.plot(
            rows["layer"],
            rows["estimate"],
            color=color,
            marker="o",
            markersize=2.5,
            label=method.replace("_", " "),
            zorder=2.2,
        )
        start = keep(keep(swept, "stream", "resid_pre"), "method", method)
        ax.vlines([-1] * len(start), start["low"], start["high"], color=color, linewidth=0.8, zorder=2)
        ax.plot([-1] * len(start), start["estimate"], "o", mfc="white", mec=color, ms=4, zorder=2.3, gid="embedding")
    null = blocks.groupby("layer")["null_high"].max()
    ax.plot(null.index, null, color=GREY, linestyle="--", lw=1, label="shuffled labels, 95th")
    largest = keep(effects, "place", "searched")["null_high"].max()
    ax.axhline(largest, color=GREY, linestyle=":", lw=1.3, label="… largest over layers")
    ax.set_xlabel("layer (0-based block)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    ax.set_ylim(min(0.35, float(swept["low"].min())), 1.03)
    return ax


def draw_style_probe(effects: DataFrame, *, layers: Sequence[int] = ()) -> list[DrawnFigure]:
    """A figure a corpus and model, with a panel a style.

    Args:
        layers: where styles are steered.
    """
    table = keep(effects, "metric", "AUC")
    several = len(distinct(table, "model")) > 1
    drawn = []
    for (corpus, model), rows in table.groupby(["data", "model"], sort=False):
        styles = distinct(rows, "trait")
        figure, panels = _panels(len(styles), 1.75, share_y="all")
        for style, ax in zip(styles, panels, strict=True):
            plot_style_probe(keep(rows, "trait", style), ax, layers=layers)
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


def steering_rows(effects: DataFrame, *, strength: float | None = None) -> DataFrame:
    """The changes of expression that a forest shows: of every arm at one place, with the null that was drawn there.

    That is the coefficient chosen on other prompts, or the named one where that was chosen. Prompted answers, which
    have no coefficient, are always shown.

    Args:
        strength: show all arms at this coefficient instead.
    """
    rows = keep(keep(effects, "metric", CHANGE), "role", "treatment", "control").sort_values(
        "null_high", na_position="last", kind="stable"
    )
    arm = ["trait", "data", "condition", "method", "layers", "judge"]
    rows = rows.drop_duplicates([*arm, "strength"]).sort_index()
    if strength is not None:
        return rows[rows["strength"].isna() | (rows["strength"] == strength)]
    rows = rows[rows["place"].isna() | rows["place"].isin(["chosen", "named"])]
    chosen = rows.sort_values("place", kind="stable").drop_duplicates(arm)
    return chosen.sort_index()


def draw_style_steering(effects: DataFrame, *, strength: float | None = None) -> list[DrawnFigure]:
    """What each arm changes in the expression of each style: a figure a corpus and judge, with a panel a style.

    Factual and subjective prompts are apart. The grey bar is the range of random directions at the same blocks and
    coefficient. Hollow points fail the coherence gate.

    Args:
        strength: coefficient at which arms are compared; default: each at the one that other prompts chose.
    """
    said = "the coefficient chosen on other prompts" if strength is None else f"coefficient {strength:g}"
    drawn = []
    for (corpus, judge), rows in steering_rows(effects, strength=strength).groupby(["data", "judge"], sort=False):
        labels = [_arm(row["method"], row["layers"]) for row in records(rows)]
        sets = [PROMPTS.sub(r"\1", condition) for condition in rows["condition"]]
        shown = rows.assign(style=rows["trait"], trait=labels, series=sets)
        styles, arms, names = distinct(shown, "style"), distinct(shown, "trait"), distinct(shown, "series")
        figure, panels = _panels(len(styles), 0.7 + 0.27 * len(arms), share_y="row")
        for style, ax in zip(styles, panels, strict=True):
            here = keep(shown, "style", style)
            plot_forest(here, ax, traits=arms, names=names, chance=0.0, label=CHANGE)
            _mark_incoherent(here, ax, arms, names)
            ax.set_title(style)
        legend_below(figure, extra=[incoherent_handle()], columns=3)
        caption = (
            f"{corpus}: change of expression against unsteered answers to the same prompts, by {judge}, at {said},"
            " with 95 % intervals over prompts; grey: random directions of equal length."
        )
        name = f"style_steering_{corpus}_{str(judge).split()[0]}" + ("" if strength is None else f"_{strength:g}")
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


def _mark_incoherent(rows: DataFrame, ax: Axes, arms: Sequence[str], sets: Sequence[str]) -> None:
    step = 0.7 / max(1, len(sets))
    for row in records(rows[rows["coherent"].eq(False).fillna(False)]):
        index = sets.index(row["series"])
        height = arms.index(row["trait"]) + (index - (len(sets) - 1) / 2) * step
        ax.plot(
            row["estimate"], height, "o", mfc="white", mec=PALETTE[index], markersize=4, zorder=2.3, gid="incoherent"
        )


def _arm(method: str, layers: object) -> str:
    name = METHODS.get(method, method)
    if not isinstance(layers, str):
        return wrap(name, 26)
    return wrap(f"{name}, layer{'s' if '+' in layers else ''} {layers}", 26)
