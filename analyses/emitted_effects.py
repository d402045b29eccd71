"""Effects, claims and figures of saved results, from their tables that hold today's intervals and tests."""

from pathlib import Path
from typing import Any

import pandas as pd
import seven_traits as traits
import style_vectors as styles
from kept_results import draw_saved, read_tables
from reevaluated_tables import EMBEDDING, style_frames
from saved_config import saved_provenance

from persona_interp.directions.style import published_layers
from persona_interp.effects import write_runs
from persona_interp.studies.finetuning.run import emit_prevention, emit_robustness, emit_shift
from persona_interp.studies.finetuning.shift import ShiftTables
from persona_interp.studies.inventory import saved as inventory
from persona_interp.studies.inventory.effects import STUDY as INVENTORY
from persona_interp.studies.inventory.figures import draw_inventory_reliability
from persona_interp.studies.psychadapter import saved as adapters
from persona_interp.studies.psychadapter.effects import STUDY as ADAPTERS


def finetuning_shift(folder: Path) -> None:
    """A trait's own direction with its interval; other directions, nulls and predictors without."""
    own, nulls, predictors = read_tables(folder, "reevaluated", "reevaluated_nulls", "reevaluated_predictors")
    saved, cells = read_tables(folder, "correlations", "cells")
    others = saved[saved["named"] & ~saved["same_trait"]].assign(low=None, high=None).drop(columns="q")
    correlations = pd.concat([own.assign(direction_trait=own["outcome_trait"], named=True), others])
    emit_shift(folder, _said(folder), ShiftTables(cells, correlations, nulls, predictors), judge=EMBEDDING)


def prevention(folder: Path) -> None:
    """Every arm."""
    rows, test = read_tables(folder, "reevaluated")[0], "Student's t from the saved interval, widened"
    emit_prevention(folder, _said(folder), rows, judge=EMBEDDING, test=test)


def monitor_robustness(folder: Path) -> None:
    """Every detector of every run."""
    emit_robustness(folder, _said(folder), read_tables(folder, "reevaluated")[0])


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


def _said(folder: Path) -> dict[str, Any]:
    """What made the tables of finetuned models; refused where it does not say at which layer."""
    for parts in (("config", "setup", "named_layer"), ("model", "n_layers")):
        saved_provenance(folder, *parts)
    return saved_provenance(folder)
