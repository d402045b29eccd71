"""Held-out separation by layer."""

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import GREY, PALETTE
from persona_interp.studies.persona.rows import EXCHANGED, RANDOM

MAIN_POOLING = "response_mean"
OTHER_COLORS = (PALETTE[4], PALETTE[3], PALETTE[5])


def plot_separation(
    frame: DataFrame, ax: Axes, *, best_layer: int | None = None, steered_layer: int | None = None
) -> Axes:
    """Held-out AUC against layer for one trait: response_mean bold with its interval, other poolings thin.

    Dashed and dotted lines are the 95th percentiles of the shuffled-label and random-direction nulls at each
    layer. The ring is the best layer, the vertical line the layer chosen for steering.

    Args:
        frame: `rows.layer_map` of one trait.
    """
    main, by_random = (
        keep(keep(frame, "pooling", MAIN_POOLING), "null_kind", kind).sort_values("layer")
        for kind in (EXCHANGED, RANDOM)
    )
    layers, bold = main["layer"], {"color": PALETTE[0], "linewidth": 2, "markersize": 2.5, "zorder": 2.2}
    ax.plot(layers, main["estimate"], marker="o", label=MAIN_POOLING, **bold)
    ax.fill_between(layers, main["low"], main["high"], color=PALETTE[0], alpha=0.18, lw=0, label="95 % interval")
    poolings = [name for name in distinct(frame, "pooling") if name != MAIN_POOLING]
    for name, color in zip(poolings, OTHER_COLORS * len(poolings), strict=False):
        rows = keep(keep(frame, "pooling", name), "null_kind", EXCHANGED).sort_values("layer")
        ax.plot(rows["layer"], rows["estimate"], color=color, linewidth=0.9, label=name)
    ax.plot(layers, main["null_high"], color=GREY, linestyle="--", lw=1, label="exchanged prompts, 95th")
    ax.plot(
        by_random["layer"], by_random["null_high"], color=GREY, linestyle=":", lw=1.3, label="random directions, 95th"
    )
    best = keep(main, "layer", best_layer)
    ax.plot(
        best["layer"], best["estimate"], "o", mfc="none", mec=PALETTE[1], mew=1.4, markersize=8, linestyle="none",
        label="best layer", gid="best-layer", zorder=2.4,
    )  # fmt: skip
    if steered_layer is not None:
        ax.axvline(steered_layer, color=PALETTE[1], linewidth=0.9, label="layer chosen for steering", zorder=0.9)
    ax.set_xlabel("layer (0-based block)")
    ax.set_ylabel("held-out AUC")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    return ax
