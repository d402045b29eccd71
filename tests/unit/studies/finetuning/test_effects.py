"""Saved tables of finetuned models as effects and claims: the same numbers, and verdicts by the rules."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Source, claims_table, effects_table, saved_claims, saved_effects
from persona_interp.statistics import benjamini_hochberg
from persona_interp.studies.finetuning.arm_effects import CHANGE, prevention_effects
from persona_interp.studies.finetuning.detector_effects import detector_effects
from persona_interp.studies.finetuning.effects import BEST, OTHERS, OWN, STUDY, shift_effects, source_of

ANALYSES = Path(__file__).parents[4] / "analyses"
SOURCE = Source(STUDY, "run", "tiny", "nnsight", "float32", 0)
NOTHING = float("nan")


def tables(found: tuple[list[Effect], list[Claim]]) -> tuple[DataFrame, DataFrame]:
    return effects_table(SOURCE, found[0]), claims_table(SOURCE, found[1])


def verdicts(claims: DataFrame) -> dict[tuple[str, str], str]:
    return {(claim, trait): verdict for claim, trait, verdict in claims[["claim", "trait", "verdict"]].to_numpy()}


def correlation(direction: str, outcome: str, judge: str, r: tuple[float, float, float], p: float) -> dict[str, Any]:
    numbers = dict(zip(("estimate", "low", "high"), r, strict=True))
    return {
        "direction_trait": direction,
        "outcome_trait": outcome,
        "judge": judge,
        **numbers,
        "n": 13,
        "n_data": 13,
        "p": p,
    }


def correlations() -> DataFrame:
    rows = [
        correlation("evil", "evil", "a", (0.9, 0.5, 0.98), 0.001),
        correlation("evil", "evil", "b", (0.5, -0.2, 0.8), 0.02),
        correlation("impolite", "impolite", "a", (-0.8, -0.95, -0.3), 0.999),
        correlation("evil", "impolite", "a", (0.7, NOTHING, NOTHING), 0.01),
    ]
    return DataFrame(rows)


def nulls() -> DataFrame:
    columns = ["test", "family", "observed", "best_layer", "null_95", "p", "n"]
    rows = [
        ("evil, a, with a comma", "random_directions", 0.9, 2.0, 0.7, 0.005, 200),
        ("evil, a, with a comma", "shuffled_labels", 0.9, 2.0, 0.6, 0.005, 200),
        ("evil, a, with a comma", "other_traits", 0.9, 2.0, 0.6, NOTHING, 2),
        ("impolite, a", "random_directions", 0.5, 1.0, 0.8, 0.4, 200),
        ("impolite, a", "shuffled_labels", 0.5, 1.0, 0.4, 0.005, 200),
    ]
    return DataFrame(rows, columns=columns)


def predictors() -> DataFrame:
    shared = {"predictor": "ΔP", "layer": 1, "n": 13, "n_data": 13, "declared": "primary"}
    rows = [
        {
            "trait": "evil",
            "against": "finetuning shift",
            "judge": None,
            "estimate": 0.9,
            "low": 0.5,
            "high": 0.97,
            "p": 0.001,
        },
        {"trait": "impolite", "against": "finetuning shift", "judge": None, "estimate": 0.9, "p": 0.001},
        {
            "trait": "evil",
            "against": "expression",
            "judge": "a",
            "estimate": -0.6,
            "low": -0.9,
            "high": -0.1,
            "p": 0.99,
        },
        {"trait": "evil", "against": "expression", "judge": "b", "estimate": 0.6, "p": 0.01, "declared": "exploratory"},
    ]
    return DataFrame([shared | row for row in rows])


def shift() -> tuple[list[Effect], list[Claim]]:
    return shift_effects(correlations(), nulls(), predictors(), layer=1, n_layers=4)


def test_correlations_of_the_shift_keep_their_numbers_and_every_judge_is_a_claim() -> None:
    effects, claims = tables(shift())
    own, others = (effects[effects["family"] == family] for family in (OWN, OTHERS))
    np.testing.assert_allclose(own["estimate"], [0.9, 0.5, -0.8])
    np.testing.assert_allclose(own["q"], [0.003, 0.03, 0.999])
    assert set(own["n_family"]) == {3} and set(own["role"]) == {"treatment"} and set(own["level"]) == {0.95}
    assert others[["trait", "role"]].to_numpy().tolist() == [["impolite", "control"]]
    assert others[["low", "high", "level"]].isna().all(axis=None)
    assert (effects["depth"] == effects["layers"].map({"1": 0.5, "2": 0.75})).all()
    found = verdicts(claims)
    assert found["shift tells expression, a", "evil"] == "holds"
    assert found["shift tells expression, b", "evil"] == "undecided"
    assert found["shift tells expression, a", "impolite"] == "does not"
    sentences = dict(zip(claims["claim"] + claims["trait"], claims["sentence"], strict=True))
    assert (
        "judged by b: r 0.50 [−0.20, 0.80] over 13 runs at layer 1, q 0.03."
        in sentences["shift tells expression, bevil"]
    )


def test_a_direction_outdoes_others_only_where_it_does_so_in_every_family_of_enough() -> None:
    effects, claims = tables(shift())
    best = effects[effects["family"] == BEST]
    assert best["null_kind"].tolist() == ["random directions", "shuffled labels"] * 2
    assert set(best["judge"]) == {"a, with a comma", "a"} and best["null_high"].tolist() == [0.7, 0.6, 0.8, 0.4]
    found = verdicts(claims)
    assert found["own direction outdoes others, a, with a comma", "evil"] == "holds"
    assert found["own direction outdoes others, a", "impolite"] == "undecided"


def test_what_the_data_say_holds_by_test_and_interval_of_the_first_judge_alone() -> None:
    found = verdicts(tables(shift())[1])
    assert found["ΔP foretells finetuning shift", "evil"] == "holds"
    assert found["ΔP foretells finetuning shift", "impolite"] == "undecided"  # no interval was kept
    assert found["ΔP foretells change of expression", "evil"] == "does not"
    assert len([claim for claim, _ in found if claim.startswith("ΔP")]) == 3


def arm(method: str, strength: float, change: tuple[float, float, float], p: float, coherent: float) -> DataFrame:
    shared = {
        "method": method,
        "strength": strength,
        "n": 12,
        "n_clusters": 12,
        "trait": None,
        "judge": None,
        "p": None,
    }
    ends = dict(zip(("estimate", "low", "high"), change, strict=True))
    rated = {"trait": "evil", "judge": "a"}
    rows = [
        {"metric": "expression", "estimate": 40 + change[0], "low": 30, "high": 60, **rated},
        {"metric": CHANGE, **ends, "p": p, **rated},
        {"metric": "coherent", "estimate": coherent, "low": 0.2, "high": 0.95},
        {"metric": "task loss", "estimate": 1.7, "low": 1.5, "high": 1.9, "n": 332, "n_clusters": 9},
        {"metric": "neutral loss", "estimate": 4.0, "low": 3.8, "high": 4.2, "n": 926},
        {"metric": "accuracy", "estimate": 0.6, "low": 0.5, "high": 0.7, "n": 83, "n_clusters": 83},
    ]
    return DataFrame([shared | row for row in rows])


def prevention() -> tuple[list[Effect], list[Claim]]:
    parts = [
        arm("base", 0.0, (-20.0, -30.0, -10.0), 0.001, 1.0),
        arm("plain finetuning", 0.0, (0.0, 0.0, 0.0), NOTHING, 1.0),
        arm("preventative steering", 0.1, (-10.0, -20.0, 3.0), 0.2, 1.0),
        arm("preventative steering", 0.3, (-15.0, -20.0, -3.0), 0.004, 0.5),
        arm("concept ablation", 2.0, (9.0, 1.0, 20.0), 0.03, 1.0),
        arm("preventative prompting", 5.0, (-9.0, -12.0, -1.0), 0.2, 1.0),
    ]
    rows = pd.concat(parts, ignore_index=True)
    return prevention_effects(
        rows, trait="evil", layer=1, ablation_layers=("one", "all"), n_layers=4, test="sign flips over questions"
    )


def test_what_a_method_lowers_and_what_training_raises() -> None:
    effects, claims = tables(prevention())
    found = verdicts(claims)
    assert found == {
        ("less expression before plain finetuning", "evil"): "holds",
        ("preventative steering 0.1 lowers expression", "evil"): "undecided",
        ("preventative steering 0.3 lowers expression", "evil"): "holds",
        ("concept ablation 2 lowers expression", "evil"): "does not",
        ("preventative prompting 5 lowers expression", "evil"): "undecided",
    }
    sentences = claims.set_index("claim")["sentence"]
    assert (
        "expresses less evil than after it: −20.0 [−30.0, −10.0] points of 100 (a), q 0.005"
        in sentences["less expression before plain finetuning"]
    )
    assert sentences["preventative steering 0.3 lowers expression"].endswith("; too few answers are coherent.")
    changes = effects[effects["family"] == CHANGE]
    assert len(changes) == 5 and changes["reference"].str.startswith("plain finetuning").all()
    np.testing.assert_allclose(changes["q"], [0.005, 0.2, 0.01, 0.05, 0.2])
    assert changes["role"].tolist() == ["control", *["treatment"] * 4]


def test_every_measure_of_an_arm_has_its_place_unit_and_clusters() -> None:
    effects, _ = tables(prevention())
    losses = effects[effects["metric"] == "loss"]
    assert set(losses["unit"]) == {"nats a token"} and set(losses["trait"]) == {"evil"} and losses["judge"].isna().all()
    task = losses[losses["data"] == "held-out answers of the task"]
    assert set(task["n_cluster"]) == {9} and set(task["n"]) == {332}
    places = effects.groupby(["method", "condition"], dropna=False)[["layers", "substrate"]].first()
    assert places.loc[("preventative steering", "preventative steering of 0.1")].tolist() == ["1", "residual"]
    assert places.loc[("concept ablation", "concept ablation at every layer")].tolist() == ["0+1+2+3", "residual"]
    assert set(effects.loc[effects["method"] == "preventative prompting", "substrate"]) == {"prompt"}
    assert effects.loc[effects["method"] == "preventative steering", "coherent"].tolist() == [True] * 6 + [False] * 6


def detectors() -> DataFrame:
    columns = ["run", "seed", "detector", "estimate", "low", "high", "n", "n_clusters"]
    rows = [
        ("trait data", 0, "monitored direction", 0.9, 0.6, 0.97, 80, 20),
        ("adaptive penalty", 0, "monitored direction", 0.2, -0.2, 0.5, 80, 20),
        ("adaptive penalty", 1, "monitored direction", 0.3, 0.1, 0.5, 80, 20),
        ("adaptive penalty", 0, "same, last prompt token", -0.6, -0.8, -0.2, 80, 20),
        ("adaptive penalty", 0, "same, layer 3", 0.99, 0.6, 1.0, 80, 20),
        ("adaptive penalty", 0, "fresh probe", NOTHING, NOTHING, NOTHING, 80, 20),
        ("adaptive penalty", 0, "trait expression: a", 0.5, 0.1, 0.8, 80, 20),
    ]
    return DataFrame(rows, columns=columns)


def test_detectors_see_a_run_by_q_and_interval() -> None:
    effects, claims = tables(detector_effects(detectors(), trait="evil", layer=1, n_layers=4))
    assert claims["verdict"].tolist() == ["holds", "undecided", "undecided", "does not", "holds", "undecided", "holds"]
    assert effects["layers"].iloc[:6].tolist() == ["1", "1", "1", "1", "3", "1"] and effects["layers"].isna().iloc[6]
    assert effects["pooling"].iloc[2:5].tolist() == ["response_mean", "prompt_last", "response_mean"]
    assert effects["role"].tolist() == ["control", *["treatment"] * 6]
    assert effects["judge"].iloc[6] == "a" and effects["judge"].iloc[:6].isna().all()
    assert set(effects["n_cluster"]) == {20}
    np.testing.assert_allclose(effects["q"].dropna(), benjamini_hochberg(effects["p"].dropna().to_numpy(float)))
    assert effects["p"].iloc[5] is pd.NA or np.isnan(effects["p"].iloc[5])
    said = claims["sentence"].iloc[3]
    assert "an adaptive penalty, the monitored direction at the last prompt token reads the opposite of evil" in said
    assert "Cliff's delta −0.60 [−0.80, −0.20]" in said


def test_questions_on_the_same_model_and_data_are_runs_of_their_own() -> None:
    model = {"model": "tiny", "weights": "w", "chat_template": "c", "backend": "nnsight", "dtype": "float32"}
    provenance = {"config": {"setup": {"seed": 3}}, "data": {}, "judges": {}, "model": model}
    found = {source_of(name, provenance).run_id for name in ("prevention", "finetuning_shift")}
    other = provenance | {"model": model | {"weights": "w2"}}
    assert len(found | {source_of("prevention", other).run_id}) == 3
    assert source_of("prevention", provenance) == Source(
        STUDY, source_of("prevention", provenance).run_id, "tiny", "nnsight", "float32", 3
    )


@pytest.mark.parametrize("study", ["finetuning_shift", "prevention", "monitor_robustness"])
def test_saved_effects_and_claims_are_what_the_saved_tables_give(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ANALYSES))
    folder, copy = ANALYSES / "results" / study, tmp_path / study
    copy.mkdir()
    for path in (*folder.glob("*.csv"), folder / "provenance.json"):
        (copy / path.name).write_bytes(path.read_bytes())
    getattr(importlib.import_module("emitted_effects"), study)(copy)
    for saved in (saved_effects, saved_claims):
        found, kept = saved(copy, STUDY), saved(folder, STUDY)
        assert found is not None and kept is not None
        pd.testing.assert_frame_equal(found, kept)
