"""Dose-response of steering: expression and coherence against the coefficient."""

from collections.abc import Mapping
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from pandas import DataFrame

from persona_interp.figures.frames import distinct, keep, leave_out
from persona_interp.figures.style import GREY, PALETTE, sequential

PROMPTED = {"positive": (PALETTE[1], "--"), "negative": (PALETTE[0], "-.")}


def incoherent_handle() -> Line2D:
    """The legend's entry for hollow points."""
    return Line2D([], [], linestyle="none", marker="o", mfc="white", mec="#444444", label="fails coherence gate")


def layer_colors(frame: DataFrame) -> dict[int, str]:
    """A colour for every steered layer of a figure, light to dark from first to last."""
    layers = sorted(int(layer) for layer in distinct(keep(frame, "role", "treatment"), "layer"))
    return dict(zip(layers, sequential(len(layers)), strict=True))


def plot_expression(
    frame: DataFrame, ax: Axes, *, colors: Mapping[int, str], prompted: DataFrame | None = None
) -> Axes:
    """Mean trait expression score against steering coefficient, a line a layer, for one trait and judge.

    Hollow points fail the coherence gate. Grey is the same with random directions of equal norm. Horizontal
    lines are the expression of answers to prompts that ask for the trait or its opposite.

    Args:
        frame: `role, layer, coefficient, estimate, low, high, coherent` of one trait, judge and metric.
        prompted: `condition, estimate` of the same trait and judge.
    """
    for condition, estimate in (
        [] if prompted is None else zip(prompted["condition"], prompted["estimate"], strict=True)
    ):
        color, style = PROMPTED.get(str(condition), (GREY, "--"))
        ax.axhline(estimate, color=color, linestyle=style, linewidth=0.9, label=f"prompted: {condition}", zorder=1.5)
    _plot_dose(frame, ax, colors)
    ax.set_ylabel("expression (0–100)")
    return ax


def plot_coherence(frame: DataFrame, ax: Axes, *, colors: Mapping[int, str], gate: float | None = None) -> Axes:
    """Mean coherence score against steering coefficient, a line a layer, for one trait and judge.

    Args:
        frame: as for `plot_expression`.
        gate: lowest coherence that counts as coherent, in the judge's units.
    """
    if gate is not None:
        ax.axhline(gate, color=PALETTE[1], linestyle="--", linewidth=0.9, label="coherence gate", zorder=1.5)
    _plot_dose(frame, ax, colors)
    ax.set_ylabel("coherence (worst z-score)")
    return ax


def _plot_dose(frame: DataFrame, ax: Axes, colors: Mapping[int, str]) -> None:
    """The lines, error bars and points of one panel; layers are shifted sideways so that bars stay apart."""
    persona, controls = keep(frame, "role", "treatment"), leave_out(frame, "role", "treatment")
    for role in distinct(controls, "role"):
        for layer in distinct(controls, "layer"):
            rows = _at_layer(keep(controls, "role", role), layer)
            _plot_series(rows, ax, color=GREY, label="random directions" if role == "null" else str(role), shift=0.0)
    coefficients = distinct(frame, "coefficient") or [0.0]
    step = 0.012 * (max(coefficients) - min(coefficients))
    for index, (layer, color) in enumerate(colors.items()):
        rows = _at_layer(persona, layer)
        shift = (index - (len(colors) - 1) / 2) * step
        _plot_series(rows, ax, color=color, label=f"layer {layer}", shift=shift)
    ax.set_xlabel("coefficient (mean residual norms)")


def _at_layer(frame: DataFrame, layer: object) -> DataFrame:
    """The cells of a layer and the unsteered one, which belongs to all layers and so names none."""
    return cast(DataFrame, frame[(frame["layer"] == layer) | frame["layer"].isna()])


def _plot_series(rows: DataFrame, ax: Axes, *, color: str, label: str, shift: float) -> None:
    """One line with its error bars; several values at one coefficient are points without a line."""
    if rows.empty:
        return
    rows = rows.sort_values("coefficient")
    positions = rows["coefficient"].to_numpy() + shift
    line = "none" if len(distinct(rows, "coefficient")) < len(rows) else "-"
    order = 2.0 if color == GREY else 2.2
    ax.vlines(positions, rows["low"], rows["high"], color=color, linewidth=0.8, alpha=0.8, zorder=order)
    ax.plot(
        positions, rows["estimate"], color=color, linestyle=line, marker="o", markersize=3.6, label=label, zorder=order
    )
    hollow = np.flatnonzero(~rows["coherent"].to_numpy(dtype=bool))
    if hollow.size:
        ax.plot(
            positions[hollow], rows["estimate"].to_numpy()[hollow], "o", mfc="white", mec=color, markersize=3.6,
            zorder=order + 0.05, gid="incoherent",
        )  # fmt: skip
