import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.measurements.separation import separation_profile
from persona_interp.statistics import auc, nulls
from persona_interp.statistics.null_directions import matched_random_directions
from persona_interp.statistics.permutation import shuffled_labels

LAYERS, WIDTH, QUESTIONS = 3, 8, np.repeat(np.arange(6), 2)
Sets = dict[str, np.ndarray]


def simulate(shifts: tuple[float, ...] = (0.0, 0.0, 0.0), seed: int = 0) -> dict[str, Any]:
    """Positives are moved along axis 0 by a shift for each layer."""
    rng = np.random.default_rng(seed)
    sets: Sets = {}
    for split, offset in (("train", 0), ("test", 100)):
        for pole in ("positive", "negative"):
            rows = rng.standard_normal((12, LAYERS, WIDTH)).astype(np.float32)
            if pole == "positive":
                rows[:, :, 0] += np.array(shifts, dtype=np.float32)
            sets[f"{split}_{pole}"] = rows
            sets[f"{split}_{pole}_questions"] = QUESTIONS + offset
    return sets


def test_auc_and_norm_are_those_of_the_mean_difference():
    sets = simulate((0.5, 1.0, 0.0))
    profile = separation_profile(**sets, n_null=5)
    for layer in range(LAYERS):
        difference = (sets["train_positive"][:, layer].mean(0) - sets["train_negative"][:, layer].mean(0)).astype(float)
        expected = auc(sets["test_positive"][:, layer] @ difference, sets["test_negative"][:, layer] @ difference)
        assert profile.auc[layer] == pytest.approx(expected)
        assert profile.norms[layer] == pytest.approx(np.linalg.norm(difference), rel=1e-5)


def test_a_planted_layer_is_found_beyond_both_nulls():
    sets = simulate((0.0, 4.0, 0.0))
    profile = separation_profile(**sets, n_null=99, shuffled_splits="both", random_covariance="within")
    assert profile.best_layer == 1
    assert profile.auc[1] > 0.95
    assert profile.p_shuffled == pytest.approx(0.01)
    assert profile.p_random < 0.1


def test_shuffling_the_training_labels_alone_lets_an_overwhelming_effect_through():
    sets = simulate((0.0, 20.0, 0.0))
    train, both = (separation_profile(**sets, n_null=99, shuffled_splits=splits) for splits in ("train", "both"))
    assert train.null_shuffled_95[1] == 1.0
    assert train.p_shuffled > 0.2
    assert both.p_shuffled == pytest.approx(0.01)
    assert np.array_equal(train.null_random, both.null_random)


def test_total_covariance_lets_random_directions_find_an_effect_that_is_most_of_the_variance():
    total, within = (
        separation_profile(**simulate((0.0, 20.0, 0.0)), n_null=99, random_covariance=kind)
        for kind in ("total", "within")
    )
    assert total.null_random_95[1] == 1.0
    assert total.p_random > 0.2
    assert within.null_random.mean() < total.null_random.mean()
    assert np.array_equal(total.null_shuffled, within.null_shuffled)


def test_ties_go_to_the_earlier_layer():
    assert separation_profile(**simulate((0.0, 50.0, 50.0)), n_null=1).best_layer == 1


def test_a_difference_that_turns_around_scores_below_one_half():
    sets = simulate((5.0, 5.0, 5.0))
    sets["test_positive"], sets["test_negative"] = sets["test_negative"], sets["test_positive"]
    profile = separation_profile(**sets, n_null=19)
    assert profile.auc.max() < 0.1
    assert profile.p_shuffled > 0.5
    assert profile.p_random > 0.5


def test_results_repeat_and_follow_the_seed():
    first, again, other = (separation_profile(**simulate(), n_null=9, seed=seed) for seed in (1, 1, 2))
    assert first.summary() == again.summary()
    assert first.to_frame().equals(again.to_frame())
    for name in ("null_shuffled", "null_random"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    whole = separation_profile(**simulate((1.0, 0.0, 0.0)), n_null=23)
    monkeypatch.setattr(nulls, "MAX_ELEMENTS", 24 * 4)
    parts = separation_profile(**simulate((1.0, 0.0, 0.0)), n_null=23)
    assert np.array_equal(whole.null_shuffled, parts.null_shuffled)
    assert np.array_equal(whole.null_random, parts.null_random)


def test_a_common_offset_and_scale_change_no_auc():
    """Residual streams carry a large constant part; it must not drown the difference."""
    sets = simulate((1.0, 0.5, 0.0))
    moved = {name: rows if "questions" in name else 4 * rows + np.float32(512) for name, rows in sets.items()}
    plain, far = separation_profile(**sets, n_null=9), separation_profile(**moved, n_null=9)
    assert far.auc == pytest.approx(plain.auc, abs=0.01)
    assert far.norms == pytest.approx(4 * plain.norms, rel=1e-3)


def test_frame_and_summary():
    profile = separation_profile(**simulate((0.0, 6.0, 0.0)), n_null=20)
    frame = profile.to_frame()
    assert list(frame.columns) == ["layer", "auc", "low", "high", "null_shuffled_95", "null_random_95", "norm"]
    assert frame["layer"].tolist() == [0, 1, 2]
    assert (frame["low"] <= frame["auc"]).all()
    assert (frame["auc"] <= frame["high"]).all()
    assert frame["null_random_95"].max() <= profile.null_random.max()
    summary = json.loads(json.dumps(profile.summary()))
    assert summary["best_layer"] == 1
    assert summary["p_random"] == pytest.approx((1 + np.sum(profile.null_random >= summary["auc"])) / 21)
    counts = {name: summary[name] for name in summary if name.startswith("n_")}
    assert counts == {
        "n_null": 20, "n_null_random": 20,
        "n_train_positive": 12, "n_train_negative": 12, "n_test_positive": 12, "n_test_negative": 12,
        "n_test_questions": 6, "n_shared_questions": 0,
    }  # fmt: skip


def test_other_traits_and_components_are_in_the_summary_by_name():
    sets = simulate((0.0, 6.0, 0.0))
    near, far = np.zeros((2, LAYERS, WIDTH))
    near[:, 0], far[:, 5] = -1.0, 1.0
    profile = separation_profile(**sets, n_null=9, other_directions={"near": near, "far": far})
    summary = json.loads(json.dumps(profile.summary()))
    assert summary["best_other_traits"] == "near"
    assert summary["best_auc_other_traits"] > 0.95
    assert summary["p_other_traits"] is None, "three members can give no p below 1/3: no test is possible"
    assert summary["p_floor_other_traits"] == pytest.approx(1 / 3)
    assert summary["best_components"] in {f"PC{k}" for k in range(1, 6)}
    assert summary["p_components"] is None
    assert profile.p_components == profile.battery["components"].p_value
    assert profile.battery["shuffled_labels"].observed == pytest.approx(profile.auc)
    without = separation_profile(**sets, n_null=9)
    assert without.p_other_traits is None and without.summary()["p_other_traits"] is None
    assert without.p_random == profile.p_random


def test_questions_in_both_splits_are_counted():
    sets = simulate()
    sets["test_positive_questions"] = QUESTIONS + 4
    assert separation_profile(**sets, n_null=1).n_shared_questions == 2


def test_constant_activations_give_one_half_and_no_warning():
    sets = simulate()
    flat = {name: rows if "questions" in name else np.ones_like(rows) for name, rows in sets.items()}
    profile = separation_profile(**flat, n_null=5)
    assert profile.auc.tolist() == [0.5] * LAYERS
    assert profile.p_shuffled == 1.0 and np.isnan(profile.p_random)  # no spread, so no random direction


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=4, max_size=16), st.integers(0, 99))
def test_labels_are_shuffled_within_questions(rows: list[tuple[bool, int]], seed: int):
    labels, questions = (np.array(column) for column in zip(*rows, strict=True))
    if not set(questions[labels]) & set(questions[~labels]):
        return
    shuffled = shuffled_labels(labels, questions.astype(str), 7, np.random.default_rng(seed))
    for question in np.unique(questions):
        here = questions == question
        assert (shuffled[:, here].sum(axis=1) == labels[here].sum()).all()


def test_every_permutation_within_a_question_is_equally_likely():
    labels, questions = np.array([True, False, False, True, False]), np.array(["a", "a", "a", "b", "b"])
    shuffled = shuffled_labels(labels, questions, 6000, np.random.default_rng(0))
    patterns, counts = np.unique(shuffled, axis=0, return_counts=True)
    assert len(patterns) == 6
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_random_directions_have_the_covariance_length_and_side_that_are_promised():
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((400, 4)) * np.array([3.0, 1.0, 0.5, 0.0])
    rows -= rows.mean(axis=0)
    difference = np.array([0.0, 2.0, 0.0, 0.0])
    drawn = matched_random_directions(rows, rng.standard_normal((20_000, 400)), difference, rng)
    assert np.linalg.norm(drawn, axis=1) == pytest.approx(np.full(20_000, 2.0))
    assert (drawn @ difference >= 0).all()
    variance = 0.9 * rows.var(axis=0, ddof=1) + 0.1 * rows.var(axis=0, ddof=1).mean()
    normal = rng.standard_normal((20_000, 4)) * np.sqrt(variance)
    expected = np.mean(4 * normal**2 / np.sum(normal**2, axis=1, keepdims=True), axis=0)
    assert np.mean(drawn**2, axis=0) == pytest.approx(expected, rel=0.05)


def test_mistakes_are_named():
    sets = simulate()
    with pytest.raises(EmptySelectionError, match="test_negative has no rows"):
        empty = {"test_negative": sets["test_negative"][:0], "test_negative_questions": QUESTIONS[:0]}
        separation_profile(**{**sets, **empty})
    with pytest.raises(AlignmentError, match="train_positive must have one question, got 11 for 12"):
        separation_profile(**{**sets, "train_positive_questions": QUESTIONS[1:]})
    with pytest.raises(AlignmentError, match=r"same \(layers, width\), got \(3, 8\), \(3, 8\), \(2, 8\), \(3, 8\)"):
        separation_profile(**{**sets, "test_positive": sets["test_positive"][:, 1:]})
    with pytest.raises(AlignmentError, match="train_negative holds activations that are not finite"):
        separation_profile(**{**sets, "train_negative": np.full_like(sets["train_negative"], np.nan)})
    with pytest.raises(AlignmentError, match="labels cannot be shuffled within questions"):
        separation_profile(**{**sets, "train_negative_questions": QUESTIONS + 50})
    with pytest.raises(ConfigError, match="n_null must be 1 to 1000000, got 0"):
        separation_profile(**sets, n_null=0)
