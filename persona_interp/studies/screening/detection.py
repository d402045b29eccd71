"""How well scores find labelled samples: AUC, average precision and precision at k with intervals, and combinations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.statistics.auc_interval import auc_intervals, auc_p
from persona_interp.statistics.families import corrected
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.paired import auc_difference
from persona_interp.statistics.power import detectable_effect
from persona_interp.statistics.resampling import Interval, Resampling, ratio
from persona_interp.statistics.rows import Labels
from persona_interp.statistics.thresholds import conformal_threshold

Scores = Mapping[str, Float[np.ndarray, " sample"]]
Flags = Bool[np.ndarray, " sample"]
Draws = Float[np.ndarray, " draw"]

_WEIGHTS_AT_ONCE = 2**22
_PAIRED = ("a", "b", "metric", "value", "low", "high", "p", "detectable", "n", "n_groups", "n_labelled")


@checked
def detection_table(
    scores: Scores,
    labels: Flags,
    *,
    groups: Labels | None = None,
    ks: Sequence[Count] = (10, 50),
    n_resamples: Count = 2000,
    level: Between0And1 = CONFIDENCE,
    seed: Seed = 0,
) -> pd.DataFrame:
    """AUC, average precision and precision at k of every score, with bootstrap intervals; one row a score and metric.

    A larger score should mean a labelled sample. AUC is P(labelled > other) + P(equal) / 2, whatever the share of
    labelled samples; 0.5 says nothing, and p (`auc_p`) is against that. Average precision of a score that says nothing
    is that share, and so is its precision at k, the share of labelled ones among the k samples of largest score.
    Samples of equal score come in every order equally often. The AUC has the interval of `logit_interval`; the other
    metrics have stretched bootstrap percentiles, all scores with the same draws, and no p.

    Args:
        groups: samples that are resampled together (a question's, say); default: each by itself.
        ks: a metric `precision at k` each.

    Raises:
        AlignmentError: scores, labels or groups differ in length, or a score has values that are not finite.
        ConfigError: k is not between 1 and the number of samples.
        EmptySelectionError: no score, or labels of one kind only.
    """
    _check(scores, labels)
    for k in ks:
        if not 1 <= k <= len(labels):
            raise ConfigError(f"ks must be 1 to {len(labels)}, the number of samples, got {k}.")
    resampling = _resampling(labels, groups, n_resamples, seed)
    rows = []
    for name, values in scores.items():
        once = _precisions(_Ranking.of(values, labels, np.ones((1, len(labels)))), ks)
        drawn = _drawn(values, labels, resampling, lambda ranking: _precisions(ranking, ks))
        found = {"AUC": _auc_interval(values, labels, resampling, level)} | {
            metric: resampling.interval(float(once[metric][0]), draws, level, bounds=(0.0, 1.0))
            for metric, draws in drawn.items()
        }
        n_labelled = {"n_labelled": int(labels.sum())}
        p = {"AUC": auc_p(found["AUC"])}
        rows += [
            {"score": name, "metric": metric, **_columns(one), **n_labelled, "p": p.get(metric, np.nan)}
            for metric, one in found.items()
        ]
    return pd.DataFrame(rows)


def auc_differences(
    scores: Scores, labels: Flags, *, groups: Labels | None = None, level: float = CONFIDENCE
) -> pd.DataFrame:
    """AUC of one score minus AUC of another on the same samples; one row a pair of scores (`auc_difference`).

    Larger means that score `a` finds labelled samples better than score `b`. p is two-sided, q corrects it over the
    pairs, and `detectable` is the least difference found in 80 % of repetitions; NaN where no test is possible.

    Args:
        groups: as in `detection_table`.

    Raises:
        AlignmentError, EmptySelectionError: as in `detection_table`.
    """
    _check(scores, labels)
    groups = np.arange(len(labels)) if groups is None else groups
    _check_groups(labels, groups)
    rows = []
    for a, b in combinations(scores, 2):
        found = auc_difference(scores[a], scores[b], labels, groups, level=level)
        power = {"p": found.p, "detectable": detectable_effect(found.error, found.freedom)}
        numbers = {"value": found.estimate, "low": found.low, "high": found.high, **power}
        counts = {"n": found.n, "n_groups": found.n_clusters, "n_labelled": int(labels.sum())}
        rows.append({"a": a, "b": b, "metric": "AUC difference", **numbers, **counts})
    return corrected(pd.DataFrame(rows, columns=list(_PAIRED)))


def rank_average(scores: Scores) -> Float[np.ndarray, " sample"]:
    """Mean over scores of a sample's rank, (rank - 1/2) / n, so between 0 and 1; needs no labels.

    Every score counts alike, whatever its units; larger means larger in most of them.

    Raises:
        AlignmentError, EmptySelectionError: as in `detection_table`.
    """
    n = _check(scores)
    return np.mean([(rankdata(values) - 0.5) / n for values in scores.values()], axis=0)


def cross_fitted_logistic(
    scores: Scores, labels: Flags, *, n_folds: int = 5, groups: Labels | None = None, seed: int = 0
) -> Float[np.ndarray, " sample"]:
    """P(labelled) of each sample by a logistic regression on standardised scores, fitted on the other folds only.

    Both kinds of samples have equal weight in the fit, so that a fold's share of labelled samples, which is the
    mirror of the rest's, does not leak into the order of samples across folds: the value is a score, not a frequency.

    Args:
        groups: samples that stay in one fold (a question's, say); default: each by itself.

    Raises:
        AlignmentError, EmptySelectionError: as in `detection_table`.
        ConfigError: too few samples or groups of a kind for so many folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n = _check(scores, labels)
    names = np.arange(n) if groups is None else groups
    _check_groups(labels, names)
    smallest = min(len(np.unique(names[labels == kind])) for kind in (True, False))
    if not 2 <= n_folds <= smallest:
        raise ConfigError(
            f"{n_folds} folds cannot be made: labelled and other samples have {smallest} groups at the least.",
            "Use at least 2 folds, and at most as many as either kind has groups.",
        )
    table, fitted = np.stack(list(scores.values()), axis=1), np.full(n, np.nan)
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for rest, fold in folds.split(table, labels, names):
        if len(np.unique(labels[rest])) < 2:
            raise ConfigError("a fold leaves samples of one kind only to fit on.", "Use fewer folds or smaller groups.")
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        fitted[fold] = model.fit(table[rest], labels[rest]).predict_proba(table[fold])[:, 1]
    return fitted


def percentile_threshold(
    clean: Float[np.ndarray, " sample"], percentile: float = 95.0, *, groups: Labels | None = None
) -> float:
    """The score that a new clean sample exceeds with at most 100 - `percentile` percent probability: flag above it.

    A conformal quantile, whatever the distribution: 0.05 at percentile 95 with 19 samples or with 10,000, where the
    sample's own percentile gives 0.074 with 34 and 0.059 with 100.

    Args:
        groups: clean samples that belong together (a question's), of which new samples bring others; default: each by
            itself.

    Raises:
        AlignmentError: a score is not finite, or samples and groups differ in number.
        ConfigError: the percentile is not between 0 and 100, or there are too few samples (or groups) for it: 19 at 95.
        EmptySelectionError: there is no clean sample.

    Source: `conformal_threshold`.
    """
    n = _check({"clean": clean})
    if not 0 < percentile < 100:
        raise ConfigError(f"a percentile must be between 0 and 100, got {percentile}.", "Use 95, for example.")
    codes = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    if len(codes) != n:
        raise AlignmentError(f"expected one group for each of {n} samples, got {len(codes)}.")
    weights = 1 / np.bincount(codes)[codes]
    return conformal_threshold(clean.astype(float), weights, int(codes.max()) + 1, 1 - percentile / 100)


@dataclass(frozen=True, eq=False)
class _Ranking:
    """Weight of labelled samples, and of all, at every distinct score from the largest down, in every draw."""

    labelled: Float[np.ndarray, "draw level"]
    every: Float[np.ndarray, "draw level"]

    @classmethod
    def of(
        cls, values: Float[np.ndarray, " sample"], labels: Flags, weights: Float[np.ndarray, "draw sample"]
    ) -> "_Ranking":
        order = np.argsort(-values, kind="stable")
        starts = np.flatnonzero(np.diff(values[order], prepend=np.inf) != 0)
        every = weights[:, order]
        return cls(*(np.add.reduceat(part, starts, axis=1) for part in (every * labels[order], every)))

    def average_precision(self) -> Draws:
        """Mean over labelled samples of the precision down to their score; NaN in a draw without any."""
        reached = self.every.cumsum(axis=1)
        precision = np.divide(self.labelled.cumsum(axis=1), reached, out=np.zeros_like(reached), where=reached > 0)
        return ratio((self.labelled * precision).sum(axis=1), self.labelled.sum(axis=1))

    def precision_at(self, k: int) -> Draws:
        """Share of labelled samples among the first k, ties by their mean; NaN in a draw of fewer than k."""
        before = self.every.cumsum(axis=1) - self.every
        taken = np.clip(k - before, 0, self.every)
        share = np.divide(self.labelled, self.every, out=np.zeros_like(self.every), where=self.every > 0)
        return np.where(self.every.sum(axis=1) >= k, (share * taken).sum(axis=1) / k, np.nan)


def _precisions(ranking: _Ranking, ks: Sequence[int]) -> dict[str, Draws]:
    return {"average precision": ranking.average_precision()} | {
        f"precision at {k}": ranking.precision_at(k) for k in ks
    }


def _drawn(
    values: Float[np.ndarray, " sample"],
    labels: Flags,
    resampling: Resampling,
    measured: Callable[[_Ranking], dict[str, Draws]],
) -> dict[str, Draws]:
    """What is measured in every draw, over as many draws at once as memory likes."""
    n_draws, at_once = len(resampling.counts), max(1, _WEIGHTS_AT_ONCE // len(values))
    blocks = [slice(start, start + at_once) for start in range(0, n_draws, at_once)]
    parts = [measured(_Ranking.of(values, labels, resampling.weights(block))) for block in blocks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _auc_interval(
    values: Float[np.ndarray, " sample"], labels: Flags, resampling: Resampling, level: float
) -> Interval:
    columns, codes = values[:, None], resampling.codes
    return auc_intervals(columns[labels], columns[~labels], codes[labels], codes[~labels], level=level)[0]


def _resampling(labels: Flags, groups: Labels | None, n_resamples: int, seed: int) -> Resampling:
    groups = np.arange(len(labels)) if groups is None else groups
    _check_groups(labels, groups)
    return Resampling.of((labels.astype(float), groups, None), n_resamples=n_resamples, seed=seed)


def _columns(found: Interval) -> dict[str, float]:
    return {"value": found.estimate, "low": found.low, "high": found.high, "n": found.n, "n_groups": found.n_clusters}


def _check(scores: Scores, labels: Flags | None = None) -> int:
    """Number of samples, after refusing scores and labels that cannot be compared."""
    if not scores or not len(next(iter(scores.values()))):
        raise EmptySelectionError("detection needs a score, got none of any sample.", "Look at what was filtered out.")
    n = len(next(iter(scores.values()))) if labels is None else len(labels)
    for name, values in scores.items():
        if len(values) != n:
            raise AlignmentError(f"the score {name} must have {n} values, one a sample, got {len(values)}.")
        if bad := int((~np.isfinite(values)).sum()):
            raise AlignmentError(
                f"{bad} of {n} values of the score {name} are not finite.",
                "Leave those samples out of every score and of the labels, and say how many.",
            )
    if labels is not None and len(np.unique(labels)) < 2:
        raise EmptySelectionError(
            f"{int(labels.sum())} of {n} samples are labelled: nothing can be told apart.",
            "Give samples of both kinds.",
        )
    return n


def _check_groups(labels: Flags, groups: Labels) -> None:
    if len(groups) != len(labels):
        raise AlignmentError(f"every sample must have one group, got {len(labels)} samples and {len(groups)} groups.")
