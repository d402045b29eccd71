"""Saved tables as rows of the table of effects: the same numbers, and q made anew is the q that the table had."""

from collections.abc import Callable
from pathlib import Path

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
from persona_interp.studies.inventory.conditions import Change
from persona_interp.studies.inventory.effects import bounds_of, format_of, inventory_effects, poles_of
from persona_interp.studies.psychadapter.effects import adapter_effects, with_judged
from persona_interp.studies.psychadapter.induced_cosines import cosines_in_families
from persona_interp.tables import Form, read_table
from tests.unit.studies.styles.found import found

GOLDEN = Path(__file__).parents[2] / "golden" / "run"
SOURCE = Source("study", "run", "tiny", "nnsight", "float32", 0)

Changed = Callable[[DataFrame], DataFrame]


def saved(form: Form, change: Changed = lambda table: table) -> DataFrame:
    """A table of the golden run, perhaps changed, as a results folder gives it back."""
    study = form.name.partition("_")[0]
    raw = read_table(GOLDEN / study / f"tables.{form.name}.csv")
    return form.typed(change(raw))[0]


def tables_of(effects: list[Effect], claims: list[Claim]) -> tuple[DataFrame, DataFrame]:
    return effects_table(SOURCE, effects), claims_table(SOURCE, claims)


def nll(low: float = 0.01, p: float = 0.01) -> DataFrame:
    about = {"trait": "all", "n": 12, "data": "texts", "detectable": 0.05}
    rows = [("nll", "right", 3.0, None, "no test"), ("nll difference", "shuffled", 0.018, p, "primary"),
            ("nll difference", "no adapter", 0.1, 0.3, "exploratory")]  # fmt: skip
    return DataFrame(
        [
            {**about, "metric": metric, "condition": condition, "estimate": x, "low": x + low - 0.018,
             "high": x + 0.1, "p": p, "q": p, "declared": declared}
            for metric, condition, x, p, declared in rows
        ]
    )  # fmt: skip


def slopes() -> DataFrame:
    about = {"trait": "kind", "judge": "one", "n": 12, "n_openings": 6, "null_95": 1.0, "detectable": 2.5,
             "spearman": 0.4, "spearman_low": 0.1, "spearman_high": 0.6, "rising": 0.75}  # fmt: skip
    rows = [("kind", 3.0, 1.0, 0.01, "primary"), ("rude", 1.0, -1.0, 0.4, "exploratory")]
    return DataFrame(
        [
            {**about, "judged": judged, "on_target": judged == "kind", "estimate": x, "low": low, "high": 5.0, "p": p,
             "q": p, "declared": declared}
            for judged, x, low, p, declared in rows
        ]
    )  # fmt: skip


def test_an_adapter() -> None:
    effects, claims = tables_of(*adapter_effects({"nll": nll()}, n_layers=3))
    losses = effects[effects["metric"] == "change of held-out loss"]
    assert losses["q"].tolist() == [0.01, 0.3]
    assert losses["detectable"].tolist() == [0.05, 0.05]
    assert set(losses["substrate"]) == {"virtual_token"}
    assert effects["condition"].tolist() == ["right scores", "shuffled scores", "no adapter"]
    uses = claims[claims["claim"] == "uses the scores"]
    assert uses["verdict"].tolist() == ["holds"]
    assert uses["sentence"].iloc[0].startswith("The adapter uses the scores: held-out loss is 0.018 [0.010, 0.118]")
    _, unsure = tables_of(*adapter_effects({"nll": nll(low=-0.1)}, n_layers=3))
    assert unsure["verdict"].tolist() == ["undecided"]


def test_slopes_of_an_adapter() -> None:
    effects, claims = tables_of(*adapter_effects({"offtarget": slopes()}, n_layers=3))
    by_metric = {metric: part for metric, part in effects.groupby("metric")}
    assert with_judged(by_metric["slope of expression"])["judged"].tolist() == ["kind", "rude"]
    assert by_metric["slope of expression"]["q"].tolist() == [0.01, 0.4]
    ranks = by_metric["rank correlation of expression"].iloc[0]
    assert (ranks["estimate"], ranks["low"], ranks["high"]) == (0.4, 0.1, 0.6)
    assert by_metric["share of rising steps"]["low"].isna().all()
    assert claims["claim"].tolist() == ["expression follows the score", "moves other traits, one"]
    assert claims["verdict"].tolist() == ["holds", "undecided"]
    assert claims["sentence"].iloc[1] == (
        "Of 1 off-target effects by one, 0 have a q of 0.05 or less; 2.5 points would be found in 80 % of repetitions."
    )


def cosines(high: float, own: str = "kind") -> DataFrame:
    rows = [
        {"trait": "agr_z", "layer": layer, "metric": "cosine", "reference": name, "estimate": 0.3, "low": 0.1,
         "high": high, "n": 12, "null_95": 0.2, "p": p, "method": "psychadapter_induced", "position": "all",
         "own": name == own, "equal": False}
        for name, ps in (("kind", (0.01, 0.2, 0.5)), ("rude", (0.03, 0.02, 0.9)))
        for layer, p in enumerate(ps)
    ]  # fmt: skip
    geometry = {"trait": "agr_z", "layer": 0, "metric": "consistency", "estimate": 0.8, "low": 0.7, "high": 0.9,
                "n": 12, "method": "psychadapter_induced", "position": "all"}  # fmt: skip
    table = cosines_in_families(DataFrame(rows))
    return DataFrame([geometry, *table.to_dict("records")])


def test_induced_cosines_are_corrected_over_layers_inside_a_reference() -> None:
    table = cosines(high=0.5)
    effects, _ = tables_of(*adapter_effects({"induced": table}, n_layers=3))
    found = effects[effects["metric"] == "cosine"]
    assert len(found) == 6
    assert found["q"].tolist() == pytest.approx(table["q"].dropna().tolist())
    assert found["reference"].unique().tolist() == ["vector of kind", "vector of rude"]
    assert found["role"].tolist() == ["treatment"] * 3 + ["control"] * 3


@pytest.mark.parametrize(("high", "same"), [(0.5, "does not"), (0.95, "undecided")])
def test_an_induced_direction_may_be_related_to_a_vector_and_not_it(high: float, same: str) -> None:
    _, claims = tables_of(*adapter_effects({"induced": cosines(high)}, n_layers=3))
    assert claims["verdict"].tolist() == ["holds", same]
    related, equal = claims["sentence"]
    assert "at 1 of 3 layers, and the largest is 0.30 [0.10, " in related
    assert ("is not the vector of kind" if same == "does not" else "is not shown to be the vector of kind") in equal


def test_the_cost_of_an_adapter() -> None:
    rows = [
        ("parameters", 500, 1),
        ("base parameters", 1e6, 1),
        ("share of the base", 5e-4, 1),
        ("slow-down", 0.1, 5),
    ]  # times are no effects
    cost = DataFrame([{"metric": m, "estimate": x, "low": None, "high": None, "n": n} for m, x, n in rows])
    effects, claims = tables_of(*adapter_effects({"cost": cost.assign(trait="kind+rude")}, n_layers=3))
    assert effects["metric"].tolist() == ["parameters", "base parameters", "share of the base"]
    assert effects["role"].tolist() == ["treatment", "control", "treatment"]
    assert claims["verdict"].tolist() == ["holds"]
    assert claims["sentence"].iloc[0] == "The adapter has 500 parameters, 0.05 % of the base's."


SCALE = {"condition": "baseline", "inventory": "talk", "judge": "none", "format": "rating", "normalise": "sum",
         "scale": "talk", "n": 12}  # fmt: skip
STEERED = Change("persona_vector", "residual", "1", "resid_post", 0.5, "norms")


def inventory() -> tuple[list[Effect], list[Claim]]:
    score = {**SCALE, "estimate": 3.5, "low": 3.1, "high": 3.9, "minimum": 1, "midpoint": 3, "maximum": 5,
             "acquiescence": 4.0, "acquiescence_low": 3.8, "acquiescence_high": 4.2, "detectable": 0.6}  # fmt: skip
    scores = DataFrame([score, score | {"condition": "steered", "low": 2.9}])
    change = {**SCALE, "condition": "steered", "compared_with": "baseline", "measure": "keyed", "estimate": 0.1,
              "low": -0.1, "high": 0.3, "p": 0.2, "q": 0.2, "declared": "primary", "detectable": 0.2,
              "acquiescence_change": -0.3}  # fmt: skip
    halves = {**SCALE, "metric": "half_correlation", "over": "wordings x orders", "estimate": -0.9, "low": None,
              "high": None, "null_low": None, "null_high": None}  # fmt: skip
    pole = {**SCALE, "format": "statement", "first": "E", "second": "I", "letter": "I", "probability": 0.7,
            "decided": False, "type": "X", "modal": "I", "modal_probability": 0.7, "credible": "I E"}  # fmt: skip
    unmeasured = halves | {"metric": "alpha", "estimate": None}
    return inventory_effects(
        scores,
        DataFrame([change]),
        DataFrame([halves, unmeasured]),
        DataFrame([pole]),
        reference="baseline",
        changed={"steered": STEERED},
        n_layers=4,
    )


def test_an_inventory() -> None:
    effects, _ = tables_of(*inventory())
    (change,) = effects[effects["metric"] == "change of inventory score"].to_dict("records")
    assert (change["q"], change["reference"], change["detectable"]) == (0.2, "baseline", 0.2)
    scores = effects[effects["metric"] == "inventory score"]
    assert scores["role"].tolist() == ["control", "treatment"]
    assert scores["unit"].tolist() == ["points from 1 to 5"] * 2
    assert scores["method"].tolist() == ["unchanged", "persona_vector"]
    steered = scores.iloc[1]
    assert (steered["substrate"], steered["layers"], steered["depth"], steered["strength"]) == (
        "residual",
        "1",
        0.5,
        0.5,
    )
    by_metric = effects.set_index("metric")["estimate"]
    assert by_metric["yes-saying"].tolist() == [4.0, 4.0]
    assert by_metric["change of yes-saying"] == -0.3
    assert by_metric["probability of the first pole"] == pytest.approx(0.3)
    assert "alpha" not in by_metric.index and by_metric["half_correlation"] == -0.9
    assert bounds_of(scores["unit"].iloc[0]) == (1, 5)
    assert format_of(scores["judge"].iloc[0]) == "rating"
    assert poles_of(effects[effects["reference"] == "E against I"]["reference"].iloc[0]) == ("E", "I")


def test_claims_of_an_inventory() -> None:
    _, claims = tables_of(*inventory())
    assert claims["verdict"].tolist() == ["holds", "undecided", "undecided", "undecided"]
    off, not_off, typed, moves = claims["sentence"]
    assert off == "baseline: talk of talk (rating) is off the midpoint, 3: 3.50 [3.10, 3.90] of 1 to 5."
    assert "is not shown to be off the midpoint" in not_off and "0.60 points off would be found" in not_off
    assert typed.endswith("is X; most probable I (0.70 of the draws), and 95 % of them are among I, E.")
    assert moves.startswith("steered is not shown to move talk of talk against baseline: 0.100 [−0.100, 0.300]")


def test_every_study_writes_the_same_columns(tmp_path: Path) -> None:
    """Three studies stand in one folder, and one table holds them all."""
    adapter = {"nll": nll(), "offtarget": slopes()}
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
