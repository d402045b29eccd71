"""Effects and claims from tables of earlier measurements of adapters, without intervals that are too narrow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pandas import DataFrame

from persona_interp.effects import Run, Source
from persona_interp.io import read_json
from persona_interp.statistics.families import in_families
from persona_interp.studies.psychadapter.effects import STUDY, adapter_effects
from persona_interp.studies.psychadapter.induced_cosines import cosines_in_families
from persona_interp.studies.psychadapter.trained import agreement_effects
from persona_interp.tables import read_table


def saved_runs(folder: Path, adapters: Sequence[str] = ("big_five", "sentiment")) -> list[Run]:
    """The runs of saved results, an adapter each in a folder of its name.

    Losses against each text's own scores and slopes have their widened intervals, p as saved, and q over today's
    families. Without an interval are levels of loss and expression, rank correlations, times (percentiles of the
    bootstrap, too narrow) and the geometry and cosines of induced directions (not corrected for the scatter of texts).
    """
    said = read_json(folder / "provenance.json")
    runs = []
    for name in adapters:
        tables = folder / name / "tables"
        found = {
            "nll": _losses(read_table(tables / "psychadapter_nll.csv"), folder, name),
            "offtarget": _slopes(read_table(tables / "reevaluated_slopes.csv")),
            "expression": _bare(read_table(tables / "psychadapter_expression.csv")),
            "induced": cosines_in_families(_bare(read_table(tables / "psychadapter_induced.csv"))),
            "cost": _bare(read_table(tables / "psychadapter_cost.csv")),
        }
        effects, claims = adapter_effects(found, n_layers=said["model"]["n_layers"])
        if (agreed := tables / "judge_agreement.csv").is_file():
            effects += agreement_effects(_bare(read_table(agreed)))
        identity = [name, said["config"], said["model"]]
        runs.append((Source.of(STUDY, identity, said["model"], said["config"]["seed"]), effects, claims))
    return runs


def _bare(table: DataFrame) -> DataFrame:
    return table.assign(low=np.nan, high=np.nan)


def _losses(nll: DataFrame, folder: Path, name: str) -> DataFrame:
    """Levels without, differences with their widened interval; the primary test is of all scores shuffled."""
    wider = read_table(folder / "reevaluated_losses.csv").set_index(["adapter", "trait", "condition"])
    table = _bare(nll)
    compared = table["metric"] == "nll difference"
    places = [(name, trait, said) for trait, said in zip(table["trait"], table["condition"], strict=True)]
    for end in ("low", "high"):
        table[end] = [
            wider[end].get(place, np.nan) if change else np.nan for place, change in zip(places, compared, strict=True)
        ]
    primary = (table["trait"] == "all") & (table["condition"] == "shuffled")
    return in_families(table, ["trait", "condition"], primary=primary.to_numpy(bool))


def _slopes(slopes: DataFrame) -> DataFrame:
    primary = slopes["on_target"] & (slopes["judge"] == slopes["judge"].iloc[0])
    table = in_families(slopes, ["trait", "judged"], primary=primary.to_numpy(bool))
    return table.assign(spearman_low=np.nan, spearman_high=np.nan)
