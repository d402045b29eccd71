"""Held-out separation of a contrastive direction, layer by layer, and what chance gives for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped
from pandas import DataFrame

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.measurements.statistics import Interval, auc_by_layer, bootstrap_auc_by_layer, permutation_p_value

SHRINKAGE = 0.1
"""Share of the random directions' variance that is the same along every axis."""

MAX_ELEMENTS = 4_000_000
"""Largest array of one chunk of null draws: 32 MB in float64."""

Rows = Float[np.ndarray, "_ _ _"]
Flat = Float[np.ndarray, "_ d_model"]
Scores = Float[np.ndarray, "sample layer"]
Labels = Bool[np.ndarray, "draw sample"]
Aucs = Float[np.ndarray, "draw layer"]
Questions = Shaped[np.ndarray, " _"]


@dataclass(frozen=True, eq=False)
class SeparationProfile:
    """How well each layer's mean difference tells held-out positives from negatives, with two nulls of its maximum.

    An AUC above 0.5 means that positives project higher. The intervals hold for a layer named in advance. The best
    layer was chosen on these very data, so its own AUC is optimistic: judge it by the p-values, whose nulls choose
    their best layer too.

    Args:
        intervals: held-out AUC of each layer with its cluster-bootstrap interval.
        norms: length of the mean difference, in units of the residual stream.
        null_shuffled: largest AUC over layers for each shuffling of the training labels.
        null_random: the same for each set of covariance-matched random directions.
        null_shuffled_95: 95th percentile of that null at each layer alone, for figures.
        null_random_95: the same of the random directions.
        n_shared_questions: questions that are in both training and test; 0 where the test is held out by question.
    """

    intervals: tuple[Interval, ...]
    norms: Float[np.ndarray, " layer"]
    null_shuffled: Float[np.ndarray, " draw"]
    null_random: Float[np.ndarray, " draw"]
    null_shuffled_95: Float[np.ndarray, " layer"]
    null_random_95: Float[np.ndarray, " layer"]
    n_train: tuple[int, int]
    n_test: tuple[int, int]
    n_shared_questions: int

    @property
    def auc(self) -> Float[np.ndarray, " layer"]:
        """Held-out AUC of each layer."""
        return np.array([interval.estimate for interval in self.intervals])

    @property
    def best_layer(self) -> int:
        """The layer with the largest held-out AUC; the earliest of equals."""
        return int(np.argmax(self.auc))

    @property
    def p_shuffled(self) -> float:
        """One-sided p-value of the largest AUC against shuffled training labels."""
        return permutation_p_value(float(self.auc.max()), self.null_shuffled)

    @property
    def p_random(self) -> float:
        """One-sided p-value of the largest AUC against covariance-matched random directions."""
        return permutation_p_value(float(self.auc.max()), self.null_random)

    def to_frame(self) -> DataFrame:
        """One row a layer, for tables and figures."""
        return DataFrame(
            {
                "layer": np.arange(len(self.intervals)),
                "auc": self.auc,
                "low": [interval.low for interval in self.intervals],
                "high": [interval.high for interval in self.intervals],
                "null_shuffled_95": self.null_shuffled_95,
                "null_random_95": self.null_random_95,
                "norm": self.norms,
            }
        )

    def summary(self) -> dict[str, Any]:
        """The best layer, its AUC, both p-values and all counts, JSON-ready."""
        best = self.intervals[self.best_layer]
        return {
            **{"best_layer": self.best_layer, "auc": best.estimate, "auc_low": best.low, "auc_high": best.high},
            **{"level": best.level, "p_shuffled": self.p_shuffled, "p_random": self.p_random},
            "n_null": len(self.null_shuffled),
            **dict(zip(("n_train_positive", "n_train_negative"), self.n_train, strict=True)),
            **dict(zip(("n_test_positive", "n_test_negative"), self.n_test, strict=True)),
            "n_test_questions": best.n_clusters,
            "n_shared_questions": self.n_shared_questions,
        }


@dataclass(frozen=True, eq=False)
class _Side:
    """Training or test: all rows, positives first, with their labels and questions."""

    values: Rows
    labels: Bool[np.ndarray, " sample"]
    questions: Questions


def separation_profile(
    *,
    train_positive: Rows,
    train_negative: Rows,
    test_positive: Rows,
    test_negative: Rows,
    train_positive_questions: Questions,
    train_negative_questions: Questions,
    test_positive_questions: Questions,
    test_negative_questions: Questions,
    n_null: int = 200,
    shuffled_splits: Literal["train", "both"] = "train",
    random_covariance: Literal["total", "within"] = "total",
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> SeparationProfile:
    """AUC of test projections on the training mean difference, per layer, against two nulls of its maximum.

    Shuffled labels: training labels are permuted within each question, so the null keeps what questions do.
    Random directions: normal with the covariance of the training activations (shrunk), as long as the true
    difference, and pointing to the positive side of training. In both a draw uses the same random weights of the
    training rows at every layer, so its layers are as correlated as those of a true difference.

    Where there is no effect, shuffling rejects at its level and random directions less often than theirs: at level
    0.1, 0.09 to 0.11 and 0.05 to 0.08 of simulated sets, with independent layers or with correlated layers and rows.

    Args:
        shuffled_splits: `train` scores directions from shuffled labels on the true test labels. Such a direction keeps
            a random part of the effect, so where the effect is many times the spread it separates too, and
            `p_shuffled` is large. `both` shuffles the test labels as well, and has no such ceiling.
        random_covariance: `total` is that of all training rows, so it holds the effect itself: where a strong effect
            is a large part of the variance, random directions find it too and `p_random` is large. `within` centres
            each pole on its own mean first, and asks for more than the variation inside the poles.

    Raises:
        AlignmentError: shapes or question labels do not match, values are not finite, or no training question has
            both a positive and a negative row, so that labels cannot be shuffled within questions.
        EmptySelectionError: one of the four sets has no rows.
    """
    if n_null < 1:
        raise ConfigError(f"a null distribution cannot have {n_null} draws.", "Use 200 or more.")
    _check_shapes(train_positive, train_negative, test_positive, test_negative)
    train = _side("train", train_positive, train_negative, train_positive_questions, train_negative_questions)
    test = _side("test", test_positive, test_negative, test_positive_questions, test_negative_questions)
    scores, norms = _project_on_difference(train, test)
    test_labels = np.broadcast_to(test.labels, (n_null, len(test.labels)))
    if shuffled_splits == "both":
        test_labels = shuffled_labels(test.labels, test.questions, n_null, np.random.default_rng([seed, 3]))
    shuffled, random = _null_aucs(train, test, test_labels, n_null, random_covariance, seed)
    intervals = bootstrap_auc_by_layer(
        scores[test.labels],
        scores[~test.labels],
        test_positive_questions,
        test_negative_questions,
        n_resamples=n_resamples,
        level=level,
        seed=seed,
    )
    return SeparationProfile(
        intervals=tuple(intervals),
        norms=norms,
        null_shuffled=shuffled.max(axis=1),
        null_random=random.max(axis=1),
        null_shuffled_95=np.quantile(shuffled, 0.95, axis=0),
        null_random_95=np.quantile(random, 0.95, axis=0),
        n_train=(len(train_positive), len(train_negative)),
        n_test=(len(test_positive), len(test_negative)),
        n_shared_questions=len(np.intersect1d(train.questions, test.questions)),
    )


def _side(
    name: str, positive: Rows, negative: Rows, questions_positive: Questions, questions_negative: Questions
) -> _Side:
    for pole, rows, asked in (("positive", positive, questions_positive), ("negative", negative, questions_negative)):
        if len(rows) == 0:
            raise EmptySelectionError(f"{name}_{pole} has no rows.", "Look at what the filter left.")
        if len(rows) != len(asked):
            raise AlignmentError(
                f"{name}_{pole} has {len(rows)} rows and {len(asked)} questions.", "Every row needs its question."
            )
        if not np.isfinite(rows).all():
            raise AlignmentError(f"{name}_{pole} holds activations that are not finite.", "Leave those rows out.")
    labels = np.arange(len(positive) + len(negative)) < len(positive)
    questions = np.concatenate([questions_positive, questions_negative]).astype(str)
    return _Side(np.concatenate([positive, negative]), labels, questions)


def _check_shapes(*sets: Rows) -> None:
    if len({rows.shape[1:] for rows in sets}) > 1:
        raise AlignmentError(
            f"the four sets differ in (layers, width): {', '.join(str(rows.shape[1:]) for rows in sets)} came.",
            "All must come from one model and its hookpoints.",
        )


def _layers(train: _Side, test: _Side) -> Iterator[tuple[int, Flat, Flat]]:
    """Each layer in float64, both sides centred on the training mean, which changes no difference and no order."""
    for layer in range(train.values.shape[1]):
        centre = train.values[:, layer].mean(axis=0, dtype=np.float64)
        yield layer, train.values[:, layer] - centre, test.values[:, layer] - centre


def _contrast(labels: Labels) -> Float[np.ndarray, "draw sample"]:
    """Weights of the rows in mean(positive) - mean(negative)."""
    return labels / labels.sum(axis=1, keepdims=True) - ~labels / (~labels).sum(axis=1, keepdims=True)


def _project_on_difference(train: _Side, test: _Side) -> tuple[Scores, Float[np.ndarray, " layer"]]:
    """Test projections on each layer's mean difference, not normalised, and the length of that difference."""
    weights = _contrast(train.labels[None])[0]
    scores, norms = [], []
    for _, ours, theirs in _layers(train, test):
        difference = weights @ ours
        scores.append(theirs @ difference)
        norms.append(np.linalg.norm(difference))
    return np.stack(scores, axis=1), np.array(norms)


def _null_aucs(
    train: _Side, test: _Side, test_labels: Labels, n_null: int, covariance: str, seed: int
) -> tuple[Aucs, Aucs]:
    """Held-out AUC of every null draw at every layer: shuffled labels (scored on `test_labels`), random directions."""
    shuffled, random = np.empty((2, n_null, train.values.shape[1]))
    labels = shuffled_labels(train.labels, train.questions, n_null, np.random.default_rng([seed, 0]))
    weights, mixing = _contrast(labels), np.random.default_rng([seed, 1]).standard_normal(labels.shape)
    true_labels = np.broadcast_to(test.labels, test_labels.shape)
    size = max(1, MAX_ELEMENTS // max(len(train.labels), len(test.labels), train.values.shape[2]))
    for layer, ours, theirs in _layers(train, test):
        means = ours[train.labels].mean(axis=0), ours[~train.labels].mean(axis=0)
        spread = ours - np.where(train.labels[:, None], *means) if covariance == "within" else ours
        rng = np.random.default_rng([seed, 2, layer])
        for chunk in (slice(start, start + size) for start in range(0, n_null, size)):
            directions = matched_random_directions(spread, mixing[chunk], means[0] - means[1], rng)
            shuffled[chunk, layer] = _draw_aucs(theirs @ (weights[chunk] @ ours).T, test_labels[chunk])
            random[chunk, layer] = _draw_aucs(theirs @ directions.T, true_labels[chunk])
    return shuffled, random


def _draw_aucs(scores: Float[np.ndarray, "sample draw"], labels: Labels) -> Float[np.ndarray, " draw"]:
    """The AUC of each column of scores under its own labels, which all have the same number of positives."""
    positives_first = np.take_along_axis(scores, np.argsort(~labels, axis=1, kind="stable").T, axis=0)
    n_positive = int(labels[0].sum())
    return auc_by_layer(positives_first[:n_positive], positives_first[n_positive:])


def shuffled_labels(
    labels: Bool[np.ndarray, " sample"], questions: Questions, n_draws: int, rng: np.random.Generator
) -> Bool[np.ndarray, "draw sample"]:
    """Permutations of the labels within each question, which keeps how many positives a question has.

    Raises:
        AlignmentError: no question has rows of both labels, so every permutation is the identity.
    """
    codes = np.unique(questions, return_inverse=True)[1]
    if not np.intersect1d(codes[labels], codes[~labels]).size:
        raise AlignmentError(
            "labels cannot be shuffled within questions: no training question has a positive and a negative row.",
            "Keep both answers of a question when filtering, or give all rows one question to shuffle across them.",
        )
    order = np.argsort(codes + rng.random((n_draws, len(codes))), axis=1)
    shuffled = np.empty((n_draws, len(codes)), dtype=bool)
    np.put_along_axis(shuffled, order, np.broadcast_to(labels[np.argsort(codes, kind="stable")], order.shape), axis=1)
    return shuffled


def matched_random_directions(
    centred: Flat,
    mixing: Float[np.ndarray, "draw sample"],
    difference: Float[np.ndarray, " d_model"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw d_model"]:
    """Normal directions with covariance (1 - s) * Sigma + s * mean(diag Sigma) * I, where s = SHRINKAGE.

    Sigma is the covariance of the centred rows, mixed by standard normal weights (`mixing`) and never formed. Each
    is as long as the difference of the training means, and on its side.
    """
    freedom = len(centred) - 1
    isotropic = np.sqrt(np.sum(centred**2) / freedom / centred.shape[1])
    noise = rng.standard_normal((len(mixing), centred.shape[1]))
    drawn = np.sqrt((1 - SHRINKAGE) / freedom) * mixing @ centred + np.sqrt(SHRINKAGE) * isotropic * noise
    lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
    signs = np.where(drawn @ difference < 0, -1.0, 1.0)[:, None]
    return signs * drawn * np.divide(np.linalg.norm(difference), lengths, out=np.zeros_like(lengths), where=lengths > 0)
