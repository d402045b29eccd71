"""A trait in a dictionary: what k latents leave of its direction, latents steered, and their contexts."""

import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.contexts import plot_contexts
from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import GREY, LIGHT_GREY, PALETTE, legend_below, panel_figure
from persona_interp.studies.substrates.latent_effects import ALONG, FVU

_METHODS = {"cosine": "largest cosines", "latent_difference": "difference of latents", "pursuit": "matching pursuit"}


def plot_decomposition(effects: DataFrame, ax: Axes) -> Axes:
    """Share of the direction that is left against the number of latents; the band is random directions."""
    for k, method in enumerate(_METHODS):
        rows = keep(effects, "method", method).sort_values("strength")
        own = rows.drop_duplicates("strength")
        ax.plot(own["strength"], own["estimate"], color=PALETTE[k], marker="o", ms=3, label=_METHODS[method])
    pursuit = keep(effects, "method", "pursuit").sort_values("strength")
    random = pursuit[pursuit["condition"] == "against random directions"]
    shuffled = pursuit[pursuit["condition"] == "against shuffled decoders"]
    ax.fill_between(
        random["strength"],
        random["null_low"],
        random["null_high"],
        color=LIGHT_GREY,
        lw=0,
        label="random directions, pursuit",
    )
    if shuffled["null_low"].notna().any():
        ax.plot(shuffled["strength"], shuffled["null_low"], color=GREY, ls="--", lw=1, label="shuffled decoder, 2.5th")
    ax.set_xscale("log", base=2)
    ticks = sorted({int(k) for k in effects["strength"]})
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("latents")
    ax.set_ylabel("share of the direction left (fvu)")
    return ax


def plot_latents(effects: DataFrame, ax: Axes) -> Axes:
    """Change of expression along each latent: top ones by name, random ones as a row of dots, the vector below."""
    top = keep(effects, "role", "treatment").sort_values("estimate", ascending=False)
    names = []
    for y, row in enumerate(records(top)):
        ax.plot([row["low"], row["high"]], [y, y], color=PALETTE[0], lw=1)
        ax.plot(row["estimate"], y, "o", color=PALETTE[0], ms=4)
        names.append(str(row["condition"]).rpartition(" ")[2])
    for row in records(keep(effects, "role", "control")):
        y = len(names)
        ax.plot([row["low"], row["high"]], [y, y], color=PALETTE[1], lw=1)
        ax.plot(row["estimate"], y, "D", color=PALETTE[1], ms=4)
        names.append("persona vector")
    random = keep(effects, "role", "null")
    if len(random):
        y = len(names)
        spread = np.linspace(-0.3, 0.3, len(random)) if len(random) > 1 else [0.0]
        ax.plot(random["estimate"], [y + d for d in spread], "o", color=GREY, ms=2.5, alpha=0.7)
        names.append("random latents")
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.axvline(0, color=GREY, lw=0.7)
    ax.set_xlabel("change of expression (points)")
    return ax


def draw_latents(trait: str, effects: DataFrame) -> list[DrawnFigure]:
    """The figures of a trait's latents; none without a dictionary."""
    curves, along = keep(effects, "metric", FVU), keep(effects, "metric", ALONG)
    drawn = []
    if len(curves):
        figure, [[ax]] = panel_figure(1, 1, panel_height=2.5)
        plot_decomposition(curves, ax)
        ax.set_title(f"{trait} as latents")
        legend_below(figure, columns=2)
        caption = (
            f"{trait}: the share of its direction's squared norm that a sum of k decoder vectors leaves, by three ways"
            f" of choosing them ({distinct(curves, 'data')[0]}). Grey: the middle 95 % of random directions with the"
            " covariance of answers within poles; dashed: decoders whose rows are shuffled inside."
        )
        drawn.append(DrawnFigure(f"substrate_decomposition_{trait}", figure, curves, caption))
    if len(along):
        n = len(keep(along, "role", "treatment"))
        figure, [[ax]] = panel_figure(1, 1, panel_height=0.9 + 0.16 * (n + 3))
        plot_latents(along, ax)
        ax.set_title(f"latents steered, {trait}")
        caption = (
            f"{trait}: change of expression along each of its top latents, with 95 % intervals over evaluation"
            f" questions, beside the persona vector and random latents of equal density, all added at"
            f" {along['strength'].iloc[0]:g} mean residual norms; judged by {distinct(along, 'judge')[0]}."
        )
        drawn.append(DrawnFigure(f"substrate_latents_{trait}", figure, along, caption))
    return drawn


def draw_contexts(contexts: DataFrame) -> list[DrawnFigure]:
    """Tokens around the places where the top latents are largest, shaded; none without any."""
    if contexts.empty:
        return []
    n = contexts.groupby(["latent", "rank"]).ngroups
    figure, [[ax]] = panel_figure(1, 1, panel_height=0.3 + 0.17 * n, page_wide=True)
    plot_contexts(contexts, ax)
    caption = (
        "Where in answers of this run and in neutral texts the top latents are largest: a line a text, tokens shaded by"
        " the latent's activation as a share of its largest, the peak outlined."
    )
    return [DrawnFigure("substrate_contexts", figure, contexts, caption)]
