"""The figures of one PsychAdapter, from the tables that measuring it leaves."""

from pandas import DataFrame, concat

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import cells, distinct, keep, records
from persona_interp.figures.style import legend_below, panel_figure
from persona_interp.studies.psychadapter.figures.panels import (
    plot_adapter_loss,
    plot_expression_over_z,
    plot_held_out_loss,
    plot_induced_by_layer,
    plot_induced_cosine,
    plot_off_target,
)

LOSS_CAPTION = (
    "Held-out loss under other trait vectors minus that under each text's own, with 95 % intervals over texts: right of"
    " 0 the adapter uses the scores."
)
OVER_Z_CAPTION = (
    "Expression of each trait in texts written at values of its own z, others at the mean; bands: 95 % intervals over"
    " openings."
)
OFF_TARGET_CAPTION = (
    "Points of expression for one standard deviation of the trait set (rows), in every trait judged (columns)."
)
INDUCED_CAPTION = (
    "The shift of the residual stream from the lowest to the highest z, by layer: its length, whether texts share it,"
    " the share of its first component over z, and its cosine with the vector of the trait; bands are 95 % intervals"
    " over texts, grey is what random directions reach."
)


def draw_adapter(
    nll: DataFrame,
    *,
    losses: DataFrame | None = None,
    expression: DataFrame | None = None,
    effects: DataFrame | None = None,
    induced: DataFrame | None = None,
) -> list[DrawnFigure]:
    """Loss, expression by every judge, and the induced direction, each where its table is there.

    Call it in `paper_style`.
    """
    drawn = [_loss(nll, losses)]
    if expression is not None and effects is not None:
        for judge in distinct(effects, "judge"):
            drawn.append(_expression(keep(expression, "judge", judge), keep(effects, "judge", judge), str(judge)))
    if induced is not None:
        drawn.append(_induced(induced))
    return drawn


def _loss(nll: DataFrame, losses: DataFrame | None) -> DrawnFigure:
    if losses is None:
        figure, ((held_out,),) = panel_figure(1, 1)
        frame, caption = nll, LOSS_CAPTION
    else:
        figure, ((training, held_out),) = panel_figure(1, 2)
        rows = records(keep(keep(nll, "metric", "nll"), "trait", "all"))
        means = {row["condition"]: row["estimate"] for row in rows}
        plot_adapter_loss(losses, training, held_out=means["right"], base=means["no adapter"])
        frame, caption = concat([losses, nll], ignore_index=True), f"Left: training loss. Right: {LOSS_CAPTION}"
    plot_held_out_loss(nll, held_out)
    legend_below(figure)
    return DrawnFigure("psychadapter_loss", figure, frame, caption)


def _expression(expression: DataFrame, effects: DataFrame, judge: str) -> DrawnFigure:
    traits, name = distinct(effects, "trait"), f"psychadapter_expression_{judge.split(' ')[0]}"
    several = len(traits) > 1
    figure, (panels,) = panel_figure(1, 2 if several else 1, panel_height=2.4)
    plot_expression_over_z(expression, panels[0], traits=traits)
    if several:
        plot_off_target(effects, panels[1], traits=traits)
    legend_below(figure)
    frame = concat([expression.assign(panel="left"), effects.assign(panel="right")], ignore_index=True)
    caption = f"Left: {OVER_Z_CAPTION} Right: {OFF_TARGET_CAPTION}" if several else OVER_Z_CAPTION
    return DrawnFigure(name, figure, frame, f"{caption} Judge: {judge}.")


def _induced(induced: DataFrame) -> DrawnFigure:
    traits = distinct(induced, "trait")
    compared = "cosine" in cells(induced, "metric")
    figure, ((size, same), (line, cosine)) = panel_figure(2, 2)
    plot_induced_by_layer(induced, size, metric="relative norm", label="shift / residual norm", traits=traits)
    plot_induced_by_layer(
        induced, same, metric="consistency", label="cosine with the mean\nshift of other texts", traits=traits
    )
    plot_induced_by_layer(
        induced, line, metric="first component", label="share of the first\ncomponent over z", traits=traits
    )
    if compared:
        plot_induced_cosine(induced, cosine, traits=traits)
    else:
        cosine.remove()
    legend_below(figure)
    return DrawnFigure("psychadapter_induced", figure, induced, INDUCED_CAPTION)
