"""Effects, claims and figures of saved results, from their tables that hold today's intervals and tests."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import seven_traits as traits
import style_vectors as styles
from kept_results import draw_saved, read_tables
from reevaluated_tables import EMBEDDING, style_frames
from saved_config import saved_provenance

from persona_interp.directions.style import published_layers
from persona_interp.effects import (
    Claim,
    Effect,
    claims_table,
    effects_table,
    write_effects,
    write_runs,
)
from persona_interp.studies.finetuning.arm_effects import prevention_effects
from persona_interp.studies.finetuning.detector_effects import detector_effects
from persona_interp.studies.finetuning.effects import STUDY, shift_effects, source_of
from persona_interp.studies.finetuning.figures.drawing import draw_detectors, draw_prevention, draw_shift
from persona_interp.studies.inventory import saved as inventory
from persona_interp.studies.inventory.effects import STUDY as INVENTORY
from persona_interp.studies.inventory.figures import draw_inventory_reliability
from persona_interp.studies.judge_validity.effects import STUDY as JUDGES
from persona_interp.studies.judge_validity.effects import judge_runs
from persona_interp.studies.psychadapter import saved as adapters
from persona_interp.studies.psychadapter.effects import STUDY as ADAPTERS
from persona_interp.tables import read_table


def finetuning_shift(folder: Path) -> None:
    """A trait's own direction with its interval; other directions, nulls and predictors without."""
    own, nulls, predictors = read_tables(folder, "reevaluated", "reevaluated_nulls", "reevaluated_predictors")
    saved, cells = read_tables(folder, "correlations", "cells")
    others = saved[saved["named"] & ~saved["same_trait"]].assign(low=None, high=None)
    correlations = pd.concat([own.assign(direction_trait=own["outcome_trait"]), others.drop(columns="q")])
    effects = _write(folder, *shift_effects(correlations, nulls, predictors, **_place(folder)))
    draw_shift(effects, cells, EMBEDDING, folder)


def prevention(folder: Path) -> None:
    """Every arm."""
    trait = saved_provenance(folder, "config", "trait")
    found = prevention_effects(
        read_tables(folder, "reevaluated")[0],
        trait=trait,
        ablation_layers=saved_provenance(folder, "config", "ablation_layers"),
        test="Student's t from the saved interval, widened",
        **_place(folder),
    )
    draw_prevention(_write(folder, *found), trait, EMBEDDING, folder)


def monitor_robustness(folder: Path) -> None:
    """Every detector of every run."""
    trait, rows = saved_provenance(folder, "config", "trait"), read_tables(folder, "reevaluated")[0]
    draw_detectors(_write(folder, *detector_effects(rows, trait=trait, **_place(folder))), folder)


def seven_traits(folder: Path) -> None:
    """Every model and trait."""
    effects = traits.emit(folder, *read_tables(folder, "reevaluated", "reevaluated_claims"))
    traits.plot(effects, tuple(saved_provenance(folder, "config", "traits")), folder)


def style_vectors(folder: Path) -> None:
    """Every model and corpus."""
    provenance = saved_provenance(folder)
    effects = styles.emit(folder, *style_frames(folder), provenance)
    steered = provenance["models"][provenance["config"]["models"][0]]
    styles.draw(effects, published_layers(steered["n_layers"]), folder)


def psychadapter(folder: Path) -> None:
    """Both adapters."""
    write_runs(folder, ADAPTERS, adapters.saved_runs(folder))


def inventories(folder: Path) -> None:
    """Every inventory, what moves it, and whether it is valid."""
    write_runs(folder, INVENTORY, inventory.saved_runs(folder))
    draw_saved(folder, INVENTORY, draw_inventory_reliability)


def judge_validity(folder: Path) -> None:
    """Every judge, from its AUCs with today's intervals; p was not kept."""
    write_runs(folder, JUDGES, judge_runs(read_table(folder / "reevaluated.csv"), saved_provenance(folder, "config")))


def _write(folder: Path, effects: Sequence[Effect], claims: Sequence[Claim]) -> pd.DataFrame:
    """The table of effects, written with that of claims; the folder has the name of the question."""
    source = source_of(folder.name, saved_provenance(folder))
    table = effects_table(source, effects)
    write_effects(folder, STUDY, table, claims_table(source, claims))
    return table


def _place(folder: Path) -> dict[str, int]:
    layer = saved_provenance(folder, "config", "setup", "named_layer")
    return {"layer": layer, "n_layers": saved_provenance(folder, "model", "n_layers")}
