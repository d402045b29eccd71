"""Draws, reliability and types on planted tables."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.data.inventories import Item, Scale, load_inventory
from persona_interp.data.inventory_items import Inventory
from persona_interp.data.inventory_wordings import RATING_WORDINGS
from persona_interp.errors import ConfigError
from persona_interp.statistics.permutation import permutation_test_paired
from persona_interp.studies.inventory.administer import administer
from persona_interp.studies.inventory.answers import INVENTORY_ANSWERS
from persona_interp.studies.inventory.draws import balanced, interval, scale_draws, scale_score, stretch
from persona_interp.studies.inventory.reliability import (
    correlation,
    cronbach_alpha,
    feldt_bounds,
    inventory_reliability,
)
from persona_interp.studies.inventory.run import inventory_tables
from persona_interp.studies.inventory.types import inventory_type
from tests.golden.simulation import binomial_bounds
from tests.unit.studies.inventory.inventory_respondent import RuleModel

TYPES = load_inventory("types_32")


def answers_of(rule: Any, inventory: Inventory = TYPES, **options: Any) -> Any:
    return administer(RuleModel(rule), inventory, progress=False, **options)


def test_alpha_is_the_textbook_formula() -> None:
    table = np.array([[2.0, 4, 4], [3, 3, 5], [5, 5, 4], [1, 2, 2], [4, 5, 5]])
    k, variances = 3, [np.var(column, ddof=1) for column in table.T]
    expected = k / (k - 1) * (1 - sum(variances) / np.var(table.sum(1), ddof=1))
    assert cronbach_alpha(table) == pytest.approx(expected)
    assert cronbach_alpha(np.stack([table, table[:, ::-1]])) == pytest.approx([expected, expected])


def test_alpha_is_one_for_equal_items_zero_for_independent_ones_and_nan_without_variance() -> None:
    rng = np.random.default_rng(0)
    column = rng.standard_normal((6, 1))
    assert cronbach_alpha(np.tile(column, (1, 4))) == pytest.approx(1)
    assert abs(float(cronbach_alpha(rng.standard_normal((5000, 4))))) < 0.1
    assert cronbach_alpha(np.hstack([column, column, -column, column])) < 1
    for none in (np.ones((5, 4)), column[:1], np.hstack([column, -column])):
        assert np.isnan(cronbach_alpha(none))


@given(st.floats(-2, 2), st.integers(2, 6), st.integers(2, 6), st.integers(0, 5))
def test_what_agreeing_adds_takes_nothing_from_a_balanced_score(shift: float, up: int, down: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = np.array([1] * up + [-1] * down)
    values = rng.standard_normal((up + down, 2))
    plain, agreeing = scale_score(values, keys), scale_score(values + shift * keys[:, None], keys)
    assert agreeing == pytest.approx(plain, abs=1e-9)
    draws, shifted = (scale_draws(v, keys, n_resamples=50, seed=1) for v in (values, values + shift * keys[:, None]))
    np.testing.assert_allclose(draws, shifted, atol=1e-8)


def test_intervals_need_two_items_of_a_key() -> None:
    draws = scale_draws(np.ones((3, 2)), np.array([1, 1, -1]), n_resamples=20, seed=0)
    found = interval(0.5, draws, 3)
    assert np.isnan([found.low, found.high]).all()
    assert stretch(1000, 1) == pytest.approx(1, abs=0.01)
    assert stretch(5, 1) > 1.5


def test_a_correlation_without_spread_is_nan() -> None:
    assert np.isnan(correlation(np.ones(4), np.arange(4.0)))
    assert correlation(np.arange(4.0), -np.arange(4.0)) == pytest.approx(-1)


def test_what_cannot_be_computed_is_nan_with_its_n() -> None:
    inventory = Inventory(
        "tiny", "likert", (Item("walk", "one", 1), Item("sit", "one", -1)), (Scale("one"),), RATING_WORDINGS, "x", "y"
    )
    answers = answers_of(lambda *_: -1.0, inventory, wordings=["agreement_letters"], orders=["given"])
    table = inventory_reliability(answers, n_resamples=20).set_index(["scale", "metric"])
    for metric in ("alpha", "half_correlation", "order_change", "position_share", "wording_change"):
        assert np.isnan(table.loc[("one", metric), "estimate"])
    assert table.loc[("one", "alpha"), "n"] == 1
    assert table.loc[("one", "mass"), "estimate"] == pytest.approx(5 * np.exp(-1))


def test_a_sure_type_has_one_credible_type_and_a_toss_up_has_all() -> None:
    texts = {option.text: option.pole for item in TYPES.choices for option in item.options}

    def sure(prompt: str, option: str) -> float:
        pole = texts.get(option.removeprefix("I ").removesuffix("."), "")
        return 4.0 * (pole in "ENFP") * any(word in prompt for word in ("thing about", "What are you", "Introduce")) - 9

    found = inventory_type(answers_of(sure))
    assert (found.text, found.modal, found.format) == ("ENFP", "ENFP", "statement")
    assert found.modal_probability == 1
    assert found.credible == (("ENFP", 1.0),)
    assert str(found) == "ENFP (most probable ENFP, 1.00; 95%: ENFP)"
    assert found.frame["type"].tolist() == ["ENFP"] * 4
    rng = np.random.default_rng(0)
    noise = inventory_type(answers_of(lambda *_: float(rng.normal())))
    assert noise.text.count("X") >= 2
    assert len(noise.credible) > 3
    assert noise.modal_probability < 0.9


def test_types_of_other_things_are_refused() -> None:
    rated = answers_of(lambda *_: -1.0, load_inventory("big_five_50").take(1))
    with pytest.raises(ConfigError, match="a type needs forced choices"):
        inventory_type(rated)
    answers = answers_of(lambda *_: -1.0, wordings=["choose_letter"])
    with pytest.raises(ConfigError, match="was not administered in the format 'statement'"):
        inventory_type(answers, format="statement")
    with pytest.raises(ConfigError, match="has one item"):
        inventory_type(answers_of(lambda *_: -1.0, TYPES.take(1)))


def test_tables_name_model_condition_and_inventory() -> None:
    small, asked = TYPES.take(2), ["about_yourself", "choose_letter"]
    before = answers_of(lambda prompt, option: -float(len(prompt + option) % 5), small, wordings=asked)
    after = answers_of(
        lambda prompt, option: -float(len(prompt + option) % 3), small, wordings=asked, condition="other"
    )
    tables = inventory_tables([before, after], n_resamples=40)
    assert len(INVENTORY_ANSWERS.checked(tables.answers)) == len(tables.answers) > 0
    for table in (tables.scores, tables.reliability, tables.changes, tables.dichotomies, tables.answers):
        assert {"model", "condition", "inventory"} <= set(table.columns)
    assert set(tables.changes["measure"]) == {"keyed", "log_odds"}
    rated = answers_of(lambda *_: -1.0, load_inventory("big_five_50").take(1))
    assert inventory_tables([rated], n_resamples=20).dichotomies.empty


@pytest.mark.parametrize(("up", "down"), [(17, 7), (5, 5), (7, 3)])
def test_yes_saying_alone_moves_no_scale(up: int, down: int) -> None:
    """Agreeing with everything adds to one key what it takes from the other; unbalanced, 0.30 of such tests reject."""
    keys, rng, n_sets = np.repeat([1, -1], [up, down]), np.random.default_rng(3), 400
    p_values = {"balanced": [], "as they are": []}
    for seed in range(n_sets):
        changes = 1.0 * keys + rng.standard_normal(len(keys))
        for name, values in (("balanced", balanced(changes, keys)), ("as they are", changes)):
            test = permutation_test_paired(
                values, np.zeros(len(keys)), np.arange(len(keys)), n_permutations=199, seed=seed
            )
            p_values[name].append(test.p_value)
    rejected = {name: float(np.mean(np.array(values) <= 0.05)) for name, values in p_values.items()}
    assert rejected["balanced"] <= binomial_bounds(0.05, n_sets)[1]
    assert up < 17 or rejected["as they are"] > 0.2
    moved = 0.8 + 1.0 * keys + rng.standard_normal(len(keys))
    assert balanced(moved, keys).mean() == pytest.approx(scale_score(moved[:, None], keys))


def test_a_key_of_two_items_is_not_tested() -> None:
    assert np.isnan(balanced(np.arange(10.0), np.repeat([1, -1], [8, 2]))).all()
    assert balanced(np.arange(4.0), np.ones(4, dtype=int)).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_feldts_interval_covers_the_planted_alpha() -> None:
    """k items of one factor: alpha = k r / (1 + (k - 1) r) with inter-item correlation r."""
    rng, n_sets, k = np.random.default_rng(4), 600, 10
    for n, r in ((10, 0.1), (10, 0.5), (30, 0.3)):
        truth, hits = k * r / (1 + (k - 1) * r), 0
        for _ in range(n_sets):
            rows = np.sqrt(r) * rng.standard_normal((n, 1)) + np.sqrt(1 - r) * rng.standard_normal((n, k))
            low, high = feldt_bounds(float(cronbach_alpha(rows)), n, k)
            hits += low <= truth <= high
        assert hits / n_sets > binomial_bounds(0.95, n_sets)[0]
