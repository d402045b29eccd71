"""Does the shift inside a finetuned model say how much its traits changed, and do the data say it before training?

A grid of LoRA runs: the training sets of three traits at three levels, and two flawed but unrelated sets (wrong
arithmetic, useless advice) with their flawless twins. Of every run: the finetuning shift (last prompt token on
evaluation questions, after - before, along each persona vector) and the change of trait expression. Then Pearson r over
runs, for a trait's own direction and for others', with intervals over data sets and the null battery; and before
training, the projection difference of the data, their raw projection, and the proxy without generated answers, each
against the shift and the expression that follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from finetuning_cells import expression, own_answers, probes, train_cell
from finetuning_prepared import Prepared, prepare, write_provenance
from finetuning_setup import FLAWED, PAPER, Setup, chosen_config
from kept_results import conversations_hash, refuse_other_inputs, write_tables

from persona_interp.activations.store import Activations
from persona_interp.data.levels import LEVELS, Level
from persona_interp.figures.forest import NOTE_PAD
from persona_interp.figures.frames import keep
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure
from persona_interp.io import read_json, write_json
from persona_interp.measurements.expression import expression_change
from persona_interp.models.tokens import render_chat
from persona_interp.progress import track
from persona_interp.studies.finetuning.drift import mean_shift
from persona_interp.studies.finetuning.figures.shift import (
    plot_correlation_matrix,
    plot_predictors,
    plot_shift_and_expression,
)
from persona_interp.studies.finetuning.prediction import SHIFT, predictor_table, shift_correlations, shift_nulls
from persona_interp.studies.finetuning.prediction_grid import Grid
from persona_interp.studies.screening.projection_difference import METRICS, projection_difference

PREDICTORS = dict(zip(METRICS, ("raw projection", "projection difference", "last-prompt proxy"), strict=True))


@dataclass(frozen=True)
class Config:
    """The grid. Every data set is trained with every seed.

    Args:
        flawed_levels: levels of the unrelated sets; `normal` are the same questions answered well.
    """

    setup: Setup = Setup()
    levels: tuple[Level, ...] = LEVELS
    flawed_levels: tuple[Level, ...] = ("normal", "level_2")
    seeds: tuple[int, ...] = (0,)
    n_draws: int = 200

    def data_sets(self) -> list[tuple[str, Level]]:
        """Every training set: what it is about, and its level."""
        own: list[tuple[str, Level]] = [(trait, level) for trait in self.setup.traits for level in self.levels]
        flawed: list[tuple[str, Level]] = [(name, level) for name in FLAWED for level in self.flawed_levels]
        return own + flawed


PRESETS = {
    "quick": Config(),
    "paper": Config(
        setup=PAPER,
        flawed_levels=LEVELS,
        seeds=(0, 1, 2),
    ),
}


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that is saved and drawn."""

    grid: Grid
    correlations: pd.DataFrame
    nulls: pd.DataFrame
    predictors: pd.DataFrame
    claims: pd.DataFrame


def run(config: Config, folder: Path) -> tuple[Prepared, Measured]:
    """Train and measure the grid, or go on where it stopped."""
    prepared = prepare(config.setup, folder)
    base, before = expression(prepared, prepared.model, folder / "base"), probes(prepared, prepared.model)
    jobs: list[tuple[str, Level, int]] = [
        (name, level, seed) for seed in config.seeds for name, level in config.data_sets()
    ]
    measured = [_cell(prepared, base, before, *job) for job in track(jobs, "grid of LoRA runs", total=len(jobs))]
    grid = _grid(prepared, jobs, measured)
    layers = dict.fromkeys(config.setup.traits, config.setup.named_layer)
    correlations = shift_correlations(grid, named_layers=layers)
    nulls, batteries = shift_nulls(grid, n_draws=config.n_draws)
    predictors = predictor_table(grid, _predictors(prepared, config, grid), named_layers=layers)
    claims = _claims(correlations, nulls, predictors, prepared.headline)
    return prepared, Measured(grid, correlations, nulls, predictors, claims)


def _cell(
    prepared: Prepared, base: pd.DataFrame, before: Mapping[str, Activations], name: str, level: Level, seed: int
) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], float]]:
    """Mean activation changes by trait, and changes of expression by judge and trait; kept beside the cell."""
    home = prepared.folder / "cells" / f"{name} {level} seed {seed}" / "measured"
    about = {"data": conversations_hash(prepared.data(name, level)), "level": level, "training seed": seed}
    refuse_other_inputs(home / "shifts.json", prepared.identity() | about)
    if not (home / "shifts.json").is_file():
        model = train_cell(prepared, name, level, seed)
        after = probes(prepared, model)
        shifts = {trait: mean_shift(before[trait], after[trait]) for trait in before}
        np_bytes = {trait: shift.astype(np.float32).tolist() for trait, shift in shifts.items()}
        scores = expression(prepared, model, home)
        changes = [
            [judge, trait, expression_change(base, scores, trait, judge).estimate]
            for trait, judge in sorted(set(zip(scores["trait"], scores["judge"], strict=True)))
        ]
        write_json(home / "shifts.json", {"shifts": np_bytes, "changes": changes})
    kept = read_json(home / "shifts.json")
    shifts = {trait: np.array(shift) for trait, shift in kept["shifts"].items()}
    return shifts, {(judge, trait): float(change) for judge, trait, change in kept["changes"]}


def _grid(
    prepared: Prepared,
    jobs: list[tuple[str, Level, int]],
    measured: list[tuple[dict[str, np.ndarray], dict[tuple[str, str], float]]],
) -> Grid:
    cells = pd.DataFrame(
        [
            {"cell": f"{name} {level} {seed}", "data": f"{name} {level}", "trait_of_data": name}
            | {"level": level, "seed": seed}
            for name, level, seed in jobs
        ]
    )
    return Grid(
        cells=cells,
        shifts={trait: np.stack([shifts[trait] for shifts, _ in measured]) for trait in prepared.traits},
        expression={key: np.array([changes[key] for _, changes in measured]) for key in measured[0][1]},
        directions=prepared.directions,
        training=prepared.training,
    )


def _predictors(prepared: Prepared, config: Config, grid: Grid) -> dict[str, dict[str, np.ndarray]]:
    """What the data say before training: means over samples at the named layer, a value a cell."""
    layer, directions = config.setup.named_layer, list(prepared.directions.values())
    sets = {f"{name} {level}": prepared.data(name, level) for name, level in config.data_sets()}
    own = own_answers(prepared)
    means: dict[str, dict[str, np.ndarray]] = {}
    for data, talks in sets.items():
        answers = [own[render_chat(prepared.model.tokenizer, talk.prompt)] for talk in talks]
        found = projection_difference(
            prepared.model, directions, talks, layers=[layer], base_answers=answers, progress=False
        )
        means[data] = {metric: np.nanmean(found.metric(metric)[:, :, 0], axis=0) for metric in METRICS}
    return {
        label: {
            direction.trait: np.array([means[data][metric][k] for data in grid.cells["data"]])
            for k, direction in enumerate(directions)
        }
        for metric, label in PREDICTORS.items()
    }


def _claims(correlations: pd.DataFrame, nulls: pd.DataFrame, predictors: pd.DataFrame, judge: str) -> pd.DataFrame:
    """One row a claim: what was named in advance, by the headline judge, with the null that its best layer has."""
    rows: list[dict[str, Any]] = []
    named = correlations[correlations["named"] & correlations["same_trait"] & (correlations["judge"] == judge)]
    for row in named.to_dict("records"):
        tests = nulls[nulls["test"] == f"{row['outcome_trait']}, {judge}"].set_index("family")
        null = {f"null_95 {family}": tests.loc[family, "null_95"] for family in tests.index}
        null |= {f"q {family}": tests.loc[family, "q"] for family in tests.index}
        best = {"best_layer_r": tests["observed"].iloc[0], "best_layer": tests["best_layer"].iloc[0]}
        rows.append(
            {"claim": "shift tells expression", "trait": row["outcome_trait"], "predictor": SHIFT, **_facts(row)}
        )
        rows[-1] |= {**best, **null}
    chosen = predictors[predictors["judge"].isna() | (predictors["judge"] == judge)]
    for row in chosen.to_dict("records"):
        claim = f"data tell {'shift' if row['against'] == SHIFT else 'expression'}"
        rows.append({"claim": claim, "trait": row["trait"], "predictor": row["predictor"], **_facts(row)})
    return pd.DataFrame(rows).assign(judge=judge)


def _facts(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("layer", "estimate", "low", "high", "p", "q", "n") if name in row}


def draw_points(cells: pd.DataFrame, named: pd.DataFrame, folder: Path) -> None:
    """Shift against expression, a panel a trait.

    Args:
        cells: `trait, trait_of_data, level, shift, expression` of one judge, a row a run.
        named: a row a trait with its correlation over them: `outcome_trait, estimate, low, high`.
    """
    traits, families = list(named["outcome_trait"]), list(dict.fromkeys(cells["trait_of_data"]))
    with paper_style():
        figure, axes = panel_figure(1, len(traits))
        for ax, trait, own in zip(axes[0], traits, named.to_dict("records"), strict=True):
            correlation = (float(own["estimate"]), float(own["low"]), float(own["high"]))
            rows = keep(cells, "trait", trait)
            plot_shift_and_expression(rows, ax, families=families, levels=LEVELS, correlation=correlation)
            ax.set_title(trait, pad=NOTE_PAD)
        legend_below(figure)
        save_figure(figure, cells, folder, "shift_and_expression")


def draw(prepared: Prepared, measured: Measured, config: Config, folder: Path) -> None:
    """Shift against expression, how specific it is, and what the data said before."""
    traits, judge, layer = config.setup.traits, prepared.headline, config.setup.named_layer
    named = measured.correlations[measured.correlations["named"] & (measured.correlations["judge"] == judge)]
    points = pd.concat([measured.grid.points(trait, judge, layer).assign(trait=trait) for trait in traits])
    own = named[named["same_trait"]].set_index("outcome_trait").loc[list(traits)].reset_index()
    draw_points(points, own, folder)
    with paper_style():
        figure, axes = panel_figure(1, 1)
        plot_correlation_matrix(named, axes[0][0], directions=traits, outcomes=traits)
        save_figure(figure, named, folder, "specificity")
        figure, axes = panel_figure(1, len(traits))
        shown = measured.predictors[measured.predictors["judge"].isna() | (measured.predictors["judge"] == judge)]
        for ax, trait in zip(axes[0], traits, strict=True):
            plot_predictors(keep(shown, "trait", trait), ax, predictors=list(PREDICTORS.values())).set_title(trait)
        legend_below(figure)
        save_figure(figure, shown, folder, "before_training")


def main() -> None:
    """Measure and write under `analyses/results/finetuning_shift/`."""
    config, chosen = chosen_config(__doc__, PRESETS, "finetuning_shift", quick="15 minutes", paper="2.5 hours")
    prepared, measured = run(config, chosen.work / chosen.preset)
    tables = {"correlations": measured.correlations, "nulls": measured.nulls, "predictors": measured.predictors}
    cells = pd.concat(
        [
            measured.grid.points(t, j, config.setup.named_layer).assign(trait=t, judge=j)
            for j, t in measured.grid.expression
        ]
    )
    write_tables(chosen.out, {**tables, "claims": measured.claims, "cells": cells})
    draw(prepared, measured, config, chosen.out)
    write_provenance(chosen.out, prepared, config, {"layer": "named before anything was measured"})
    print(measured.claims.round(3).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
