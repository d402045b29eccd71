"""The three questions on finetuned models, each from its settings to tables, effects, claims and figures.

What is emitted depends on tables and on what `provenance.json` says of them alone, be they measured now or saved.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.effects import Claim, Effect, claims_table, effects_table, write_effects
from persona_interp.io import write_json
from persona_interp.lock import alone_in
from persona_interp.studies.finetuning.arm_effects import prevention_effects
from persona_interp.studies.finetuning.arms import PreventionConfig
from persona_interp.studies.finetuning.detector_effects import detector_effects
from persona_interp.studies.finetuning.effects import STUDY, shift_effects, source_of
from persona_interp.studies.finetuning.prevention import TEST, measure_prevention
from persona_interp.studies.finetuning.robustness import RobustnessConfig, measure_robustness
from persona_interp.studies.finetuning.shift import ShiftConfig, ShiftTables, measure_shift
from persona_interp.tables import write_table

Provenance = Mapping[str, Any]
SHIFT, PREVENTION, ROBUSTNESS = "finetuning_shift", "prevention", "monitor_robustness"


@checked
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
    prepared, made = measure_shift(config, work)
    said = prepared.provenance(config, {"layer": "named before anything was measured"})
    _keep(out, said, **vars(made))
    return emit_shift(out, said, made, judge=prepared.headline)


@checked
@alone_in("work")
def run_prevention(config: PreventionConfig, *, work: Path, out: Path) -> DataFrame:
    """The claims of the ways to prevent or correct a trait; leaves measured.csv, and else as `run_shift` does."""
    prepared, rows = measure_prevention(config, work)
    said = prepared.provenance(config, {"strengths": "listed beforehand; none is chosen on these numbers"})
    _keep(out, said, measured=rows)
    return emit_prevention(out, said, rows, judge=prepared.headline, test=TEST)


@checked
@alone_in("work")
def run_robustness(config: RobustnessConfig, *, work: Path, out: Path) -> DataFrame:
    """The claims of training against a monitor; leaves measured.csv, and else as `run_shift` does."""
    prepared, rows = measure_robustness(config, work)
    notes = {"text monitor": prepared.headline, "control": "the same training on the model's plain answers"}
    said = prepared.provenance(config, notes)
    _keep(out, said, measured=rows)
    return emit_robustness(out, said, rows)


def emit_shift(out: Path, said: Provenance, tables: ShiftTables, *, judge: str) -> DataFrame:
    """The claims of a grid from its tables; leaves effects, claims and figures.

    Args:
        said: in `provenance.json`, of the tables.
        judge: whose scores are drawn.
    """
    from persona_interp.studies.finetuning.figures.drawing import draw_shift

    named = tables.correlations[tables.correlations["named"]]
    found = shift_effects(named, tables.nulls, tables.predictors, **_place(said))
    effects, claims = _written(out, SHIFT, said, *found)
    draw_shift(effects, tables.cells, judge, out)
    return claims


def emit_prevention(out: Path, said: Provenance, rows: DataFrame, *, judge: str, test: str) -> DataFrame:
    """The claims of prevention from rows of `measure_prevention`, whose p is by `test`; else as `emit_shift`."""
    from persona_interp.studies.finetuning.figures.drawing import draw_prevention

    trait, ablation = said["config"]["trait"], said["config"]["ablation_layers"]
    found = prevention_effects(rows, trait=trait, ablation_layers=ablation, test=test, **_place(said))
    effects, claims = _written(out, PREVENTION, said, *found)
    draw_prevention(effects, trait, judge, out)
    return claims


def emit_robustness(out: Path, said: Provenance, rows: DataFrame) -> DataFrame:
    """The claims of training against a monitor from rows of `measure_robustness`; else as `emit_shift`."""
    from persona_interp.studies.finetuning.figures.drawing import draw_detectors

    found = detector_effects(rows, trait=said["config"]["trait"], **_place(said))
    effects, claims = _written(out, ROBUSTNESS, said, *found)
    draw_detectors(effects, out)
    return claims


def _keep(out: Path, said: Provenance, **tables: DataFrame) -> None:
    for name, rows in tables.items():
        write_table(out / f"{name}.csv", rows)
    write_json(out / "provenance.json", said)


def _place(said: Provenance) -> dict[str, int]:
    return {"layer": said["config"]["setup"]["named_layer"], "n_layers": said["model"]["n_layers"]}


def _written(
    out: Path, name: str, said: Provenance, effects: Sequence[Effect], claims: Sequence[Claim]
) -> tuple[DataFrame, DataFrame]:
    """Effects and claims as they were written."""
    source, known = source_of(name, said), said.get("judge_validity", {})
    effects = [effect.judged_by(known) for effect in effects]
    found = effects_table(source, effects), claims_table(source, claims)
    write_effects(out, STUDY, *found)
    return found
