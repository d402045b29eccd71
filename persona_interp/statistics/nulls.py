"""The null battery: what a direction's best layer would show if the direction were another one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import rankdata

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.errors import AlignmentError
from persona_interp.statistics.contrast import Contrast, Flat, Rows, contrast_weights
from persona_interp.statistics.effects import auc_by_layer
from persona_interp.statistics.levels import N_DRAWS
from persona_interp.statistics.null_directions import (
    matched_random_directions,
    paired_components,
    pairs_by_question,
    signed_by,
    unit_rows,
)
from persona_interp.statistics.null_families import NullBattery, NullFamily, battery_table
from persona_interp.statistics.permutation import shuffled_labels, shuffled_rows
from persona_interp.statistics.streams import stream

__all__ = [
    "NullBattery",
    "NullFamily",
    "battery_table",
    "correlation_statistic",
    "null_battery",
    "rank_correlation_statistic",
    "separation_statistic",
]

MAX_ELEMENTS = 4_000_000
"""Largest array of one chunk of null draws: 32 MB in float64."""

Splits = Literal["train", "both"]
Covariance = Literal["total", "within"]
Projections = Float[np.ndarray, "sample draw"]
Outcomes = Shaped[np.ndarray, "draw sample"]
Statistic = Callable[[Projections, Outcomes], Float[np.ndarray, " draw"]]
"""One number a column of projections, with that column's outcomes as a row; larger means a better direction.

Projections are a.v / |v| with the mean over the samples taken off: a statistic must not depend on an offset.
"""


def separation_statistic(projections: Projections, outcomes: Outcomes) -> Float[np.ndarray, " draw"]:
    """AUC of each column; its outcomes are true for positives, equally many in every draw."""
    positives_first = np.take_along_axis(projections, np.argsort(~outcomes, axis=1, kind="stable").T, axis=0)
    n_positive = int(outcomes[0].sum())
    return auc_by_layer(positives_first[:n_positive], positives_first[n_positive:])


def correlation_statistic(projections: Projections, outcomes: Outcomes) -> Float[np.ndarray, " draw"]:
    """Pearson correlation of each column with its outcomes; NaN where one of them is constant."""
    x, y = (column - column.mean(axis=0) for column in (projections, outcomes.T.astype(float)))
    below = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return np.divide((x * y).sum(axis=0), below, out=np.full(x.shape[1], np.nan), where=below > 0)


def rank_correlation_statistic(projections: Projections, outcomes: Outcomes) -> Float[np.ndarray, " draw"]:
    """Spearman correlation of each column with its outcomes; NaN where one of them is constant."""
    return correlation_statistic(rankdata(projections, axis=0), rankdata(outcomes, axis=1))


@checked
def null_battery(
    vectors: Float[np.ndarray, "layer d_model"],
    training: Contrast,
    targets: Rows,
    outcomes: Shaped[np.ndarray, " _"],
    statistic: Statistic = separation_statistic,
    *,
    other_vectors: Mapping[str, Float[np.ndarray, "_ _"]] | None = None,
    target_groups: Shaped[np.ndarray, " _"] | None = None,
    shuffled_splits: Splits | None = "train",
    random_covariance: Covariance = "within",
    n_draws: Count = N_DRAWS,
    n_components: Count = 5,
    seed: Seed = 0,
) -> NullBattery:
    """A direction's best statistic over layers, against four families of directions that take their own best layer.

    `shuffled_labels`: mean differences of the training rows with labels permuted within each question.
    `random_directions`: normal, with the covariance of the training rows shrunk by 0.1. In both a draw uses the same
    random weights of the training rows at every layer, so its layers are as correlated as those of a true difference.
    Rows without any spread (one a pole, centred `within`) allow no random direction: its values and p are then NaN.
    `other_traits`: the vectors given by name. `components`: the first principal components of the differences of
    paired positive and negative training rows, about the mean difference; the k-th of every layer is one member.

    Random directions, other traits and components point to the positive side of the training rows, as the direction
    itself does; a reversed vector of an opposite trait is a member like any other. Lengths do not matter, since
    projections divide by them.

    Args:
        vectors: the direction, a row a layer of `training` and `targets`.
        targets: activations (or shifts of activations) that the statistic projects; held out from training.
        outcomes: what a projection should tell, one a target: true for positives, an expression score, ...
        other_vectors: rows as in `vectors`; without them the battery has no family `other_traits`.
        target_groups: with `both`, outcomes are permuted within these (questions); without them, over all targets.
        shuffled_splits: `both` permutes the outcomes of the family `shuffled_labels` too (see `separation_profile`);
            None leaves the family out.
        random_covariance: `within` centres each pole of the training rows first, so that random directions do not
            hold the effect itself; `total` does not.

    Raises:
        AlignmentError: shapes differ, or labels cannot be shuffled within questions.
    """
    others = dict(other_vectors or {})
    _check_shapes(vectors, training, targets, outcomes, others)
    pairs = pairs_by_question(training.labels, training.questions)
    n_components = min(n_components, max(0, len(pairs) - 1), vectors.shape[1])
    permuted = np.broadcast_to(outcomes, (n_draws, len(outcomes)))
    if shuffled_splits == "both":
        groups = np.zeros(len(outcomes)) if target_groups is None else target_groups
        codes = np.unique(groups.astype(str), return_inverse=True)[1]
        permuted = outcomes[shuffled_rows(codes, n_draws, stream(seed, "targets"))]
    weights = None
    if shuffled_splits is not None:
        weights = contrast_weights(
            shuffled_labels(training.labels, training.questions, n_draws, stream(seed, "labels"))
        )
    mixing = stream(seed, "mixing").standard_normal((n_draws, len(training.labels)))
    plan = _Plan(training, statistic, outcomes, permuted, weights, mixing, random_covariance, seed)
    drawn, fixed = [], []
    for layer, ours in training.layers():
        theirs = targets[:, layer] - targets[:, layer].mean(axis=0, dtype=np.float64)
        drawn.append(plan.random_families(layer, ours, theirs))
        components = paired_components(ours, pairs, n_components)
        fixed.append(plan.fixed(ours, theirs, vectors[layer], [*(v[layer] for v in others.values()), *components]))
    observed, named = np.split(np.stack(fixed, axis=1), [1])
    shuffled, random = np.stack(drawn, axis=2)
    families = [
        NullFamily("shuffled_labels", observed[0], shuffled),
        NullFamily("random_directions", observed[0], random),
        NullFamily("other_traits", observed[0], named[: len(others)], tuple(others)),
        NullFamily("components", observed[0], named[len(others) :], tuple(f"PC{k + 1}" for k in range(n_components))),
    ]
    absent = {"other_traits"} if not others else set()
    absent |= {"shuffled_labels"} if shuffled_splits is None else set()
    return NullBattery(tuple(family for family in families if family.family not in absent))


@dataclass(frozen=True, eq=False)
class _Plan:
    """What all layers share: a draw's weights of the training rows, and its outcomes."""

    training: Contrast
    statistic: Statistic
    outcomes: Shaped[np.ndarray, " target"]
    permuted: Shaped[np.ndarray, "draw target"]
    weights: Float[np.ndarray, "draw sample"] | None
    mixing: Float[np.ndarray, "draw sample"]
    covariance: Covariance
    seed: int

    def random_families(self, layer: int, ours: Flat, theirs: Flat) -> Float[np.ndarray, "two draw"]:
        """The statistic of every shuffled difference and of every random direction at a layer, some draws at a time."""
        labels, difference = self.training.labels, self.training.weights() @ ours
        means = ours[labels].mean(axis=0), ours[~labels].mean(axis=0)
        spread = ours - np.where(labels[:, None], *means) if self.covariance == "within" else ours
        rng, found = stream(self.seed, "noise", layer), np.full((2, len(self.mixing)), np.nan)
        size = max(1, MAX_ELEMENTS // max(len(ours), len(theirs), ours.shape[1]))
        for chunk in (slice(start, start + size) for start in range(0, len(self.mixing), size)):
            random = matched_random_directions(spread, self.mixing[chunk], difference, rng)
            true = np.broadcast_to(self.outcomes, (len(random), len(theirs)))
            if self.weights is not None:
                shuffled = self.weights[chunk] @ ours
                found[0, chunk] = self.statistic(theirs @ unit_rows(shuffled).T, self.permuted[chunk])
            found[1, chunk] = self.statistic(theirs @ unit_rows(random).T, true) if spread.any() else np.nan
        return found

    def fixed(
        self,
        ours: Flat,
        theirs: Flat,
        vector: Float[np.ndarray, " d_model"],
        named: list[Float[np.ndarray, " d_model"]],
    ) -> Float[np.ndarray, " member"]:
        """The statistic of the direction itself, then of the named ones turned to the positive side of training."""
        directions = np.stack([vector, *named]).astype(np.float64)
        directions[1:] = signed_by(directions[1:], self.training.weights() @ ours)
        outcomes = np.broadcast_to(self.outcomes, (len(directions), len(theirs)))
        return self.statistic(theirs @ unit_rows(directions).T, outcomes)


def _check_shapes(
    vectors: Float[np.ndarray, "layer d_model"],
    training: Contrast,
    targets: Rows,
    outcomes: Shaped[np.ndarray, " _"],
    others: Mapping[str, Float[np.ndarray, "_ _"]],
) -> None:
    shapes = {"vectors": vectors.shape, "training": training.values.shape[1:], "targets": targets.shape[1:]}
    shapes |= {f"other vectors {name}": other.shape for name, other in others.items()}
    if wrong := [name for name, shape in shapes.items() if shape != vectors.shape]:
        raise AlignmentError(
            f"{wrong[0]} must have the (layers, width) of the direction, {vectors.shape}, got {shapes[wrong[0]]}.",
            "All must come from one model and the same hookpoints, in the same order.",
        )
    if len(outcomes) != len(targets):
        raise AlignmentError(
            f"every target must have one outcome, got {len(targets)} targets and {len(outcomes)} outcomes."
        )
    if not np.isfinite(targets).all() or not np.isfinite(np.asarray(outcomes, dtype=float)).all():
        raise AlignmentError("targets or outcomes hold values that are not finite.", "Leave those rows out.")
