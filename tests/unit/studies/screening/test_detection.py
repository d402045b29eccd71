"""Detection of labelled samples: values against brute force and scikit-learn, coverage, and no leak in combinations."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.studies.screening import detection
from persona_interp.studies.screening.detection import (
    auc_differences,
    cross_fitted_logistic,
    detection_table,
    percentile_threshold,
    rank_average,
)

LABELS = np.array([True, True, False, False, False])


def value(scores: dict[str, np.ndarray], labels: np.ndarray, metric: str, **options) -> float:
    table = detection_table(scores, labels, n_resamples=2, **options)
    return float(table.loc[table["metric"] == metric, "value"].iloc[0])


def mixture(seed: int, *, n: int = 100, share: float = 0.3, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores whose labelled samples are shifted; their AUC is Phi(shift / sqrt(2))."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) < share * n
    return rng.normal(size=n) + shift * labels, labels


def test_known_values() -> None:
    scores = np.array([5.0, 2.0, 4.0, 1.0, 0.0])
    assert value({"s": scores}, LABELS, "AUC", ks=()) == pytest.approx(5 / 6)
    assert value({"s": scores}, LABELS, "average precision", ks=()) == pytest.approx((1 + 2 / 3) / 2)
    assert [value({"s": scores}, LABELS, f"precision at {k}", ks=(k,)) for k in (1, 2, 3, 5)] == pytest.approx(
        [1, 1 / 2, 2 / 3, 2 / 5]
    )
    flat = np.ones(5)
    assert value({"s": flat}, LABELS, "AUC", ks=()) == 0.5
    assert value({"s": flat}, LABELS, "precision at 1", ks=(1,)) == pytest.approx(2 / 5)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
@settings(max_examples=80, deadline=None)
def test_values_are_those_of_scikit_learn_with_ties(rows: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([float(score) for score, _ in rows]), np.array([label for _, label in rows])
    if len(set(labels.tolist())) < 2:
        return
    assert value({"s": scores}, labels, "AUC", ks=()) == pytest.approx(float(roc_auc_score(labels, scores)))
    expected = float(average_precision_score(labels, scores))
    assert value({"s": scores}, labels, "average precision", ks=()) == pytest.approx(expected)
    k = len(rows) // 2
    shuffles = np.random.default_rng(0).permuted(np.tile(np.arange(len(rows)), (4000, 1)), axis=1)
    firsts = [labels[order[np.argsort(-scores[order], kind="stable")[:k]]].mean() for order in shuffles]
    assert value({"s": scores}, labels, f"precision at {k}", ks=(k,)) == pytest.approx(np.mean(firsts), abs=0.05)


def test_bootstrap_draws_are_those_of_copied_rows() -> None:
    scores, labels = mixture(1, n=24)
    groups = np.repeat(np.arange(8), 3)
    resampling = detection._resampling(labels, groups, 30, 0)
    drawn = detection._drawn(
        np.round(scores, 0),
        labels,
        resampling,
        lambda ranking: {"average precision": ranking.average_precision()},
    )
    for i, weights in enumerate(resampling.weights()):
        rows = np.repeat(np.arange(24), weights.astype(int))
        if len(set(labels[rows].tolist())) < 2:
            continue
        expected = float(average_precision_score(labels[rows], np.round(scores, 0)[rows]))
        assert drawn["average precision"][i] == pytest.approx(expected)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Measured with these 150 sets: 0.91 for the AUC, 0.92 for its difference."""
    truth, hits = float(norm.cdf(1 / np.sqrt(2))), {"AUC": 0, "difference": 0}
    for seed in range(150):
        scores, labels = mixture(seed)
        other, _ = mixture(1000 + seed)
        table = detection_table({"a": scores}, labels, ks=(), n_resamples=300)
        row = table[table["metric"] == "AUC"].iloc[0]
        hits["AUC"] += row["low"] <= truth <= row["high"]
        pair = auc_differences({"a": scores, "b": other}, labels).iloc[0]
        hits["difference"] += pair["low"] <= 0 <= pair["high"]
    assert all(0.88 <= n / 150 <= 0.99 for n in hits.values()), hits


def test_differences_are_paired() -> None:
    scores, labels = mixture(3)
    nearly = scores + 0.05 * np.random.default_rng(0).normal(size=len(scores))
    unrelated, _ = mixture(77)
    table = auc_differences({"a": scores, "b": nearly, "c": unrelated}, labels).set_index(["a", "b"])
    assert list(table.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    width = table["high"] - table["low"]
    assert width["a", "b"] < width["a", "c"] / 4
    single = detection_table({"a": scores, "c": unrelated}, labels, ks=())
    single = single[single["metric"] == "AUC"].set_index("score")["value"]
    assert table.loc[("a", "c"), "value"] == pytest.approx(single["a"] - single["c"])


def test_samples_of_a_group_are_resampled_together() -> None:
    scores, labels = mixture(4, n=40)
    copied = np.repeat(scores, 10), np.repeat(labels, 10)
    alone = detection_table({"s": copied[0]}, copied[1], ks=()).iloc[0]
    grouped = detection_table({"s": copied[0]}, copied[1], groups=np.repeat(np.arange(40), 10), ks=()).iloc[0]
    assert grouped["n_groups"] == 40 and grouped["value"] == alone["value"]
    assert grouped["high"] - grouped["low"] > 2 * (alone["high"] - alone["low"])


def test_tables_have_a_row_a_score_and_metric_and_repeat_exactly() -> None:
    scores, labels = mixture(5)
    table = detection_table({"a": scores, "b": -scores}, labels, n_resamples=100)
    metrics = ["AUC", "average precision", "precision at 10", "precision at 50"]
    assert list(zip(table["score"], table["metric"], strict=True)) == list(product("ab", metrics))
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    assert (table["n"] == 100).all() and (table["n_labelled"] == 30).all()
    aucs = table[table["metric"] == "AUC"].set_index("score")["value"]
    assert aucs["a"] + aucs["b"] == pytest.approx(1)
    assert detection_table({"a": scores, "b": -scores}, labels, n_resamples=100).equals(table)


def test_ranks_are_averaged_whatever_the_units() -> None:
    a, b = np.array([1.0, 2.0, 3.0, 3.0]), np.array([1e6, 0.0, 2e6, -5.0])
    np.testing.assert_allclose(rank_average({"a": a}), [0.125, 0.375, 0.75, 0.75])
    np.testing.assert_allclose(rank_average({"a": a, "b": b}), rank_average({"a": np.exp(a), "b": b / 1e6}))
    scores, labels = mixture(6, n=2000)
    other, _ = mixture(7, n=2000)
    table = detection_table(
        {"a": scores, "b": other, "both": rank_average({"a": scores, "b": other})}, labels, n_resamples=2
    )
    aucs = table[table["metric"] == "AUC"].set_index("score")["value"]
    assert aucs["both"] > max(aucs["a"], aucs["b"])


def test_the_logistic_combination_uses_what_each_score_knows() -> None:
    scores, labels = mixture(8, n=600)
    rng = np.random.default_rng(0)
    given = {"a": scores, "reversed": -mixture(9, n=600)[0], "noise": 1000 * rng.normal(size=600)}
    both = cross_fitted_logistic(given, labels)
    assert ((both > 0) & (both < 1)).all()
    aucs = {name: float(roc_auc_score(labels, values)) for name, values in {**given, "both": both}.items()}
    assert aucs["both"] > max(aucs["a"], 1 - aucs["reversed"]) > 0.7
    np.testing.assert_array_equal(both, cross_fitted_logistic(given, labels))


@pytest.mark.parametrize("grouped", [False, True])
def test_the_logistic_combination_of_noise_knows_nothing(grouped: bool) -> None:
    """Twenty scores of pure noise on 80 samples: fitted and tested on the same samples, the AUC would be above 0.7."""
    aucs = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n_groups = 20 if grouped else 80
        groups = np.repeat(np.arange(n_groups), 80 // n_groups)
        labels = rng.permutation(np.arange(n_groups) < n_groups // 4)[groups]
        noise = rng.normal(size=(20, n_groups))[:, groups] + 0.1 * rng.normal(size=(20, 80))
        given = {f"noise {i}": row for i, row in enumerate(noise)}
        aucs.append(float(roc_auc_score(labels, cross_fitted_logistic(given, labels, groups=groups, seed=seed))))
    assert abs(np.mean(aucs) - 0.5) < 0.06, np.mean(aucs)


def test_without_groups_what_copies_share_does_leak() -> None:
    """The reverse of the test above: the groups are what keeps the fit from knowing its test samples."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    labels = (np.arange(20) < 10)[groups]
    given = {str(i): rng.normal(size=20)[groups] + 0.01 * rng.normal(size=200) for i in range(20)}
    assert roc_auc_score(labels, cross_fitted_logistic(given, labels)) > 0.9
    assert roc_auc_score(labels, cross_fitted_logistic(given, labels, groups=groups)) < 0.8


def test_the_threshold_is_exceeded_by_the_rest() -> None:
    clean = np.random.default_rng(0).normal(size=10_000)
    assert (clean > percentile_threshold(clean)).mean() == pytest.approx(0.05, abs=1e-3)
    assert (clean > percentile_threshold(clean, 99.0)).mean() == pytest.approx(0.01, abs=1e-3)
    assert percentile_threshold(np.arange(19.0)) == 18.0, "the largest of the fewest"
    with pytest.raises(ConfigError, match="needs at least 19 independent neutral samples .*, got 18"):
        percentile_threshold(np.arange(18.0))
    with pytest.raises(ConfigError, match="at least 19 .*, got 10"):
        percentile_threshold(np.arange(40.0), groups=np.arange(40) % 10)


@pytest.mark.parametrize(("n", "per_group"), [(34, 1), (49, 1), (100, 1), (24, 4)])
def test_one_new_clean_sample_in_twenty_passes_the_threshold(n: int, per_group: int) -> None:
    """With the sample's own 95th percentile it is 0.074, 0.068 and 0.059; with questions of four answers 0.07."""
    rng, shares = np.random.default_rng(n), []
    for _ in range(600):
        groups = np.repeat(np.arange(n), per_group)
        clean = rng.standard_normal(n)[groups] + 0.5 * rng.standard_normal(n * per_group)
        limit = percentile_threshold(clean, groups=groups)
        shares.append(np.mean(rng.standard_normal(200) + 0.5 * rng.standard_normal(200) > limit))
    error = np.std(shares) / np.sqrt(len(shares))
    assert 0.02 < np.mean(shares) <= 0.05 + 3 * error


def test_what_cannot_be_scored_is_refused() -> None:
    good, labels = mixture(1)
    holed = np.where(np.arange(100) < 3, np.nan, good)
    calls = (
        lambda scores: detection_table(scores, labels),
        lambda scores: auc_differences(scores, labels),
        lambda scores: cross_fitted_logistic(scores, labels),
        rank_average,
    )
    for call in calls:
        with pytest.raises(AlignmentError, match="3 of 100 values of the score bad are not finite"):
            call({"good": good, "bad": holed})
        with pytest.raises(AlignmentError, match="score short must have 100 values, one a sample, got 99"):
            call({"good": good, "short": good[1:]})
        with pytest.raises(EmptySelectionError, match="needs a score"):
            call({})
    with pytest.raises(EmptySelectionError, match="100 of 100 samples are labelled"):
        detection_table({"good": good}, np.ones(100, dtype=bool))
    with pytest.raises(ConfigError, match="ks must be 1 to 100, .* got 500"):
        detection_table({"good": good}, labels, ks=(500,))
    with pytest.raises(AlignmentError, match="got 100 samples and 2 groups"):
        detection_table({"good": good}, labels, groups=np.array([1, 2]))
    with pytest.raises(ConfigError, match="5 folds cannot be made.* 2 groups"):
        cross_fitted_logistic({"good": good}, np.arange(100) < 2)
    with pytest.raises(AlignmentError, match="3 of 100 values of the score clean"):
        percentile_threshold(holed)
    with pytest.raises(ConfigError, match="between 0 and 100, got 950"):
        percentile_threshold(good, 950.0)
    with pytest.raises(EmptySelectionError):
        percentile_threshold(np.zeros(0))
