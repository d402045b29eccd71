"""Every figure of the main job, drawn from the tables of its results folder."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib.axes import Axes
from pandas import DataFrame

from persona_interp.figures.drawn import PANELS_ACROSS, DrawnFigure, SavedFigure, numbered, parts
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.geometry import plot_geometry
from persona_interp.figures.steering import incoherent_handle, layer_colors, plot_coherence, plot_expression
from persona_interp.figures.style import GREY, legend_below, panel_figure, paper_style, save_figure, wrap
from persona_interp.judges.consensus import CONSENSUS
from persona_interp.studies.persona.figures import captions
from persona_interp.studies.persona.figures.agreement import draw_agreement
from persona_interp.studies.persona.figures.baselines import draw_baselines
from persona_interp.studies.persona.figures.headline import draw_headline
from persona_interp.studies.persona.figures.norms import plot_relative_norm
from persona_interp.studies.persona.figures.separation import plot_separation
from persona_interp.studies.persona.figures.steering_null import draw_steering_null
from persona_interp.studies.persona.results import MainJobResults, load_results
from persona_interp.studies.persona.rows import COHERENCE, EXPRESSION, geometry, layer_map, norms, prompted, sweep

GEOMETRY_LAYERS = 4
"""At most this many heat maps; with more layers in the table, those chosen for steering or best are drawn."""

SMALL_HEAT_MAP = 5
"""Heat maps of at most this many traits stand side by side."""


def plot_main_job(folder: Path) -> list[SavedFigure]:
    """The figures of a results folder, saved in `folder/figures` as PNG, PDF and CSV.

    Figures whose table is missing or empty are left out.

    Raises:
        ArtefactError: a required file is missing or not in the expected form.
    """
    results = load_results(folder)
    saved = []
    with paper_style():
        for drawn in draw_main_job(results):
            paths = save_figure(drawn.figure, drawn.frame, folder / "figures", drawn.name)
            saved.append(SavedFigure(*paths, drawn.caption))
    return saved


def draw_main_job(results: MainJobResults) -> Iterator[DrawnFigure]:
    """The figures one after another, in the order of the report; call it in `paper_style`."""
    yield from draw_headline(results)
    yield from _separation(results)
    yield from draw_baselines(results)
    yield from _steering(results, EXPRESSION)
    yield from _steering(results, COHERENCE)
    yield from draw_steering_null(results)
    yield from _geometry(results)
    yield from draw_agreement(results)
    yield from _relative_norm(results)


def _separation(results: MainJobResults) -> Iterator[DrawnFigure]:
    table = layer_map(results.effects)
    rows = [row for row in results.summary if row.trait in distinct(table, "trait")]
    if not rows:
        return
    columns = min(PANELS_ACROSS, len(rows))
    figure, grid = panel_figure(-(-len(rows) // columns), columns, share_y="all")
    panels, first = [ax for line in grid for ax in line], [line[0] for line in grid]
    for ax, row in zip(panels, rows, strict=False):
        frame = keep(table, "trait", row.trait)
        plot_separation(frame, ax, best_layer=row.best_layer, steered_layer=row.chosen_layer)
        ax.set_title(wrap(row.trait))
        ax.set_ylabel("held-out AUC" if ax in first else "")
    for ax in panels[len(rows) :]:
        ax.remove()
    legend_below(figure)
    yield DrawnFigure("separation_by_layer", figure, table, captions.separation_caption(results))


def _steering(results: MainJobResults, metric: str) -> Iterator[DrawnFigure]:
    table = sweep(results.effects, metric)
    stem = "steering_dose_response" if metric == EXPRESSION else "coherence"
    for part, traits in enumerate(parts(results.traits, distinct(table, "trait"))):
        judges = _sweeping_judges(keep(table, "trait", *traits))
        frame = keep(keep(table, "trait", *traits), "judge", *judges)
        figure, grid = panel_figure(len(judges), len(traits), panel_height=2.0, share_y="row")
        for line, judge in zip(grid, judges, strict=True):
            for ax, trait in zip(line, traits, strict=True):
                rows = keep(keep(frame, "trait", trait), "judge", judge)
                _steering_panel(results, rows, ax, metric, judge, layer_colors(table))
                ax.set_title(wrap(trait) if line is grid[0] else "")
                ax.set_ylabel("")
                if line is not grid[-1]:
                    ax.set_xlabel("")
            points = "deviations from unsteered" if judge == CONSENSUS else "0–100"
            unit = points if metric == EXPRESSION else "worst z-score"
            line[0].set_ylabel(f"{metric} ({unit})" + (f"\njudge: {wrap(judge, 24)}" if judge else ""))
        legend_below(figure, extra=[] if False not in distinct(frame, "coherent") else [incoherent_handle()])
        gated = any(_gate(results, judge) is not None for judge in judges)
        caption = (
            captions.expression_caption(results, frame)
            if metric == EXPRESSION
            else captions.coherence_caption(frame, has_gate=gated)
        )
        yield DrawnFigure(numbered(stem, part), figure, frame, caption)


def _sweeping_judges(table: DataFrame) -> list[str]:
    """The judges that rated the whole sweep of some trait; others would be drawn as lines of one point."""
    cells = keep(table, "role", "treatment").value_counts(["trait", "judge"])
    most = cells.groupby("trait").max()
    whole = {judge for (trait, judge), n in cells.items() if n == most[trait]}  # pyright: ignore
    return [judge for judge in distinct(table, "judge") if judge in whole]


def _steering_panel(
    results: MainJobResults, rows: DataFrame, ax: Axes, metric: str, judge: str, colors: dict[int, str]
) -> None:
    if rows.empty:
        ax.text(0.5, 0.5, "not rated by this judge", ha="center", va="center", color=GREY, transform=ax.transAxes)
    if metric == COHERENCE:
        plot_coherence(rows, ax, colors=colors, gate=_gate(results, judge))
        return
    asked = keep(keep(prompted(results.effects), "trait", *distinct(rows, "trait")), "judge", judge)
    plot_expression(rows, ax, colors=colors, prompted=asked)


def _geometry(results: MainJobResults) -> Iterator[DrawnFigure]:
    table = geometry(results.effects)
    layers = sorted(int(layer) for layer in distinct(table, "layer"))
    if len(layers) > GEOMETRY_LAYERS:
        shown = {row.chosen_layer for row in results.summary} | {row.best_layer for row in results.summary}
        layers = ([layer for layer in layers if layer in shown] or layers)[:GEOMETRY_LAYERS]
    if not layers:
        return
    frame = keep(table, "layer", *layers)
    present = {*distinct(frame, "trait_a"), *distinct(frame, "trait_b")}
    traits = [trait for trait in results.traits if trait in present]
    traits += sorted(present - set(traits))
    columns = min(2, len(layers)) if len(traits) <= SMALL_HEAT_MAP else 1
    figure, grid = panel_figure(
        -(-len(layers) // columns),
        columns,
        panel_height=2.6 if len(traits) <= SMALL_HEAT_MAP else 1.2 + 0.4 * len(traits),
        page_wide=len(layers) > 1 or len(traits) > SMALL_HEAT_MAP,
        square=True,
    )
    panels = [ax for line in grid for ax in line]
    for ax, layer in zip(panels, layers, strict=False):
        plot_geometry(keep(frame, "layer", layer), ax, traits=traits)
        ax.set_title(f"layer {layer}")
        ax.label_outer(remove_inner_ticks=True)
    for ax in panels[len(layers) :]:
        ax.remove()
    figure.colorbar(panels[0].images[0], ax=panels[: len(layers)], label="cosine", shrink=0.7)
    yield DrawnFigure("geometry", figure, frame, captions.geometry_caption(results, layers))


def _relative_norm(results: MainJobResults) -> Iterator[DrawnFigure]:
    frame = norms(results.effects)
    poolings = sorted(distinct(frame, "pooling"), key=lambda name: (name != "response_mean", name))
    if not poolings:
        return
    figure, grid = panel_figure(1, len(poolings), panel_height=2.1, share_y="all")
    for ax, pooling in zip(grid[0], poolings, strict=True):
        plot_relative_norm(keep(frame, "pooling", pooling), ax, traits=results.traits)
        ax.set_title(wrap(pooling))
        if ax is not grid[0][0]:
            ax.set_ylabel("")
    legend_below(figure)
    yield DrawnFigure("relative_norm_by_layer", figure, frame, captions.norm_caption(results))


def _gate(results: MainJobResults, judge: str) -> float | None:
    """Lowest coherence that passes: `coherence_gate` of the configuration, one number or one a judge."""
    gate = results.config.get("coherence_gate")
    value = gate.get(judge) if isinstance(gate, dict) else gate
    return float(value) if isinstance(value, int | float) else None
