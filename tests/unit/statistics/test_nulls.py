import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.measurements.contrast import contrast_of
from persona_interp.statistics import auc, benjamini_hochberg, nulls, pearson, spearman
from persona_interp.statistics.contrast import Contrast
from persona_interp.statistics.null_directions import paired_components, pairs_by_question, signed_by
from persona_interp.statistics.null_families import NullFamily
from persona_interp.statistics.nulls import (
    battery_table,
    correlation_statistic,
    null_battery,
    rank_correlation_statistic,
    separation_statistic,
)
from tests.small import activations

LAYERS, WIDTH, QUESTIONS = 3, 8, np.repeat(np.arange(6), 2)
NAN = float("nan")


def contrast(shift: float = 2.0, seed: int = 0) -> Contrast:
    rng = np.random.default_rng(seed)
    positive, negative = rng.standard_normal((2, 12, LAYERS, WIDTH))
    positive[:, 1, 0] += shift
    return Contrast.of(positive, negative, QUESTIONS, QUESTIONS)


def difference(training: Contrast) -> np.ndarray:
    return np.stack([training.weights() @ rows for _, rows in training.layers()])


def graded(strength: float, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Targets whose axis 0 at layer 1 tells their outcome."""
    rng = np.random.default_rng(seed)
    targets, outcomes = rng.standard_normal((30, LAYERS, WIDTH)), rng.standard_normal(30)
    targets[:, 1, 0] += strength * outcomes
    return targets, outcomes


def test_statistics_are_those_of_single_columns():
    rng = np.random.default_rng(1)
    projections, scores = rng.standard_normal((9, 4)), np.round(rng.standard_normal((4, 9)))
    labels = rng.permuted(np.tile(np.arange(9) < 4, (4, 1)), axis=1)
    for draw in range(4):
        column = projections[:, draw]
        expected = auc(column[labels[draw]], column[~labels[draw]])
        assert separation_statistic(projections, labels)[draw] == pytest.approx(expected)
        assert correlation_statistic(projections, scores)[draw] == pytest.approx(pearson(column, scores[draw]))
        assert rank_correlation_statistic(projections, scores)[draw] == pytest.approx(spearman(column, scores[draw]))
    assert np.isnan(correlation_statistic(np.ones((5, 1)), np.arange(5.0)[None])).all()


def test_observed_is_the_statistic_of_unit_projections_at_each_layer():
    training, (targets, outcomes) = contrast(), graded(2.0)
    vectors = difference(training)
    battery = null_battery(vectors, training, targets, outcomes, correlation_statistic, n_draws=5)
    expected = [pearson(targets[:, layer] @ vectors[layer], outcomes) for layer in range(LAYERS)]
    for family in battery.families:
        assert family.observed == pytest.approx(expected)
    assert [family.family for family in battery.families] == ["shuffled_labels", "random_directions", "components"]
    assert battery["components"].best_layer == 1


def test_rows_without_spread_give_no_random_direction_and_no_p():
    rng = np.random.default_rng(5)
    positive, negative = rng.standard_normal((2, 1, LAYERS, WIDTH))
    training = Contrast.of(positive, negative, np.zeros(1), np.zeros(1))
    battery = null_battery(difference(training), training, *graded(2.0), correlation_statistic, n_draws=9)
    assert np.isnan(battery["random_directions"].p_value) and battery["components"].n == 0
    assert np.isfinite(battery["shuffled_labels"].p_value)


def test_every_member_takes_its_own_best_layer():
    training, (targets, outcomes) = contrast(), graded(0.0)
    other = np.random.default_rng(3).standard_normal((2, LAYERS, WIDTH))
    battery = null_battery(
        difference(training), training, targets, outcomes, correlation_statistic,
        other_vectors={"calm": other[0], "loud": other[1]}, n_draws=7,
    )  # fmt: skip
    family = battery["other_traits"]
    for name, values in zip(("calm", "loud"), range(2), strict=True):
        signs = np.sign((other[values] * difference(training)).sum(axis=1))
        expected = [signs[i] * pearson(targets[:, i] @ other[values][i], outcomes) for i in range(LAYERS)]
        assert family.values[values] == pytest.approx(expected), name
    assert family.maxima == pytest.approx(family.values.max(axis=1))
    row = family.row()
    assert (row["best_member"], row["best_value"]) == (("calm", "loud")[family.maxima.argmax()], family.maxima.max())
    assert battery["shuffled_labels"].values.shape == (7, LAYERS)
    assert battery["components"].members == ("PC1", "PC2", "PC3", "PC4", "PC5")


def test_p_values_count_members_and_have_a_floor():
    observed, values = np.array([0.2, 0.8, NAN]), np.array([[0.9, 0, 0], [0.1, 0.8, 0.2], [NAN, NAN, 0.3]])
    family = NullFamily("other_traits", observed, values, ("a", "b", "c"))
    assert (family.best, family.best_layer) == (0.8, 1)
    assert family.maxima.tolist() == [0.9, 0.8, 0.3]
    assert family.p_value == pytest.approx(3 / 4)
    assert (family.p_floor, family.n) == (1 / 4, 3)
    assert family.percentile_95 == pytest.approx(np.quantile([0.9, 0.8, 0.3], 0.95))
    assert family.best_member == "a"


def test_a_family_without_members_was_not_tested():
    empty = NullFamily("components", np.array([0.9]), np.zeros((0, 1)))
    assert np.isnan([empty.p_value, empty.percentile_95, empty.row()["best_value"]]).all()
    assert (empty.n, empty.best_member) == (0, None)
    whole = NullFamily("shuffled_labels", np.array([NAN]), np.array([[NAN], [0.2]]))
    assert np.isnan(whole.p_value)


def test_a_planted_vector_beats_the_battery_and_another_traits_vector_of_the_same_kind_shows_it_up():
    training, (targets, outcomes) = contrast(6.0), graded(3.0)
    vectors = difference(training)
    rng = np.random.default_rng(4)
    others = {"same": -vectors + 0.1 * rng.standard_normal(vectors.shape), "else": rng.standard_normal(vectors.shape)}
    battery = null_battery(
        vectors, training, targets, outcomes, correlation_statistic, other_vectors=others, n_draws=199,
        shuffled_splits="both",
    )  # fmt: skip
    assert battery["shuffled_labels"].p_value <= 0.01
    assert battery["random_directions"].p_value <= 0.05
    assert battery["other_traits"].best_member == "same", "a reversed vector is turned around"
    assert battery["other_traits"].row()["best_value"] > 0.8


def test_results_repeat_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    training, (targets, outcomes) = contrast(), graded(1.0)
    arguments = (difference(training), training, targets, outcomes, correlation_statistic)
    first, other = (null_battery(*arguments, n_draws=23, seed=seed) for seed in (1, 2))
    monkeypatch.setattr(nulls, "MAX_ELEMENTS", 30 * 4)
    again = null_battery(*arguments, n_draws=23, seed=1)
    for name in ("shuffled_labels", "random_directions", "components"):
        assert np.allclose(first[name].values, again[name].values, rtol=0, atol=1e-12)
    assert not np.array_equal(first["random_directions"].values, other["random_directions"].values)
    assert np.array_equal(first["components"].values, other["components"].values)


def test_lengths_and_offsets_do_not_matter():
    training, (targets, outcomes) = contrast(), graded(1.0)
    vectors = difference(training)
    one = null_battery(vectors, training, targets, outcomes, correlation_statistic, n_draws=9)
    two = null_battery(3 * vectors, training, targets + 50, outcomes, correlation_statistic, n_draws=9)
    for name in ("shuffled_labels", "random_directions", "components"):
        assert two[name].values == pytest.approx(one[name].values)
    assert two["components"].observed == pytest.approx(one["components"].observed)


def test_components_are_those_of_the_paired_differences_about_their_mean():
    training = contrast()
    rows, pairs = training.values[:, 1], pairs_by_question(training.labels, training.questions)
    assert sorted(map(tuple, pairs)) == [(i, i + 12) for i in range(12)]
    differences = rows[pairs[:, 0]] - rows[pairs[:, 1]]
    expected = np.linalg.svd(differences - differences.mean(axis=0), full_matrices=False)[2][:3]
    found = paired_components(rows, pairs, 3)
    assert np.abs((found * expected).sum(axis=1)) == pytest.approx(np.ones(3))
    assert (signed_by(found, rows[0]) @ rows[0] >= 0).all()
    assert paired_components(rows, pairs[:0], 0).shape == (0, WIDTH)


def test_rows_without_a_partner_make_no_pair_and_one_pair_no_component():
    training = Contrast.of(np.ones((2, 1, 3)), np.zeros((2, 1, 3)), np.array(["a", "b"]), np.array(["a", "c"]))
    assert pairs_by_question(training.labels, training.questions).tolist() == [[0, 2]]
    battery = null_battery(np.ones((1, 3)), training, training.values, training.labels, n_draws=19)
    assert battery["components"].n == 0
    assert battery.to_frame().set_index("family")["q"].isna().tolist() == [False, True, True]  # no spread in a pole


def test_tables_correct_over_everything_together():
    training = contrast(6.0)
    batteries = {}
    for test, strength in (("strong", 3.0), ("none", 0.0)):
        targets, outcomes = graded(strength)
        batteries[test] = null_battery(
            difference(training), training, targets, outcomes, correlation_statistic, n_draws=19
        )
    table = battery_table(batteries)
    assert table[["test", "family"]].values.tolist()[0] == ["strong", "shuffled_labels"]
    assert len(table) == 6
    assert table["q"].to_numpy() == pytest.approx(benjamini_hochberg(table["p"].to_numpy()), nan_ok=True)
    alone = batteries["strong"].to_frame()
    assert alone["q"].to_numpy() == pytest.approx(benjamini_hochberg(alone["p"].to_numpy()), nan_ok=True)
    assert {"observed", "best_layer", "null_95", "p_floor", "n", "best_member", "best_value"} <= set(table.columns)


def test_contrasts_come_from_activations_too():
    values, questions = torch.randn(4, 2, 3), pd.DataFrame({"question": ["a", "a", "b", "b"]})
    made = contrast_of(activations(values, samples=questions), activations(-values, samples=questions))
    assert np.array_equal(made.values, torch.cat([values, -values]).numpy())
    assert made.labels.tolist() == [True] * 4 + [False] * 4
    assert made.questions.tolist() == ["a", "a", "b", "b"] * 2
    with pytest.raises(AlignmentError, match="activations without questions"):
        contrast_of(activations(values), activations(values))


def test_mistakes_are_named():
    training, (targets, outcomes) = contrast(), graded(1.0)
    vectors = difference(training)
    with pytest.raises(
        AlignmentError, match=r"targets must have the \(layers, width\) of the direction, \(3, 8\), got \(2, 8\)"
    ):
        null_battery(vectors, training, targets[:, 1:], outcomes, correlation_statistic)
    with pytest.raises(AlignmentError, match="other vectors calm must have the"):
        null_battery(
            vectors, training, targets, outcomes, correlation_statistic, other_vectors={"calm": vectors[:, 1:]}
        )
    with pytest.raises(AlignmentError, match="got 30 targets and 29 outcomes"):
        null_battery(vectors, training, targets, outcomes[1:], correlation_statistic)
    with pytest.raises(AlignmentError, match="targets or outcomes hold values that are not finite"):
        null_battery(vectors, training, targets, outcomes * NAN, correlation_statistic)
    with pytest.raises(ConfigError, match="n_draws must be 1 to 1000000, got 0"):
        null_battery(vectors, training, targets, outcomes, correlation_statistic, n_draws=0)
    with pytest.raises(ConfigError, match="this null battery has no family 'other_traits'"):
        null_battery(vectors, training, targets, outcomes, correlation_statistic, n_draws=1)["other_traits"]
    with pytest.raises(EmptySelectionError, match="train_negative has no rows"):
        Contrast.of(np.ones((1, 1, 1)), np.ones((0, 1, 1)), np.zeros(1), np.zeros(0))
