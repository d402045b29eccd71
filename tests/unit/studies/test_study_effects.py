"""Saved tables as rows of the table of effects: the same numbers, and q made anew is the q that the table had."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from persona_interp.effects import EFFECTS, Source, load_claims, load_effects
from persona_interp.statistics.families import in_families
from persona_interp.studies.inventory.effects import write_inventory_effects
from persona_interp.studies.psychadapter.effects import write_adapter_effects
from persona_interp.studies.styles.effects import write_style_effects
from persona_interp.tables import read_table, write_table

GOLDEN = Path(__file__).parents[2] / "golden" / "run"
SOURCE = Source("study", "run", "tiny", "nnsight", "float32", 0)

Change = Callable[[DataFrame], DataFrame]


def saved(study: str, folder: Path, changes: Mapping[str, Change]) -> Path:
    """The tables of the golden run in a folder of their own, some of them changed."""
    for path in (GOLDEN / study).glob("tables.*.csv"):
        name = path.name.removeprefix("tables.")
        place = folder / "tables" / name
        place.parent.mkdir(exist_ok=True)
        shutil.copy(path, place)
        if name in changes:
            write_table(place, changes[name](read_table(place)))
    return folder


def test_styles(tmp_path: Path) -> None:
    folder = saved("styles", tmp_path, {"style_steering.csv": ranked_among_random})
    write_style_effects(folder, SOURCE, 3)
    effects, probe = load_effects(folder), read_table(folder / "tables" / "style_probe.csv")
    best = effects[effects["family"].fillna("").str.startswith("styles told apart")]
    assert len(best) == 4
    for row in best.to_dict("records"):
        readout = "style vector" if row["method"] == "style_vector" else row["method"]
        there = probe[(probe["style"] == row["trait"]) & (probe["readout"] == readout)]
        there = there[(there["layer"] == int(row["layers"])) & (there["stream"] == row["stream"])].iloc[0]
        assert (row["estimate"], row["low"], row["high"]) == (there["auc"], there["low"], there["high"])
        assert row["q"] == pytest.approx(there["q"])
        assert row["depth"] == (int(row["layers"]) + 1) / 3
    steered = effects[effects["metric"] == "change of expression"]
    ranked = steered[steered["test"] == "rank among directions"]
    table = read_table(folder / "tables" / "style_steering.csv")
    np.testing.assert_allclose(sorted(ranked["q"].dropna()), sorted(table["q_random"].dropna()))
    assert set(ranked["n_null"]) == {100}
    assert set(effects["substrate"]) == {"residual", "prompt"}
    unsteered = effects[effects["method"] == "unsteered"]
    assert set(unsteered["role"]) == {"control"}
    assert unsteered["layers"].isna().all()


def ranked_among_random(table: DataFrame) -> DataFrame:
    """As if there had been 100 random directions, and one of the vectors had moved the answers."""
    place = table["n_random"] > 0
    p = [0.01, 0.3, 0.6, 0.8][: int(place.sum())]
    table.loc[place, ["p_random", "n_random", "declared"]] = [[value, 100, "primary"] for value in p]
    table.loc[place, "q_random"] = [0.04, 0.6, 0.8, 0.8]
    table.loc[place, ["effect_low", "effect_high"]] = [[1.0, 9.0], [-3.0, 4.0], [-2.0, 5.0], [-9.0, -1.0]]
    return table


def test_claims_of_styles_say_what_the_numbers_say(tmp_path: Path) -> None:
    folder = saved("styles", tmp_path, {"style_steering.csv": ranked_among_random})
    write_style_effects(folder, SOURCE, 3)
    claims, effects = load_claims(folder), load_effects(folder)
    assert set(claims["effects"]) <= set(effects["effect_id"])
    steering = claims[claims["claim"].str.contains("steers")]
    assert steering["verdict"].tolist() == ["holds", "undecided", "undecided", "does not"]
    assert "makes answers to" in steering["sentence"].iloc[0]
    assert all("is not shown to make" in sentence for sentence in steering["sentence"][1:])
    assert (claims["claim"] == "told apart").sum() == 2


def test_an_adapter(tmp_path: Path) -> None:
    write_adapter_effects(saved("psychadapter", tmp_path, {"psychadapter_nll.csv": worse_with_shuffled}), SOURCE, 3)
    effects, claims = load_effects(tmp_path), load_claims(tmp_path)
    table = read_table(tmp_path / "tables" / "psychadapter_nll.csv").dropna(subset=["p"])
    losses = effects[effects["metric"] == "change of held-out loss"]
    assert losses["q"].tolist() == pytest.approx(table["q"].tolist())
    assert losses["estimate"].tolist() == table["estimate"].tolist()
    assert set(losses["substrate"]) == {"virtual_token"}
    uses = claims[claims["claim"] == "uses the scores"]
    assert uses["verdict"].tolist() == ["holds"]
    assert uses["sentence"].iloc[0].startswith("The adapter uses the scores: held-out loss is 0.018 [0.010, 0.063]")


def worse_with_shuffled(table: DataFrame) -> DataFrame:
    shuffled = (table["condition"] == "shuffled") & table["p"].notna()
    table.loc[shuffled, ["p", "q", "low"]] = [0.01, 0.01, 0.01]
    return table


def test_induced_cosines_are_corrected_over_layers_inside_a_reference(tmp_path: Path) -> None:
    write_adapter_effects(saved("psychadapter", tmp_path, {"psychadapter_induced.csv": with_cosines}), SOURCE, 3)
    effects, table = load_effects(tmp_path), read_table(tmp_path / "tables" / "psychadapter_induced.csv")
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


def test_an_inventory(tmp_path: Path) -> None:
    write_inventory_effects(saved("inventory", tmp_path, {}), SOURCE)
    effects, claims = load_effects(tmp_path), load_claims(tmp_path)
    table = read_table(tmp_path / "tables" / "inventory_changes.csv")
    change = effects[effects["metric"] == "change of inventory score"]
    assert change["q"].tolist() == pytest.approx(table["q"].tolist())
    assert change["reference"].tolist() == ["baseline"]
    assert claims["verdict"].tolist() == ["undecided"]
    scores = effects[effects["metric"] == "inventory score"]
    assert scores["role"].tolist() == ["control", "treatment"]
    assert scores["unit"].tolist() == ["points from 1 to 5"] * 2


def test_every_study_writes_the_same_columns(tmp_path: Path) -> None:
    """Three studies stand in one folder, and one table holds them all."""
    for study in ("styles", "psychadapter", "inventory"):
        saved(study, tmp_path, {})
    write_style_effects(tmp_path, Source("styles", "a"), 3)
    write_adapter_effects(tmp_path, Source("psychadapter", "b"), 3)
    write_inventory_effects(tmp_path, Source("inventory", "c"))
    effects = load_effects(tmp_path)
    assert effects.columns.tolist() == EFFECTS.names
    assert effects["study"].unique().tolist() == ["styles", "psychadapter", "inventory"]
    assert effects[effects["p"].isna()]["q"].isna().all()
