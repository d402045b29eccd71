"""Effects and claims of saved results, from the tables that hold today's intervals and tests: no model runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from kept_results import read_tables
from saved_config import saved_provenance

from persona_interp.effects import Claim, Effect, claims_table, effects_table, write_effects
from persona_interp.studies.finetuning.arm_effects import prevention_effects
from persona_interp.studies.finetuning.detector_effects import detector_effects
from persona_interp.studies.finetuning.effects import STUDY, shift_effects, source_of

Found = tuple[Sequence[Effect], Sequence[Claim]]


def finetuning_shift(folder: Path) -> Found:
    """A trait's own direction with its interval; other directions, nulls and predictors without."""
    own, nulls, predictors = read_tables(folder, "reevaluated", "reevaluated_nulls", "reevaluated_predictors")
    saved = read_tables(folder, "correlations")[0]
    others = saved[saved["named"] & ~saved["same_trait"]].assign(low=None, high=None)
    correlations = pd.concat([own.assign(direction_trait=own["outcome_trait"]), others.drop(columns="q")])
    return shift_effects(correlations, nulls, predictors, **_place(folder))


def prevention(folder: Path) -> Found:
    """Every arm."""
    return prevention_effects(
        read_tables(folder, "reevaluated")[0],
        trait=saved_provenance(folder, "config", "trait"),
        ablation_layers=saved_provenance(folder, "config", "ablation_layers"),
        test="Student's t from the saved interval, widened",
        **_place(folder),
    )


def monitor_robustness(folder: Path) -> Found:
    """Every detector of every run."""
    rows = read_tables(folder, "reevaluated")[0]
    return detector_effects(rows, trait=saved_provenance(folder, "config", "trait"), **_place(folder))


EMITTED: dict[str, Callable[[Path], Found]] = {
    "finetuning_shift": finetuning_shift,
    "prevention": prevention,
    "monitor_robustness": monitor_robustness,
}


def emitted(study: str, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of effects and of claims of one of `EMITTED`, from what its folder holds."""
    source = source_of(study, saved_provenance(folder))
    effects, claims = EMITTED[study](folder)
    return effects_table(source, effects), claims_table(source, claims)


def emit(study: str, folder: Path) -> None:
    """Write them into the folder."""
    write_effects(folder, STUDY, *emitted(study, folder))


def _place(folder: Path) -> dict[str, int]:
    layer = saved_provenance(folder, "config", "setup", "named_layer")
    return {"layer": layer, "n_layers": saved_provenance(folder, "model", "n_layers")}
