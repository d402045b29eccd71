import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.sections.words import extent, interval, number, plain, signed
from persona_interp.studies.persona.findings import (
    claims,
    confirmation,
    finding,
    grade,
    in_short,
    is_specific,
    specificity,
    verdict,
)
from persona_interp.studies.persona.results import TraitSummary

FOUND = TraitSummary(
    trait="impolite", n_positive=60, n_negative=60, n_kept_positive=52, n_kept_negative=55, filter="score above 50",
    best_layer=14, best_auc=0.951, auc=0.951, auc_low=0.893, auc_high=0.988, p_shuffled=0.005, p_random=0.01,
    q_separation=0.015, n_null=199, chosen_layer=12, chosen_coefficient=0.5, selection_rule="largest coherent effect",
    effect=22.14, effect_low=17.5, effect_high=26.6, effect_judge="likelihood", n_eval=40, n_eval_questions=20,
    n_resamples=2000, effect_random_low=-2.75, effect_random_high=3.1, test_layer=14, test_coefficient=0.15,
    test_effect=12.4, p_steering=0.0099, q_steering=0.0198, n_random=100, detectable_effect=4.2,
    n_test_positive=40, n_test_negative=39, n_test_questions=8, n_null_random=2000,
)  # fmt: skip


def row(**changes: Any) -> TraitSummary:
    return dataclasses.replace(FOUND, **changes)


def sentence(**changes: Any) -> str:
    return finding(row(**changes)).replace("\N{NO-BREAK SPACE}", " ")


def test_a_positive_result_in_full():
    assert sentence() == (
        "The persona vector tells held-out answers to positive from those to negative prompts: AUC 0.95 [0.89, 0.99] at"
        " layer 14 (n = 40 answers to positive and 39 to negative prompts, a vector of 52 and 55 others; p = 0.005"
        " among 199 exchanges of whole prompts and p = 0.01 among 2,000 random directions; q = 0.015); adding it at"
        " layer 12 with"
        " coefficient +0.5 raises expression: +22.1 [+17.5, +26.6] points of 100 against unsteered (judge: likelihood;"
        " n = 40 answers to 20 questions); at layer 14 with coefficient +0.15, named beforehand, its effect of +12.4"
        " points ranks with p = 0.0099, q = 0.0198 among 100 random directions of equal norm (−2.8 to +3.1 points)."
    )
    assert verdict(FOUND) == "separated; steering raises expression"


def test_a_summary_of_an_earlier_version_says_what_it_recorded():
    said = sentence(n_test_positive=None, n_test_negative=None, n_null_random=None)
    assert "at layer 14 (a vector of 52 and 55 answers; p = 0.005 among 199 exchanges" in said
    assert "p = 0.01 among random directions; q" in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"p_shuffled": 0.2, "p_random": 0.3, "q_separation": 0.3},
            "better than exchanged prompts or random directions would",
        ),
        ({"p_random": 0.06, "q_separation": 0.06}, "better than random directions would"),
        ({"q_separation": 0.051}, "better than chance among all claims of the run would"),
        ({"q_separation": 0.3, "detectable_auc": 0.71}, "an AUC of 0.71 or more at its best layer would exceed"),
    ],
)
def test_a_negative_separation_is_said_as_plainly(changes: dict, words: str):
    assert sentence(**changes).startswith("The persona vector does not tell")
    assert words in sentence(**changes)
    assert verdict(row(**changes)).startswith("not separated;")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"effect": -0.3, "effect_low": -4.0, "effect_high": 3.0}, "has no detectable effect on expression: −0.3"),
        ({"effect": 2.0, "effect_low": 0.0, "effect_high": 4.0}, "has no detectable effect"),
        ({"effect": -9.0, "effect_low": -12.0, "effect_high": -6.0}, "(it is lower, which is not tested): −9"),
        (
            {"effect": 2.0, "effect_low": 1.0, "effect_high": 3.0, "q_steering": 0.3},
            "raises expression, but not beyond random directions of equal norm: +2.0",
        ),
        ({"q_steering": 0.3}, "(−2.8 to +3.1 points); an effect of +4.2 points or more would have p = 0.05 or less by"),
        (
            {"p_steering": None, "q_steering": None, "test_effect": None},
            "raises expression, which was not tested against random directions: +22.1",
        ),
        ({"effect_low": None}, "has an effect on expression whose uncertainty could not be computed: +22.1 [no"),
        ({"effect": None}, "the effect of adding it at layer 12 with coefficient +0.5 was not measured."),
        ({"chosen_coefficient": None}, "no steering strength could be chosen, so no effect of steering is reported."),
        ({"auc": None}, "Separation by the persona vector was not measured; adding it"),
    ],
)  # fmt: skip
def test_every_outcome_has_its_words(changes: dict, words: str):
    assert words in sentence(**changes)


BEATS_ALL = {"best_auc_other_traits": 0.8, "best_auc_components": 0.7, "n_judges_agreeing": 1, "n_judges_beside": 2}
NO_EFFECT = {"effect": -0.3, "effect_low": -4.0, "effect_high": 3.0}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (BEATS_ALL, "strong"),
        (BEATS_ALL | {"n_judges_agreeing": 0}, "moderate"),
        (BEATS_ALL | {"best_auc_other_traits": 0.951}, "moderate"),
        (BEATS_ALL | {"best_auc_components": 0.96}, "moderate"),
        (BEATS_ALL | {"p_steering": None, "q_steering": None}, "weak"),
        ({}, "moderate"),
        (BEATS_ALL | {"q_separation": 0.2}, "weak"),
        (BEATS_ALL | NO_EFFECT, "weak"),
        (BEATS_ALL | {"q_steering": 0.06}, "weak"),
        (BEATS_ALL | {"effect": -9.0, "effect_low": -12.0, "effect_high": -6.0}, "weak"),
        (BEATS_ALL | NO_EFFECT | {"q_separation": 0.2}, "not shown"),
        ({"auc": None}, "not measured"),
        ({"effect": None}, "not measured"),
    ],
)
def test_a_claim_is_graded_by_everything_it_asks_for(changes: dict, expected: str):
    assert grade(row(**changes)) == expected


def test_what_is_claimed():
    assert claims(FOUND) == ("separation", "steering")
    assert claims(row(q_separation=0.06)) == ("steering",)
    assert claims(row(q_steering=0.06, q_separation=None)) == ()


def test_specificity_is_said_either_way_and_only_where_tested():
    changes = {"best_other_traits": "evil", "p_other_traits": 1 / 3, "q_other_traits": 0.4, "best_auc_components": 0.66}
    said = specificity(row(best_auc_other_traits=0.71, **changes)).replace("\N{NO-BREAK SPACE}", " ")
    assert said == (
        "No vector of another trait of this run separates these answers as well: the best is that of evil, AUC 0.71"
        " where the vector's own best layer has 0.95"
        " (p = 0.333, q = 0.4). The best principal component of the paired differences reaches AUC 0.66"
        " (p = not computed, q = not computed)."
    )
    assert specificity(row(best_auc_other_traits=0.97)).startswith("Not specific: a vector of another trait")
    assert (specificity(FOUND), is_specific(FOUND)) == ("", None)
    assert is_specific(row(best_auc_other_traits=0.97)) is False
    assert is_specific(row(best_auc_other_traits=0.4)) is True
    assert is_specific(row(best_auc_other_traits=0.4, q_separation=0.2)) is None  # nothing that could be specific
    assert confirmation(FOUND) == ""
    assert confirmation(row(**BEATS_ALL)).startswith("Of 2 other judges, 1 give the effect the same sign")


def test_without_random_directions_none_are_mentioned():
    assert "equal norm" not in sentence(p_steering=None, q_steering=None, test_effect=None)


def test_a_sentence_is_one_sentence_even_with_nothing_measured():
    empty = {f.name: None for f in dataclasses.fields(TraitSummary) if f.name not in {"trait", "notes"}}
    assert sentence(**empty) == (
        "Separation by the persona vector was not measured; no steering strength could be chosen, so no effect of"
        " steering is reported."
    )
    assert verdict(row(**empty)) == "separation not measured; steering not measured"


def test_numbers_as_text():
    assert [number(v) for v in (0.00123456, 1e-7, 3.0, None, float("nan"))] == [
        "0.00123", "1e−07", "3", "not computed", "not computed",
    ]  # fmt: skip
    assert [signed(v, 1) for v in (0.0, 2.0, -2.0)] == ["0.0", "+2.0", "−2.0"]
    assert interval(0.5, 0.4, 0.61) == "0.50 [0.40, 0.61]"
    assert extent(0.4, 0.61, 3) == "0.400 to 0.610"
    assert interval(0.5, float("nan"), float("nan")) == "0.50 [no interval]"
    assert interval(float("nan"), float("nan"), float("nan")) == "not computed"
    assert extent(None, 1.0) == "not computed"


@given(st.text(st.characters(codec=None), max_size=60))
def test_plain_text_can_always_be_written_and_holds_no_control_characters(text: str):
    shown = plain(text)
    shown.encode("utf-8")
    assert not any(ord(c) < 32 and c not in "\n\t" for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\x7f\x9b")


CONSENSUS: dict[str, Any] = {
    "effect": 3.12, "effect_low": 1.98, "effect_high": 4.26, "effect_judge": "consensus", "test_effect": 2.5,
    "effect_unit": "standard deviations of unsteered answers", "judges_shown": ("one", "two"),
    "effect_random_low": -0.4, "effect_random_high": 1.2, "best_auc_other_traits": 0.6, "best_auc_components": 0.7,
}  # fmt: skip


def test_a_consensus_is_named_with_its_judges_and_its_unit():
    said = sentence(**CONSENSUS)
    assert (
        "raises expression: +3.12 [+1.98, +4.26] standard deviations of unsteered answers (judge: consensus of one and"
        " two; n = 40 answers to 20 questions)" in said
    )
    assert "its effect of +2.50 standard deviations of unsteered answers ranks" in said
    assert "among 100 random directions of equal norm (−0.40 to +1.20)" in said


@pytest.mark.parametrize(
    ("judges", "agreeing", "expected"),
    [
        (("one", "two"), 2, "strong"),
        (("one", "two"), 1, "moderate"),
        (("one",), 1, "strong"),
        (("one",), 0, "moderate"),
    ],
)
def test_a_strong_claim_needs_two_judges_that_are_shown_to_work(judges: tuple[str, ...], agreeing: int, expected: str):
    found = row(**(CONSENSUS | {"judges_shown": judges, "n_judges_agreeing": agreeing, "n_judges_beside": 2}))
    assert grade(found) == expected


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("not expressible", "steering is not graded (not expressible): judges that see the trait in texts do not tell"),
        ("no judge", "steering is not graded (no judge): no judge of this run is shown to see the trait in texts"),
    ],
)
def test_without_a_judge_that_is_shown_to_work_steering_is_not_graded(why: Any, words: str):
    nothing = dict.fromkeys(("effect", "effect_low", "effect_high", "effect_judge", "test_effect", "p_steering"))
    found = row(**nothing, q_steering=None, n_random=0, judges_shown=(), ungraded=why)
    assert grade(found) == why and claims(found) == ("separation",) and verdict(found) == f"separated; steering {why}"
    assert words in finding(found)
    assert "is not graded, as" in in_short(found, "tiny")


def test_answers_that_fail_the_gate_are_said_to_beside_the_effect():
    said = "; but 55% of these answers pass the gate of coherence, and 75% are asked for"
    gated = row(**CONSENSUS, coherent_share=0.55)
    assert in_short(gated, "tiny").endswith(f"than random directions do{said}.") and f"questions){said}; at" in finding(
        gated
    )
    assert "gate" not in finding(row(**CONSENSUS, coherent_share=0.75)) + in_short(row(**CONSENSUS), "tiny")


def test_in_short_says_what_was_found_and_nothing_that_was_not():
    assert in_short(row(**CONSENSUS), "tiny") == (
        "The persona vector of impolite tells tiny's answers to prompts for and against it apart (AUC 0.95), and adding"
        " it makes answers more impolite: +3.12 standard deviations of unsteered answers, more than random directions"
        " do."
    )
    assert "is not shown (+3.12" in in_short(row(**CONSENSUS | {"q_steering": 0.2}), "tiny")
    assert "is not shown to tell tiny's answers" in in_short(row(q_separation=0.4), "tiny")
