"""Effects and claims from the tables that a measurement of monitoring left in a folder."""

from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from persona_interp.effects import Source, claims_table, effects_table, write_effects
from persona_interp.io import read_record
from persona_interp.statistics.levels import ALPHA
from persona_interp.statistics.power import detectable_correlation
from persona_interp.studies.monitoring.effects import STUDY, Measured, monitoring_effects
from persona_interp.studies.monitoring.tables import SCOPES, monitoring_families, monitoring_intervals
from persona_interp.tables import read_table

_KEYS = ["trait", "kind", "judge", "scope"]
_UNITS = ("kind", "condition", "level", "question", "trait", "projection")


def write_monitoring_effects(folder: Path) -> None:
    """Effects and claims of units.csv, correlations.csv, nulls.csv, alarms.csv and provenance.json.

    Correlations of an older version have intervals for their conditions only, which are too narrow: they are left out,
    and made again from the units at the layer named before. p are as saved; of nulls too small to reject there is none.

    Raises:
        ArtefactError: a table is missing or damaged.
    """
    units, correlations, nulls, alarms = (
        read_table(folder / f"{name}.csv") for name in ("units", "correlations", "nulls", "alarms")
    )
    said = read_record(folder / "provenance.json", remedy="Make the folder again.")
    model, config = said["model"], said["config"]
    older = "low_new" not in correlations
    of = Measured(model["n_layers"], config["n_null"], "percentile" if older else "conformal threshold")
    table = named_again(correlations, units) if older else correlations
    table = table.assign(layer=table["layer"].astype("Int64"))
    nulls["p"] = nulls["p"].where(nulls["p_floor"] <= ALPHA)
    effects, claims = monitoring_effects(table, nulls, alarms, of)
    identity = {"config": config, **{key: model[key] for key in ("weights", "backend", "dtype")}}
    effects = [effect.judged_by(said.get("judge_validity", {})) for effect in effects]
    source = Source.of(STUDY, identity, model, config["seed"])
    write_effects(folder, STUDY, effects_table(source, effects), claims_table(source, claims))


def named_again(correlations: DataFrame, units: DataFrame) -> DataFrame:
    """The correlations with intervals from the units at the named layer, and without any elsewhere."""
    judges = [name for name in units.columns if name not in _UNITS]
    long = units.melt([name for name in _UNITS if name in units], judges, var_name="judge", value_name="expression")
    found: list[dict[str, Any]] = []
    for (trait, kind, judge), cell in long.dropna().groupby(["trait", "kind", "judge"], sort=False):
        x, y = cell["projection"].to_numpy(float), cell["expression"].to_numpy(float)
        questions, conditions = (cell[name].to_numpy(object).astype(str) for name in ("question", "condition"))
        for scope in SCOPES:
            these, new = monitoring_intervals(x, y, questions, conditions, scope)
            found.append({"trait": trait, "kind": kind, "judge": judge, "scope": scope, "named": True})
            found[-1] |= {"low": these.low, "high": these.high, "low_new": new.low, "high_new": new.high}
            found[-1] |= {"detectable": detectable_correlation(new.error, new.freedom)}
    table = monitoring_families(correlations).drop(columns=["low", "high"])
    return table.merge(pd.DataFrame(found), on=[*_KEYS, "named"], how="left", validate="many_to_one")
