"""PsychAdapter: expression over trait values, off-target effects, the loss, and the induced direction by layer."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import cells, distinct, keep, records
from persona_interp.figures.geometry import COLORMAP
from persona_interp.figures.heat_map import frame_same, name_cells
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, TEXT, category
from persona_interp.statistics.levels import ALPHA
from persona_interp.studies.psychadapter.effects import COSINE, LOSS_CHANGE, with_judged

Q_LEVEL = ALPHA


def plot_expression_over_z(frame: DataFrame, ax: Axes, *, traits: Sequence[str] | None = None) -> Axes:
    """Score of every trait against its own value of z, with the interval as a band; a colour a trait, for one judge.

    The line at 50 is midway between the exemplars of both poles.

    Args:
        frame: effects with the metric `expression` by one judge; rows of other traits' values are left out.
        traits: in the order of the colours.
    """
    judged = with_judged(frame)
    own = judged[judged["trait"] == judged["judged"]].sort_values("strength", kind="stable")
    ax.axhline(50, color=GREY, linewidth=0.7, zorder=1)
    _curves(own, ax, "strength", distinct(frame, "trait") if traits is None else traits, marker="o")
    ax.set_xlabel("trait value z (standard deviations)")
    ax.set_ylabel("expression (0 to 100)")
    return ax


def plot_off_target(frame: DataFrame, ax: Axes, *, traits: Sequence[str] | None = None) -> Axes:
    """Points of expression for one standard deviation of z as a heat map: a row the trait set, a column the one judged.

    The interval is under each number; bold where q is below 0.05. A trait's own effect is framed.

    Args:
        frame: effects with the metric `slope of expression` by one judge.
        traits: the rows, and the columns where they were judged.
    """
    traits = distinct(frame, "trait") if traits is None else traits
    frame = with_judged(frame)
    columns = [trait for trait in traits if trait in distinct(frame, "judged")]
    values = np.full((len(traits), len(columns)), np.nan)
    most = max(float(frame["estimate"].abs().max()), 1e-9)
    for row in records(frame):
        if row["trait"] not in traits or row["judged"] not in columns:
            continue
        a, b = list(traits).index(row["trait"]), columns.index(row["judged"])
        values[a, b] = row["estimate"]
        text = "{estimate:+z.1f}\n[{low:+z.1f}, {high:+z.1f}]".format_map(row).replace("-", "−")
        color = "white" if abs(values[a, b]) > 0.6 * most else TEXT
        weight = "bold" if row["q"] < Q_LEVEL else "normal"
        ax.text(b, a, text, ha="center", va="center", color=color, fontsize=5.2, fontweight=weight)
    ax.imshow(np.ma.masked_invalid(values), cmap=mpl.colormaps[COLORMAP], vmin=-most, vmax=most, aspect="auto")
    frame_same(ax, traits, columns)
    name_cells(ax, traits, columns, rotation=30)
    ax.set_xlabel("expression of")
    ax.set_ylabel("value set of")
    return ax


def plot_adapter_loss(frame: DataFrame, ax: Axes, *, held_out: float | None = None, base: float | None = None) -> Axes:
    """Training loss (nats a token) against the step, a point a step and their running mean.

    Args:
        frame: `step, loss`, as `TrainedPsychAdapter.losses` gives them.
        held_out: the loss on held-out texts at the end, dashed; `base`: that of the model alone, dotted.
    """
    steps, loss = frame["step"].to_numpy(dtype=float), frame["loss"].to_numpy(dtype=float)
    window = max(1, len(loss) // 15)
    running = np.convolve(loss, np.ones(window) / window, mode="valid")
    ax.plot(steps, loss, ".", color=LIGHT_GREY, markersize=3, label="step", zorder=1.5)
    centre = steps[(window - 1) // 2 :][: len(running)]
    ax.plot(centre, running, color=PALETTE[0], label=f"mean of {window} step{'s' if window > 1 else ''}", zorder=2)
    for value, style, label in ((base, ":", "held out, no adapter"), (held_out, "--", "held out, trained")):
        if value is not None:
            ax.axhline(value, color=TEXT, linestyle=style, linewidth=1, label=label, zorder=2.1)
    ax.set_xlabel("training step")
    ax.set_ylabel("loss (nats a token)")
    ax.margins(x=0.02)
    return ax


def plot_held_out_loss(frame: DataFrame, ax: Axes) -> Axes:
    """Held-out loss under other trait vectors, minus that under the right ones, with intervals; right of 0: worse.

    Args:
        frame: effects; those other than changes of the held-out loss are left out.
    """
    changes = keep(frame, "metric", LOSS_CHANGE).drop(columns=["null_low", "null_high"], errors="ignore")
    said = [row["condition"].removesuffix(" scores") for row in records(changes)]
    traits = cells(changes, "trait")
    names = [text if trait == "all" else f"{trait} {text}" for trait, text in zip(traits, said, strict=True)]
    shown, label = changes.assign(trait=names, series=""), "loss minus right vector (nats a token)"
    return plot_forest(shown, ax, traits=names, names=[""], chance=0.0, label=label)


def plot_induced_by_layer(
    frame: DataFrame, ax: Axes, *, metric: str, label: str | None = None, traits: Sequence[str] | None = None
) -> Axes:
    """One metric of the induced shift at every layer, with the interval as a band; a colour a trait.

    Args:
        frame: effects, one block a row.
        metric: relative norm, consistency, explained, first component or linearity.
    """
    traits = distinct(frame, "trait") if traits is None else traits
    _curves(by_layer(keep(frame, "metric", metric)), ax, "layer", traits)
    ax.set_xlabel("layer")
    ax.set_ylabel(metric if label is None else label)
    ax.margins(x=0.02)
    return ax


def plot_induced_cosine(frame: DataFrame, ax: Axes, *, traits: Sequence[str] | None = None) -> Axes:
    """Cosine of every trait's induced direction with its own reference, by layer, with the interval as a band.

    Grey: below the largest 95th percentile of random directions among the traits, on both sides. Large points are
    layers with q below 0.05.

    Args:
        frame: effects; cosines with other references, which are controls, are left out.
    """
    traits = distinct(frame, "trait") if traits is None else traits
    own = by_layer(keep(keep(frame, "metric", COSINE), "role", "treatment"))
    null = own.groupby("layer")["null_high"].max().sort_index()
    layers = np.array(list(null.index), dtype=float)
    bound = null.to_numpy(dtype=float)
    ax.fill_between(layers, -bound, bound, color=LIGHT_GREY, linewidth=0, label="random directions, 95 %", zorder=1)
    ax.axhline(0, color=GREY, linewidth=0.7, zorder=1.2)
    _curves(own, ax, "layer", traits)
    for i, trait in enumerate(traits):
        found = keep(own[own["q"] < Q_LEVEL], "trait", trait)
        ax.plot(found["layer"], found["estimate"], "o", color=category(i)[0], markersize=3, zorder=2.3)
    ax.set_ylim(-1.04, 1.04)
    ax.set_xlabel("layer")
    ax.set_ylabel("cosine with the\npersona vector")
    ax.margins(x=0.02)
    return ax


def _curves(frame: DataFrame, ax: Axes, over: str, traits: Sequence[str], *, marker: str = "") -> None:
    """The estimates of every trait over a column, with their intervals as a band; a colour a trait."""
    for i, trait in enumerate(traits):
        if (rows := keep(frame, "trait", trait)).empty:
            continue
        x, low, high = (rows[name].to_numpy(dtype=float) for name in (over, "low", "high"))
        color, style = category(i)
        ax.plot(x, rows["estimate"], color=color, linestyle=style, marker=marker, label=str(trait), zorder=2.2)
        ax.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0, zorder=2)


def by_layer(effects: DataFrame) -> DataFrame:
    """Effects of one block each, in order, with the block as a number in the column `layer`."""
    return effects.assign(layer=effects["layers"].astype(int)).sort_values("layer", kind="stable")
