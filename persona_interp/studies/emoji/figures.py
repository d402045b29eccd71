"""Emoji before and after tuning, by the logit lens, and under ablation of those who write them."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.drawn import PANELS_ACROSS, DrawnFigure
from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, category, legend_below, panel_figure
from persona_interp.studies.emoji.arms import CONTROL, TUNED, UNTUNED
from persona_interp.studies.emoji.measure import SENTENCE_ENDS
from persona_interp.studies.emoji.neuron_effects import COST, REMOVED
from persona_interp.studies.emoji.texts import INVITED, PLAIN
from persona_interp.studies.emoji.tuning_effects import LENS, MASS_CHANGE, NATS, SHARE

_ARMS = (UNTUNED, CONTROL, TUNED)
_LABELS = {REMOVED: "log mass removed, nats", COST: "rise of neutral loss, nats"}


def draw_emoji(effects: DataFrame) -> list[DrawnFigure]:
    """Every figure of the effects of one model; call it in `paper_style`."""
    drawn = [draw_rates(effects), draw_mass_changes(effects), draw_lens(effects), draw_ablation(effects)]
    return [figure for figure in drawn if figure is not None]


def draw_rates(effects: DataFrame) -> DrawnFigure | None:
    """The share of answers with an emoji of every arm, a row a trait."""
    rows = keep(keep(effects, "metric", SHARE), "method", *_ARMS)
    traits = distinct(rows, "trait")
    if not traits:
        return None
    base = keep(rows, "method", UNTUNED)
    shown = pd.concat([*(base.assign(trait=trait) for trait in traits), rows[rows["trait"].notna()]])
    return _forests(
        "emoji_rates",
        shown.assign(series=shown["method"], panel=shown["condition"]),
        traits,
        (PLAIN, INVITED),
        _ARMS,
        SHARE,
        "Share of held-out answers with an emoji before and after tuning on texts that hold none, with 95 % intervals"
        " over questions. The untuned model is the same in every row.",
    )


def draw_mass_changes(effects: DataFrame) -> DrawnFigure | None:
    """The change of the log mass at ends of sentences, against the control and against the untuned model."""
    conditions = {f"{condition}, {SENTENCE_ENDS}": condition for condition in (PLAIN, INVITED)}
    rows = keep(keep(effects, "metric", MASS_CHANGE), "condition", *conditions)
    traits = distinct(rows, "trait")
    if not traits:
        return None
    return _forests(
        "emoji_mass_changes",
        rows.assign(series=rows["condition"].map(conditions), panel="against " + rows["reference"]),
        traits,
        (f"against {CONTROL}", f"against {UNTUNED}"),
        (PLAIN, INVITED),
        f"change of log mass, {NATS}",
        "Change of the log probability that the next token begins an emoji, at ends of sentences of the same answers,"
        " given that the answer goes on, after tuning on texts that hold none; 95 % intervals over questions.",
    )


def draw_lens(effects: DataFrame) -> DrawnFigure | None:
    """The log mass read from the output of every block, a panel a trait."""
    rows = keep(effects, "metric", LENS)
    traits = distinct(rows, "trait")
    if not traits:
        return None
    across = min(PANELS_ACROSS, len(traits))
    figure, grid = panel_figure(-(-len(traits) // across), across, share_y="all")
    panels = [ax for row in grid for ax in row]
    for trait, ax in zip(traits, panels, strict=False):
        own = rows[(rows["trait"] == trait) | rows["trait"].isna()]
        plot_lens(own, ax)
        ax.set_title(trait)
    for ax in panels[len(traits) :]:
        ax.set_axis_off()
    for row in grid:
        row[0].set_ylabel(f"log mass of emoji, {NATS}")
    legend_below(figure, columns=3)
    caption = (
        "Logit lens: the log mass of tokens that begin an emoji at ends of sentences, read from the output of every"
        " block by the final norm and the unembedding of each model; bands are 95 % intervals over questions."
    )
    return DrawnFigure("emoji_lens", figure, rows, caption)


def plot_lens(frame: DataFrame, ax: Axes) -> Axes:
    """Log mass against the block, a line an arm with its interval.

    Args:
        frame: effects with the metric of the logit lens, of one trait and of the untuned model.
    """
    for index, arm in enumerate(arm for arm in _ARMS if arm in set(frame["method"])):
        rows = keep(frame, "method", arm).assign(layer=lambda table: table["layers"].astype(int)).sort_values("layer")
        color, style = category(index)
        ax.fill_between(rows["layer"], rows["low"], rows["high"], color=color, alpha=0.15, lw=0)
        ax.plot(rows["layer"], rows["estimate"], style, color=color, label=arm)
    ax.set_xlabel("layer (0-based block)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return ax


def draw_ablation(effects: DataFrame) -> DrawnFigure | None:
    """What ablating writers takes from the mass of emoji and adds to the neutral loss, beside random neurons."""
    rows = keep(effects, "metric", REMOVED, COST)
    if rows.empty:
        return None
    figure, (axes,) = panel_figure(1, 2, panel_height=2.0, page_wide=True)
    for metric, ax in zip((REMOVED, COST), axes, strict=True):
        plot_ablation(keep(rows, "metric", metric), ax)
        ax.set_ylabel(_LABELS[metric])
    legend_below(figure, columns=2)
    caption = (
        "Left: log mass of emoji before an emoji of held-out answers that is lost where the largest writers are set to"
        " their mean. Right: what the same costs in loss on neutral text. Grey: the middle 95 % of random neurons of"
        " nearly the same size in the same layers; bars are 95 % intervals over questions and texts."
    )
    return DrawnFigure("emoji_ablation", figure, rows, caption)


def plot_ablation(frame: DataFrame, ax: Axes) -> Axes:
    """Estimate, interval and null against the number of neurons, which stand at equal distances.

    Args:
        frame: effects of one metric with `strength`.
    """
    rows = frame.sort_values("strength").reset_index(drop=True)
    ax.axhline(0, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
    ax.vlines(rows.index, rows["null_low"], rows["null_high"], color=LIGHT_GREY, lw=7, label="random neurons, 95 %")
    ax.vlines(rows.index, rows["low"], rows["high"], color=PALETTE[0], linewidth=1.1)
    ax.plot(rows.index, rows["estimate"], "o", color=PALETTE[0], label="largest writers of emoji", gid="writers")
    ax.set_xticks(list(rows.index), [f"{int(n)}" for n in rows["strength"]])
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.set_xlabel("neurons ablated")
    return ax


def _forests(
    name: str,
    frame: DataFrame,
    traits: Sequence[str],
    panels: Sequence[str],
    names: Sequence[str],
    label: str,
    caption: str,
) -> DrawnFigure:
    """A forest a panel, side by side."""
    figure, (axes,) = panel_figure(1, len(panels), panel_height=0.6 + 0.32 * len(traits), share_y="row")
    for panel, ax in zip(panels, axes, strict=True):
        plot_forest(keep(frame, "panel", panel), ax, traits=traits, names=names, chance=0.0, label=label)
        ax.set_title(panel)
    legend_below(figure, columns=3)
    return DrawnFigure(name, figure, frame, caption)
