"""Monitoring: projection against expression, r by layer, and projections along the tokens of a conversation."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.effects import family_of
from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import cells, distinct, keep
from persona_interp.figures.style import (
    GREY,
    LIGHT_GREY,
    PALETTE,
    TEXT,
    category,
    legend_below,
    panel_figure,
    paper_style,
    rendered,
    sequential,
    wrap,
)
from persona_interp.statistics.families import PRIMARY
from persona_interp.studies.monitoring.effects import KINDS, RANDOM, SCOPES, THESE, R, condition_of

SCOPE_COLORS = {"overall": PALETTE[0], "within": PALETTE[1]}


def draw_monitoring(effects: DataFrame, units: DataFrame, *, judge: str) -> list[DrawnFigure]:
    """Expression against projection at the named layer, and r by layer; a row a trait, a column a kind of conditions.

    Call it in the style of papers.

    Args:
        effects: of the study.
        units: `trait, kind, condition, level, question, projection`, and scores in a column a judge.
        judge: whose scores are shown.
    """
    traits, kinds = distinct(units, "trait"), distinct(units, "kind")
    named = keep(keep(effects, "family", family_of(R, PRIMARY)), "metric", R)["layers"].astype(int)
    scatter, scatter_axes = panel_figure(len(traits), len(kinds))
    layers, layer_axes = panel_figure(len(traits), len(kinds), share_y="all")
    points, curves = [], []
    for i, trait in enumerate(traits):
        for j, kind in enumerate(kinds):
            rows = keep(keep(units, "trait", trait), "kind", kind)
            rows = rows.assign(expression=rows[judge])
            rows = rows[["trait", "kind", "condition", "level", "question", "projection", "expression"]]
            plot_monitoring(rows, scatter_axes[i][j]).set_title(f"{trait}, {KINDS[kind]}")
            lines = keep(keep(effects, "trait", trait), "judge", judge)
            lines = lines[lines["metric"].isin([R, RANDOM]) & lines["condition"].str.startswith(KINDS[kind])]
            plot_layer_correlations(lines, layer_axes[i][j], kind=kind, named_layer=int(named.iloc[0]))
            layer_axes[i][j].set_title(f"{trait}, {KINDS[kind]}")
            points.append(rows)
            curves.append(lines)
    legend_below(scatter, columns=4)
    legend_below(layers, columns=2)
    return [
        DrawnFigure(
            "projection_and_expression", scatter, pd.concat(points), "Expression against projection before it."
        ),
        DrawnFigure("correlation_by_layer", layers, pd.concat(curves), "Correlation with expression by layer."),
    ]


def plot_monitoring(frame: DataFrame, ax: Axes) -> Axes:
    """Expression of the answers against the projection before them, a point a question, coloured by condition.

    Conditions run from light to dark in the order of their level. Crosses are their means.

    Args:
        frame: `condition, level, projection, expression` of one trait, judge, layer and kind of condition.
    """
    ordered = distinct(frame.sort_values("level"), "condition")
    for condition, color in zip(ordered, sequential(len(ordered)), strict=True):
        rows = keep(frame, "condition", condition)
        x, y = np.array(cells(rows, "projection")), np.array(cells(rows, "expression"))
        ax.plot(x, y, "o", color=color, markersize=2.6, alpha=0.65, mew=0, label=condition)
        ax.plot(np.nanmean(x), np.nanmean(y), "X", color=color, markersize=7, mec="white", mew=0.8, zorder=3)
    ax.set_xlabel("projection of the last prompt token")
    ax.set_ylabel("expression (0–100)")
    return ax


def plot_layer_correlations(frame: DataFrame, ax: Axes, *, kind: str, named_layer: int | None = None) -> Axes:
    """Pearson r against layer, overall and within conditions, with its intervals; dashed: 95th percentile of a null.

    Bands are intervals for new questions under these conditions, dotted lines those for new conditions too, each at the
    layers that have one (of a single layer as a bar); dashed lines are of random directions at each layer alone.

    Args:
        frame: effects of one trait and judge.
        kind: of conditions.
        named_layer: the layer named in advance, a vertical line.
    """
    frame = frame[frame["layers"].notna()]
    frame = frame.assign(layer=frame["layers"].astype(int)).sort_values("layer")
    for scope, color in SCOPE_COLORS.items():
        condition, words = condition_of(kind, scope), SCOPES[scope]
        rows, these = (
            keep(keep(frame, "metric", R), "condition", name) for name in (condition, f"{condition}, {THESE}")
        )
        if rows.empty:
            continue
        ax.plot(rows["layer"], rows["estimate"], color=color, marker="o", markersize=2.5, label=words)
        _between(these, ax, color)
        new = rows[rows["low"].notna()]
        label = f"interval for new conditions ({words})"
        for k, bound in enumerate(("low", "high") if len(new) else ()):
            mark = "_" if len(new) == 1 else None
            name = None if k else label
            ax.plot(new["layer"], new[bound], color=color, linestyle=":", lw=0.8, marker=mark, label=name)
        null = keep(keep(frame, "metric", RANDOM), "condition", condition)
        if len(null):
            label = f"random directions, 95th ({words})"
            ax.plot(null["layer"], null["estimate"], color=color, linestyle="--", lw=0.9, label=label)
    ax.axhline(0, color=GREY, lw=0.7)
    if named_layer is not None:
        ax.axvline(named_layer, color=GREY, lw=0.9, linestyle=":", label="layer named in advance")
    ax.set_xlabel("layer (0-based block)")
    ax.set_ylabel("Pearson r with expression")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    return ax


def _between(rows: DataFrame, ax: Axes, color: str) -> None:
    """The intervals of some layers as a band, of one layer as a bar."""
    if len(rows) == 1:
        ax.vlines(rows["layer"], rows["low"], rows["high"], color=color, alpha=0.4, lw=2.5)
    elif len(rows):
        ax.fill_between(rows["layer"], rows["low"], rows["high"], color=color, alpha=0.15, lw=0)


def plot_token_projections(
    frame: DataFrame, ax: Axes, *, limits: Mapping[tuple[str, int], float] | None = None
) -> Axes:
    """Score along the answer tokens of one conversation, turn after turn; bands are turns, rings are alerts.

    Args:
        frame: as `monitor_transcripts` gives it, of one conversation.
        limits: thresholds by trait and layer, dashed lines.
    """
    tokens = frame[frame["token_index"] >= 0]
    channels = list(dict.fromkeys(zip(cells(tokens, "trait"), cells(tokens, "layer"), strict=True)))
    for k, (trait, layer) in enumerate(channels):
        rows = keep(keep(tokens, "trait", trait), "layer", layer)
        turns, scores, alerts = (np.array(cells(rows, name)) for name in ("turn", "score", "alert"))
        color, style = category(k)
        x = np.arange(len(rows))
        if k == 0:
            _shade_turns(ax, turns)
        for start, end in _runs(turns):
            label = f"{trait}, layer {layer}" if start == 0 else None
            ax.plot(x[start:end], scores[start:end], color=color, linestyle=style, lw=0.8, label=label)
        if alerts.any():
            ax.plot(x[alerts], scores[alerts], "o", mfc="none", mec=TEXT, markersize=3.5, mew=0.8, ls="none",
                    label="alert")  # fmt: skip
        limit = (limits or {}).get((trait, layer), float("nan"))
        if not math.isnan(limit):
            ax.axhline(limit, color=color, linestyle="--", lw=0.9, label=f"threshold {trait}")
    ax.set_xlabel("answer token (bands: turns, numbered from 0)")
    ax.set_ylabel("projection a·v/|v|")
    ax.grid(visible=False, axis="x")
    ax.margins(x=0.01)
    return ax


def rendered_tokens(frame: DataFrame, limits: Mapping[tuple[str, int], float], *, kind: str) -> bytes:
    """The figure of the first conversation of a frame as the bytes of a file, a png or pdf."""
    name = distinct(frame, "conversation")[0]
    with paper_style():
        figure, axes = panel_figure(1, 1, panel_height=2.2, page_wide=True)
        plot_token_projections(keep(frame, "conversation", name), axes[0][0], limits=limits)
        axes[0][0].set_title(wrap(name.rpartition("/")[2], 90))
        legend_below(figure)
        return rendered(figure, kind)


def _runs(turns: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of each run of equal numbers."""
    borders = [0, *(np.flatnonzero(np.diff(turns)) + 1).tolist(), len(turns)]
    return list(zip(borders, borders[1:], strict=False))


def _shade_turns(ax: Axes, turns: np.ndarray) -> None:
    runs = _runs(turns)
    for number, (start, end) in enumerate(runs):
        if number % 2 == 0:
            ax.axvspan(start - 0.5, end - 0.5, color=LIGHT_GREY, alpha=0.45, lw=0, zorder=0.5)
        if len(runs) <= 24:
            ax.annotate(
                str(turns[start]), ((start + end - 1) / 2, 0.985), xycoords=("data", "axes fraction"),
                ha="center", va="top", fontsize=5.5, color=GREY, annotation_clip=False,
            )  # fmt: skip
