"""The three questions on finetuned models, each from its settings to tables, effects, claims and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, claims_table, effects_table, write_effects
from persona_interp.io import write_json
from persona_interp.lock import alone_in
from persona_interp.studies.finetuning.arm_effects import prevention_effects
from persona_interp.studies.finetuning.arms import PreventionConfig
from persona_interp.studies.finetuning.detector_effects import detector_effects
from persona_interp.studies.finetuning.effects import STUDY, source_of
from persona_interp.studies.finetuning.prepared import Prepared
from persona_interp.studies.finetuning.prevention import TEST, measure_prevention
from persona_interp.studies.finetuning.robustness import RobustnessConfig, measure_robustness
from persona_interp.studies.finetuning.shift import ShiftConfig, measure_shift
from persona_interp.tables import write_table

Config = ShiftConfig | PreventionConfig | RobustnessConfig
SHIFT, PREVENTION, ROBUSTNESS = "finetuning_shift", "prevention", "monitor_robustness"


@alone_in("work")
def run_shift(config: ShiftConfig, *, work: Path, out: Path) -> DataFrame:
    """The claims of a grid of finetuned models.

    Leaves cells.csv, correlations.csv, nulls.csv, predictors.csv, provenance.json, effects.parquet, claims.parquet and
    the figures.

    Args:
        work: where trained models and answers are kept; the same call goes on where it was stopped.
        out: where results are written, in the place of those that are there.

    Raises:
        ConfigError: `work` holds results of other inputs, or another process is at work in it.
    """
    from persona_interp.studies.finetuning.figures.drawing import draw_shift

    prepared, made = measure_shift(config, work)
    tables = {"cells": made.cells, "correlations": made.correlations}
    tables |= {"nulls": made.nulls, "predictors": made.predictors}
    found = made.effects(config.setup.named_layer, prepared.model.n_layers)
    notes = {"layer": "named before anything was measured"}
    effects, claims = _finish(out, SHIFT, prepared, config, notes, tables, *found)
    draw_shift(effects, made.cells, prepared.headline, out)
    return claims


@alone_in("work")
def run_prevention(config: PreventionConfig, *, work: Path, out: Path) -> DataFrame:
    """The claims of the ways to prevent or correct a trait; leaves measured.csv, and else as `run_shift` does."""
    from persona_interp.studies.finetuning.figures.drawing import draw_prevention

    prepared, rows = measure_prevention(config, work)
    found = prevention_effects(
        rows,
        trait=config.trait,
        layer=config.setup.named_layer,
        ablation_layers=config.ablation_layers,
        n_layers=prepared.model.n_layers,
        test=TEST,
    )
    notes = {"strengths": "listed beforehand; none is chosen on these numbers"}
    effects, claims = _finish(out, PREVENTION, prepared, config, notes, {"measured": rows}, *found)
    draw_prevention(effects, config.trait, prepared.headline, out)
    return claims


@alone_in("work")
def run_robustness(config: RobustnessConfig, *, work: Path, out: Path) -> DataFrame:
    """The claims of training against a monitor; leaves measured.csv, and else as `run_shift` does."""
    from persona_interp.studies.finetuning.figures.drawing import draw_detectors

    prepared, rows = measure_robustness(config, work)
    layer, n_layers = config.setup.named_layer, prepared.model.n_layers
    found = detector_effects(rows, trait=config.trait, layer=layer, n_layers=n_layers)
    notes = {"text monitor": prepared.headline, "control": "the same training on the model's plain answers"}
    effects, claims = _finish(out, ROBUSTNESS, prepared, config, notes, {"measured": rows}, *found)
    draw_detectors(effects, out)
    return claims


def _finish(
    out: Path,
    name: str,
    prepared: Prepared,
    config: Config,
    notes: Mapping[str, str],
    tables: Mapping[str, DataFrame],
    effects: Sequence[Effect],
    claims: Sequence[Claim],
) -> tuple[DataFrame, DataFrame]:
    """Write tables, provenance, effects and claims; the latter two as they were written."""
    for table, rows in tables.items():
        write_table(out / f"{table}.csv", rows)
    provenance = prepared.provenance(config, notes)
    write_json(out / "provenance.json", provenance)
    source = source_of(name, provenance)
    found = effects_table(source, effects), claims_table(source, claims)
    write_effects(out, STUDY, *found)
    return found
