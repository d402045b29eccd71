"""A grid of finetuned models: the shift inside them, the change of their expression, and what the data said before.

Training sets of traits at every level, and flawed ones about no trait with their flawless twins, each trained with
every seed. Of every run: the finetuning shift (last prompt token on evaluation questions, after - before, along each
persona vector) and the change of trait expression. Over runs: Pearson r, for a trait's own direction and for others',
with intervals over training sets and the null battery; and before training, the projection difference of the data,
their raw projection, and the proxy without generated answers, each against the shift and the expression that follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, SomeTuple
from persona_interp.data.conversations import conversations_hash
from persona_interp.data.levels import LEVELS, Level
from persona_interp.io import read_json, write_json
from persona_interp.measurements.expression import expression_change
from persona_interp.measurements.projection_difference import METRICS, projection_difference
from persona_interp.models.tokens import render_chat
from persona_interp.progress import track
from persona_interp.studies.finetuning.cells import expression, own_answers, probes, train_cell
from persona_interp.studies.finetuning.config import FLAWED, Setup
from persona_interp.studies.finetuning.drift import mean_shift
from persona_interp.studies.finetuning.effects import PREDICTORS, STUDY
from persona_interp.studies.finetuning.prediction import predictor_table, shift_correlations, shift_nulls
from persona_interp.studies.finetuning.prediction_grid import Grid
from persona_interp.studies.finetuning.prepared import Prepared, prepare
from persona_interp.studies.folder import RunFolder

Cell = tuple[dict[str, np.ndarray], dict[tuple[str, str], float]]
"""Of one run: mean activation changes by trait, and changes of expression by judge and trait."""


@checked
@dataclass(frozen=True)
class ShiftConfig:
    """The grid. Every data set is trained with every seed.

    Args:
        flawed_levels: levels of the unrelated sets; `normal` are the same questions answered well.
    """

    setup: Setup = Setup()
    levels: tuple[Level, ...] = LEVELS
    flawed_levels: tuple[Level, ...] = ("normal", "level_2")
    seeds: SomeTuple[Seed] = (0,)
    n_draws: Count = 200

    def data_sets(self) -> list[tuple[str, Level]]:
        """Every training set: what it is about, and its level."""
        own: list[tuple[str, Level]] = [(trait, level) for trait in self.setup.traits for level in self.levels]
        flawed: list[tuple[str, Level]] = [(name, level) for name in FLAWED for level in self.flawed_levels]
        return own + flawed


@dataclass(frozen=True, eq=False)
class ShiftTables:
    """What was measured of a grid.

    Args:
        cells: a row a run, trait and judge, with its shift at the named layer and its change of expression.
    """

    cells: pd.DataFrame
    correlations: pd.DataFrame
    nulls: pd.DataFrame
    predictors: pd.DataFrame


def measure_shift(config: ShiftConfig, folder: Path) -> tuple[Prepared, ShiftTables]:
    """The grid trained and measured, or gone on with where it stopped.

    Args:
        folder: where trained models, answers and measurements are kept.

    Raises:
        ConfigError: it holds those of other inputs.
    """
    prepared = prepare(config.setup, folder)
    base, before = expression(prepared, prepared.model, folder / "base"), probes(prepared, prepared.model)
    jobs: list[tuple[str, Level, int]] = [
        (name, level, seed) for seed in config.seeds for name, level in config.data_sets()
    ]
    measured = [_cell(prepared, base, before, *job) for job in track(jobs, "grid of LoRA runs", total=len(jobs))]
    grid = _grid(prepared, jobs, measured)
    layers = dict.fromkeys(config.setup.traits, config.setup.named_layer)
    points = [
        grid.points(trait, judge, config.setup.named_layer).assign(trait=trait, judge=judge)
        for judge, trait in grid.expression
    ]
    return prepared, ShiftTables(
        cells=pd.concat(points),
        correlations=shift_correlations(grid, named_layers=layers),
        nulls=shift_nulls(grid, n_draws=config.n_draws)[0],
        predictors=predictor_table(grid, _predictors(prepared, config, grid), named_layers=layers),
    )


def _cell(
    prepared: Prepared, base: pd.DataFrame, before: Mapping[str, Activations], name: str, level: Level, seed: int
) -> Cell:
    """Mean activation changes by trait, and changes of expression by judge and trait; kept beside the cell."""
    home = prepared.folder / "cells" / f"{name} {level} seed {seed}" / "measured"
    about = {"data": conversations_hash(prepared.data(name, level)), "level": level, "training seed": seed}
    RunFolder.claim(home, STUDY, prepared.identity() | about, keeps=("shifts.json",))
    if not (home / "shifts.json").is_file():
        model = train_cell(prepared, name, level, seed)
        after = probes(prepared, model)
        shifts = {trait: mean_shift(before[trait], after[trait]) for trait in before}
        vectors = {trait: shift.astype(np.float32).tolist() for trait, shift in shifts.items()}
        scores = expression(prepared, model, home)
        changes = [
            [judge, trait, expression_change(base, scores, trait, judge).estimate]
            for trait, judge in sorted(set(zip(scores["trait"], scores["judge"], strict=True)))
        ]
        write_json(home / "shifts.json", {"shifts": vectors, "changes": changes})
    kept = read_json(home / "shifts.json")
    shifts = {trait: np.array(shift) for trait, shift in kept["shifts"].items()}
    return shifts, {(judge, trait): float(change) for judge, trait, change in kept["changes"]}


def _grid(
    prepared: Prepared,
    jobs: list[tuple[str, Level, int]],
    measured: list[Cell],
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


def _predictors(
    prepared: Prepared, config: ShiftConfig, grid: Grid
) -> dict[str, dict[str, Float[np.ndarray, " cell"]]]:
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
        for metric, label in zip(METRICS, PREDICTORS, strict=True)
    }
