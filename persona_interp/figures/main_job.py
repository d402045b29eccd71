"""Every figure of the main job, drawn from the tables of its results folder."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from persona_interp.figures import captions
from persona_interp.figures.agreement import plot_agreement
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.geometry import plot_geometry
from persona_interp.figures.norms import plot_relative_norm
from persona_interp.figures.results import MainJobResults, load_results
from persona_interp.figures.separation import plot_separation
from persona_interp.figures.steering import incoherent_handle, layer_colors, plot_coherence, plot_expression
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure, wrap

PANELS_ACROSS = 3
GEOMETRY_LAYERS = 4
"""At most this many heat maps; with more layers in the table, those chosen for steering or best are drawn."""

SMALL_HEAT_MAP = 5
"""Heat maps of at most this many traits stand side by side."""


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk: the picture for the page, the one for print, the numbers in it, and what it shows."""

    png: Path
    pdf: Path
    csv: Path
    caption: str


@dataclass(frozen=True, eq=False)
class DrawnFigure:
    """A figure before it is saved, with the rows it shows."""

    name: str
    figure: Figure
    frame: DataFrame
    caption: str


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
    yield from _separation(results)
    yield from _steering(results, "expression")
    yield from _steering(results, "coherence")
    yield from _geometry(results)
    yield from _agreement(results)
    yield from _relative_norm(results)


def _separation(results: MainJobResults) -> Iterator[DrawnFigure]:
    rows = [row for row in results.summary if row.trait in distinct(results.separation, "trait")]
    if not rows:
        return
    columns = min(PANELS_ACROSS, len(rows))
    figure, grid = panel_figure(-(-len(rows) // columns), columns, share_y="all")
    panels, first = [ax for line in grid for ax in line], [line[0] for line in grid]
    for ax, row in zip(panels, rows, strict=False):
        frame = keep(results.separation, "trait", row.trait)
        plot_separation(frame, ax, best_layer=row.best_layer, steered_layer=row.chosen_layer)
        ax.set_title(wrap(row.trait))
        ax.set_ylabel("held-out AUC" if ax in first else "")
    for ax in panels[len(rows) :]:
        ax.remove()
    legend_below(figure)
    yield DrawnFigure("separation_by_layer", figure, results.separation, captions.separation_caption(results))


def _steering(results: MainJobResults, metric: str) -> Iterator[DrawnFigure]:
    table = keep(results.steering, "metric", metric)
    judges = distinct(table, "judge")
    stem = "steering_dose_response" if metric == "expression" else "coherence"
    for part, traits in enumerate(_parts(results.traits, distinct(table, "trait"))):
        frame = keep(table, "trait", *traits)
        figure, grid = panel_figure(len(judges), len(traits), panel_height=2.0, share_y="row")
        for line, judge in zip(grid, judges, strict=True):
            for ax, trait in zip(line, traits, strict=True):
                rows = keep(keep(frame, "trait", trait), "judge", judge)
                _steering_panel(results, rows, ax, metric, judge, layer_colors(table))
                ax.set_title(wrap(trait) if line is grid[0] else "")
                ax.set_ylabel("")
                if line is not grid[-1]:
                    ax.set_xlabel("")
            unit = "0–100" if metric == "expression" else "worst z-score"
            line[0].set_ylabel(f"{metric} ({unit})" + (f"\njudge: {wrap(judge, 24)}" if judge else ""))
        legend_below(figure, extra=[] if False not in distinct(frame, "coherent") else [incoherent_handle()])
        gated = any(_gate(results, judge) is not None for judge in judges)
        caption = (
            captions.expression_caption(results, frame)
            if metric == "expression"
            else captions.coherence_caption(frame, has_gate=gated)
        )
        yield DrawnFigure(_numbered(stem, part), figure, frame, caption)


def _steering_panel(
    results: MainJobResults, rows: DataFrame, ax: Axes, metric: str, judge: str, colors: dict[int, str]
) -> None:
    if metric == "coherence":
        plot_coherence(rows, ax, colors=colors, gate=_gate(results, judge))
        return
    prompted = results.prompted
    if prompted is not None:
        prompted = keep(keep(prompted, "trait", *distinct(rows, "trait")), "judge", judge)
    plot_expression(rows, ax, colors=colors, prompted=prompted)


def _geometry(results: MainJobResults) -> Iterator[DrawnFigure]:
    table = results.geometry
    if table is None:
        return
    table = cast(DataFrame, table[table["trait_a"] != table["trait_b"]])
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


def _agreement(results: MainJobResults) -> Iterator[DrawnFigure]:
    table = results.judge_pairs
    if table is None or table.empty:
        return
    pairs = list(dict.fromkeys(zip(table["judge_a"], table["judge_b"], strict=True)))
    for part, traits in enumerate(_parts(results.traits, distinct(table, "trait"))):
        frame = keep(table, "trait", *traits)
        figure, grid = panel_figure(len(pairs), len(traits), panel_height=2.6, square=True)
        for line, (judge_a, judge_b) in zip(grid, pairs, strict=True):
            for ax, trait in zip(line, traits, strict=True):
                rows = _of_panel(frame, trait, judge_a, judge_b)
                plot_agreement(rows, ax, judge_a=judge_a, judge_b=judge_b)
                _agreement_title(ax, results.agreement, trait, judge_a, judge_b)
                if ax is not line[0]:
                    ax.set_ylabel("")
        legend_below(figure)
        caption = captions.agreement_caption(frame, has_correlations=results.agreement is not None)
        yield DrawnFigure(_numbered("judge_agreement", part), figure, frame, caption)


def _of_panel(table: DataFrame, trait: str, judge_a: str, judge_b: str) -> DataFrame:
    return keep(keep(keep(table, "trait", trait), "judge_a", judge_a), "judge_b", judge_b)


def _agreement_title(ax: Axes, agreement: DataFrame | None, trait: str, judge_a: str, judge_b: str) -> None:
    """The trait and, under it, the correlation of this panel."""
    if agreement is None:
        ax.set_title(wrap(trait))
        return
    ax.set_title(wrap(trait), pad=15)
    for row in records(_of_panel(agreement, trait, judge_a, judge_b))[:1]:
        text = "ρ = {spearman:.2f} [{low:.2f}, {high:.2f}], n = {n}".format_map(row).replace("-", "−")
        ax.text(0, 1.03, text, fontsize=7, transform=ax.transAxes)


def _relative_norm(results: MainJobResults) -> Iterator[DrawnFigure]:
    frame = results.separation.dropna(subset=["relative_norm"])
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
    shown = frame.filter(["trait", "pooling", "layer", "norm", "relative_norm"])
    yield DrawnFigure("relative_norm_by_layer", figure, shown, captions.norm_caption(results))


def _parts(traits: Sequence[str], present: Iterable[str]) -> list[list[str]]:
    """The traits that a table has, as many at a time as fit side by side."""
    known = set(present)
    shown = [trait for trait in traits if trait in known]
    return [shown[start : start + PANELS_ACROSS] for start in range(0, len(shown), PANELS_ACROSS)]


def _numbered(stem: str, part: int) -> str:
    return stem if part == 0 else f"{stem}_{part + 1}"


def _gate(results: MainJobResults, judge: str) -> float | None:
    """Lowest coherence that passes: `coherence_gate` of the configuration, one number or one a judge."""
    gate = results.config.get("coherence_gate")
    value = gate.get(judge) if isinstance(gate, dict) else gate
    return float(value) if isinstance(value, int | float) else None
