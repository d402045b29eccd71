"""Saved tables as rows of the table of effects: the same numbers, and q made anew is the q that the table had."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from persona_interp.effects import (
    EFFECTS,
    Claim,
    Effect,
    Source,
    claims_table,
    effects_table,
    load_effects,
    write_effects,
)
from persona_interp.statistics.families import in_families
from persona_interp.studies.inventory.effects import inventory_effects
from persona_interp.studies.inventory.forms import INVENTORY_CHANGES, INVENTORY_RELIABILITY, INVENTORY_SCORES
from persona_interp.studies.psychadapter.effects import adapter_effects
from persona_interp.studies.psychadapter.forms import ADAPTER_EFFECTS, ADAPTER_INDUCED, ADAPTER_NLL
from persona_interp.tables import Form, read_table
from tests.unit.studies.styles.found import found

GOLDEN = Path(__file__).parents[2] / "golden" / "run"
SOURCE = Source("study", "run", "tiny", "nnsight", "float32", 0)

Change = Callable[[DataFrame], DataFrame]


def saved(form: Form, change: Change = lambda table: table) -> DataFrame:
    """A table of the golden run, perhaps changed, as a results folder gives it back."""
    study = form.name.partition("_")[0]
    raw = read_table(GOLDEN / study / f"tables.{form.name}.csv")
    return form.typed(change(raw))[0]


def tables_of(effects: list[Effect], claims: list[Claim]) -> tuple[DataFrame, DataFrame]:
    return effects_table(SOURCE, effects), claims_table(SOURCE, claims)


def test_an_adapter() -> None:
    nll = saved(ADAPTER_NLL, worse_with_shuffled)
    effects, claims = tables_of(*adapter_effects({"nll": nll}, n_layers=3))
    table = nll.dropna(subset=["p"])
    losses = effects[effects["metric"] == "change of held-out loss"]
    assert losses["q"].tolist() == pytest.approx(table["q"].tolist())
    assert losses["estimate"].tolist() == table["estimate"].tolist()
    assert set(losses["substrate"]) == {"virtual_token"}
    uses = claims[claims["claim"] == "uses the scores"]
    assert uses["verdict"].tolist() == ["holds"]
    assert uses["sentence"].iloc[0].startswith("The adapter uses the scores: held-out loss is 0.018 [0.010, 0.071]")


def worse_with_shuffled(table: DataFrame) -> DataFrame:
    shuffled = (table["condition"] == "shuffled") & table["p"].notna()
    table.loc[shuffled, ["p", "q", "low"]] = [0.01, 0.01, 0.01]
    return table


def test_induced_cosines_are_corrected_over_layers_inside_a_reference() -> None:
    table = saved(ADAPTER_INDUCED, with_cosines)
    effects, _ = tables_of(*adapter_effects({"induced": table}, n_layers=3))
    cosines = effects[effects["metric"] == "cosine"]
    assert len(cosines) == 6
    assert cosines["q"].tolist() == pytest.approx(table["q"].dropna().tolist())
    assert cosines["reference"].unique().tolist() == ["vector of kind", "vector of rude"]


def with_cosines(table: DataFrame) -> DataFrame:
    rows = [
        {"trait": "agr_z", "layer": layer, "metric": "cosine", "reference": name, "estimate": 0.3, "n": 12,
         "null_95": 0.2, "p": p, "method": "psychadapter_induced", "position": "all"}
        for name, ps in (("kind", (0.01, 0.2, 0.5)), ("rude", (0.03, 0.02, 0.9)))
        for layer, p in enumerate(ps)
    ]  # fmt: skip
    added = DataFrame(rows)
    added = in_families(added, ["trait", "reference"], primary=np.zeros(len(added), dtype=bool))
    return DataFrame([*table.to_dict("records"), *added.to_dict("records")])


def inventory() -> tuple[list[Effect], list[Claim]]:
    return inventory_effects(
        saved(INVENTORY_SCORES),
        saved(INVENTORY_CHANGES),
        saved(INVENTORY_RELIABILITY),
        reference="baseline",
    )


def test_an_inventory() -> None:
    effects, claims = tables_of(*inventory())
    table = saved(INVENTORY_CHANGES)
    change = effects[effects["metric"] == "change of inventory score"]
    assert change["q"].tolist() == pytest.approx(table["q"].tolist())
    assert change["reference"].tolist() == ["baseline"]
    assert claims["verdict"].tolist() == ["undecided"]
    scores = effects[effects["metric"] == "inventory score"]
    assert scores["role"].tolist() == ["control", "treatment"]
    assert scores["unit"].tolist() == ["points from 1 to 5"] * 2


def test_every_study_writes_the_same_columns(tmp_path: Path) -> None:
    """Three studies stand in one folder, and one table holds them all."""
    adapter = {"nll": saved(ADAPTER_NLL), "offtarget": saved(ADAPTER_EFFECTS)}
    for study, made in {
        "styles": found(),
        "psychadapter": adapter_effects(adapter, n_layers=3),
        "inventory": inventory(),
    }.items():
        source = Source(study, study)
        write_effects(tmp_path, source.study, effects_table(source, made[0]), claims_table(source, made[1]))
    effects = load_effects(tmp_path)
    assert effects.columns.tolist() == EFFECTS.names
    assert effects["study"].unique().tolist() == ["styles", "psychadapter", "inventory"]
    assert effects[effects["p"].isna()]["q"].isna().all()
