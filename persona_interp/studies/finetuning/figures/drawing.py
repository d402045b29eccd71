"""The figures of finetuned models, from the effects of a run."""

from pathlib import Path

from matplotlib.figure import Figure
from pandas import DataFrame

from persona_interp.data.levels import LEVELS
from persona_interp.figures.forest import NOTE_PAD
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.steering import incoherent_handle
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure
from persona_interp.studies.finetuning.arm_effects import BASE, PLAIN
from persona_interp.studies.finetuning.detector_effects import DELTA
from persona_interp.studies.finetuning.effects import BEFORE, OTHERS, OWN
from persona_interp.studies.finetuning.figures.prevention import COSTS, frontier, plot_frontier
from persona_interp.studies.finetuning.figures.robustness import plot_detectors
from persona_interp.studies.finetuning.figures.shift import (
    plot_correlation_matrix,
    plot_predictors,
    plot_shift_and_expression,
)


@paper_style()
def draw_shift(effects: DataFrame, cells: DataFrame, judge: str, folder: Path) -> None:
    """Save shift against expression, how specific it is, and what the data said before, as one judge sees them.

    Args:
        cells: the runs, as `ShiftTables` has them.
    """
    cells = keep(cells, "judge", judge)
    named = keep(keep(effects, "family", OWN, OTHERS), "judge", judge)
    measured, families = distinct(cells, "trait"), distinct(cells, "trait_of_data")
    traits = [trait for trait in families if trait in measured]
    figure, axes = panel_figure(1, len(traits))
    for ax, trait in zip(axes[0], traits, strict=True):
        (row,) = records(keep(keep(named, "family", OWN), "trait", trait))
        correlation = (row["estimate"], row["low"], row["high"])
        points = keep(cells, "trait", trait)
        plot_shift_and_expression(points, ax, families=families, levels=LEVELS, correlation=correlation)
        ax.set_title(trait, pad=NOTE_PAD)
    legend_below(figure)
    _save(figure, cells, folder, "shift_and_expression")
    figure, axes = panel_figure(1, 1)
    plot_correlation_matrix(named, axes[0][0], traits=traits)
    _save(figure, named, folder, "specificity")
    before = effects[effects["family"].fillna("").str.startswith(BEFORE)]
    before = before[before["judge"].isna() | (before["judge"] == judge)]
    figure, axes = panel_figure(1, len(traits))
    for ax, trait in zip(axes[0], traits, strict=True):
        plot_predictors(keep(before, "trait", trait), ax).set_title(trait)
    legend_below(figure)
    _save(figure, before, folder, "before_training")


@paper_style()
def draw_prevention(effects: DataFrame, trait: str, judge: str, folder: Path) -> None:
    """Save the frontier, a panel a cost."""
    points = frontier(effects, trait, judge)
    names = [name for name in distinct(points, "method") if name not in (BASE, PLAIN)]
    figure, axes = panel_figure(1, len(COSTS), share_y="all")
    for k, (ax, ((metric, data), (label, better))) in enumerate(zip(axes[0], COSTS.items(), strict=True)):
        rows = keep(keep(points, "metric", metric), "data", data)
        plot_frontier(rows, ax, label=label, names=names, better=better)
        ax.set_ylabel("" if k else f"expression of {trait}")
    legend_below(figure, columns=3, extra=[incoherent_handle()])
    _save(figure, points, folder, "frontier")


@paper_style()
def draw_detectors(effects: DataFrame, folder: Path) -> None:
    """Save what each detector sees of each run, beside the trait, for the training seed that comes first."""
    seen = keep(effects, "metric", DELTA)
    seen = keep(seen, "data", seen["data"].iloc[0])
    figure, axes = panel_figure(1, 1, panel_height=3.6, page_wide=True)
    plot_detectors(seen, axes[0][0])
    legend_below(figure, columns=2)
    _save(figure, seen, folder, "detectors")


def _save(figure: Figure, rows: DataFrame, folder: Path, name: str) -> None:
    shown = rows.dropna(axis="columns", how="all").drop(columns=["effect_id", "run_id"], errors="ignore")
    save_figure(figure, shown, folder, name)
