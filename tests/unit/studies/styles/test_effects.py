"""What was found of styles as effects and claims: the same numbers, and verdicts by their rules."""

import pytest

from persona_interp.effects import Source, claims_table
from persona_interp.studies.styles.effects import CHANGE, VALIDITY
from tests.unit.studies.styles.found import effects_of, found, probe_frame


def test_every_layer_and_the_best_one() -> None:
    effects = effects_of()
    told = effects[effects["metric"] == "AUC"]
    swept, best = told[told["place"] == "swept"], told[told["place"] == "searched"]
    assert len(swept) == len(probe_frame()) and swept["p"].isna().all()
    assert best.set_index(["trait", "method"])["estimate"].to_dict() == pytest.approx(
        {
            ("a", "logistic probe"): 0.8,
            ("a", "style_vector"): 0.7,
            ("b", "logistic probe"): 0.8,
            ("b", "style_vector"): 0.7,
        }
    )
    assert set(best["null_high"]) == {0.65} and set(swept["null_high"]) == {0.6}
    assert set(best["layers"]) == {"1"} and best["depth"].tolist() == pytest.approx([2 / 3] * 4)
    assert swept.loc[swept["stream"] == "resid_pre", "depth"].tolist() == [0.0] * 4
    assert best.set_index(["trait", "method"]).loc[("a", "style_vector"), "q"] == pytest.approx(0.02)


def test_steered_answers_are_named_chosen_or_swept() -> None:
    effects = effects_of()
    changed = effects[(effects["metric"] == CHANGE) & (effects["test"] == "sign flips over questions")]
    places = changed.set_index(["trait", "condition", "layers", "strength"])["place"]
    here = places.loc[("a", "answers to factual prompts")]
    assert here.loc[("1", 0.2)] == "swept" and here.loc[("1", 0.4)] == "chosen" and here.loc[("1+2", 0.2)] == "named"
    prompted = changed[changed["method"] == "prompt"]
    assert set(prompted["substrate"]) == {"prompt"} and prompted["place"].isna().all()
    assert changed[changed["strength"] == 0.4]["coherent"].eq(False).all()
    assert set(changed["judge_validity"]) == {0.8} and set(changed["detectable"]) == {4.56}
    unsteered = effects[effects["method"] == "unsteered"]
    assert set(unsteered["role"]) == {"control"} and unsteered["layers"].isna().all()


def test_ranks_are_tests_of_their_own() -> None:
    effects = effects_of()
    ranked = effects[effects["test"] == "rank among directions"]
    assert len(ranked) == 4 and set(ranked["n_null"]) == {100} and set(ranked["place"]) == {"named"}
    assert ranked["detectable"].isna().all(), "what is detectable is against unsteered answers"
    assert ranked["q"].tolist() == pytest.approx([0.04, 0.4, 0.4, 0.4])


def test_what_a_judge_can_tell_is_an_effect() -> None:
    effects = effects_of()
    validity = effects[effects["metric"] == VALIDITY]
    assert validity["estimate"].tolist() == [0.8, 0.8] and set(validity["role"]) == {"control"}


def test_claims_say_what_the_numbers_say() -> None:
    effects, claims = effects_of(), claims_table(Source("styles", "run", "m/x"), found()[1])
    assert set(claims["effects"]) <= set(effects["effect_id"])
    steering = claims[claims["claim"].str.contains("steers")]
    assert steering["verdict"].tolist() == ["holds", "undecided", "undecided", "undecided"]
    assert "raises a in answers to factual prompts" in steering["sentence"].iloc[0]
    assert steering["detectable"].isna().all()
    told = claims[claims["claim"] == "told apart"]
    assert told["verdict"].tolist() == ["holds", "undecided"] and set(told["detectable"]) == {0.91}
    assert "is not shown to tell held-out sentences of the style b" in told["sentence"].iloc[1]
