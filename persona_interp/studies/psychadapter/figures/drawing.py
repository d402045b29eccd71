"""The figures of one PsychAdapter, from its effects."""

from pandas import DataFrame, concat

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import cells, distinct, keep, records
from persona_interp.figures.style import legend_below, panel_figure
from persona_interp.studies.psychadapter.effects import (
    BARE,
    COSINE,
    EXPRESSION,
    GEOMETRY,
    LOSS,
    LOSS_CHANGE,
    RIGHT,
    SLOPE,
)
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


def draw_adapter(effects: DataFrame, *, losses: DataFrame | None = None) -> list[DrawnFigure]:
    """Loss, expression by every judge, and the induced direction, each where there are effects of it.

    Call it in `paper_style`.

    Args:
        losses: of training, as `TrainedPsychAdapter.losses` gives them.
    """
    held_out, written = keep(effects, "metric", LOSS, LOSS_CHANGE), keep(effects, "metric", EXPRESSION, SLOPE)
    drawn = [_loss(held_out, losses)] if len(held_out) else []
    drawn += [_expression(keep(written, "judge", judge), str(judge)) for judge in distinct(written, "judge")]
    induced = keep(effects, "metric", *GEOMETRY, COSINE)
    return drawn + ([_induced(induced)] if len(induced) else [])


def _loss(held_out: DataFrame, losses: DataFrame | None) -> DrawnFigure:
    if losses is None:
        figure, ((changes,),) = panel_figure(1, 1)
        frame, caption = held_out, LOSS_CAPTION
    else:
        figure, ((training, changes),) = panel_figure(1, 2)
        means = {row["condition"]: row["estimate"] for row in records(keep(held_out, "metric", LOSS))}
        plot_adapter_loss(losses, training, held_out=means.get(RIGHT), base=means.get(BARE))
        frame, caption = concat([losses, held_out], ignore_index=True), f"Left: training loss. Right: {LOSS_CAPTION}"
    plot_held_out_loss(held_out, changes)
    legend_below(figure)
    return DrawnFigure("psychadapter_loss", figure, frame, caption)


def _expression(written: DataFrame, judge: str) -> DrawnFigure:
    traits, name = distinct(written, "trait"), f"psychadapter_expression_{judge.split(' ')[0]}"
    several = len(traits) > 1
    figure, (panels,) = panel_figure(1, 2 if several else 1, panel_height=2.4)
    plot_expression_over_z(keep(written, "metric", EXPRESSION), panels[0], traits=traits)
    if several:
        plot_off_target(keep(written, "metric", SLOPE), panels[1], traits=traits)
    legend_below(figure)
    caption = f"Left: {OVER_Z_CAPTION} Right: {OFF_TARGET_CAPTION}" if several else OVER_Z_CAPTION
    return DrawnFigure(name, figure, written, f"{caption} Judge: {judge}.")


def _induced(induced: DataFrame) -> DrawnFigure:
    traits = distinct(induced, "trait")
    figure, ((size, same), (line, cosine)) = panel_figure(2, 2)
    for ax, metric, label in (
        (size, "relative norm", "shift / residual norm"),
        (same, "consistency", "cosine with the mean\nshift of other texts"),
        (line, "first component", "share of the first\ncomponent over z"),
    ):
        plot_induced_by_layer(induced, ax, metric=metric, label=label, traits=traits)
    if COSINE in cells(induced, "metric"):
        plot_induced_cosine(induced, cosine, traits=traits)
    else:
        cosine.remove()
    legend_below(figure)
    return DrawnFigure("psychadapter_induced", figure, induced, INDUCED_CAPTION)
