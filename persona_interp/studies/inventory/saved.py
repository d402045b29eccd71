"""Effects and claims from the tables of an analysis of several models, kept in one folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Run, Source
from persona_interp.io import read_json
from persona_interp.studies.inventory.effects import STUDY, inventory_effects
from persona_interp.studies.inventory.movement_effects import movement_effects
from persona_interp.studies.inventory.validity import ValidityRun
from persona_interp.tables import read_table

BASELINE = "baseline"


def validity_runs(
    tables: Mapping[str, DataFrame], run: ValidityRun, models: Mapping[str, Mapping[str, Any]], identity: Any
) -> list[Run]:
    """What was found with every model, a run a model.

    Args:
        tables: scores, reliability, types, movement and validity of all models.
        models: their provenances by the name that they have in the tables.
        identity: what else the numbers depend on.
    """
    runs = []
    for name, model in models.items():
        scores, reliability, types, movement, validity = (
            tables[table][tables[table]["model"] == name]
            for table in ("scores", "reliability", "types", "movement", "validity")
        )
        n_layers, no_changes = model["n_layers"], DataFrame()
        effects, claims = inventory_effects(
            scores, no_changes, reliability, types, reference=BASELINE, changed={}, n_layers=n_layers
        )
        moved, valid = movement_effects(movement, validity, run, n_layers=n_layers)
        source = Source.of(STUDY, [identity, model], model, run.seed)
        runs.append((source, [*effects, *moved], [*claims, *valid]))
    return runs


def saved_runs(folder: Path) -> list[Run]:
    """The runs of saved results, from tables that hold today's intervals.

    Scores, types and movements have the intervals that they were made with, which are stretched; reliability is
    without alpha over fewer than ten rows, movement without the range of five random directions.
    """
    said = read_json(folder / "provenance.json")
    config = said["config"]
    kept = ((name, config[name]) for name in ValidityRun.__dataclass_fields__)
    sizes: dict[str, Any] = {name: tuple(size) if isinstance(size, list) else size for name, size in kept}
    run = ValidityRun(**sizes)
    files = {name: f"reevaluated_{name}" for name in ("reliability", "movement", "validity")}
    tables = {name: read_table(folder / f"{files.get(name, name)}.csv") for name in ("scores", "types", *files)}
    return validity_runs(tables, run, said["models"], [config, said["inventories"]])
