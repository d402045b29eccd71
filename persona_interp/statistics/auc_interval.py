"""Intervals of an AUC on the logit, from the share of comparisons that every row wins, clustered."""

from math import sqrt

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from persona_interp.statistics.effects import auc_by_layer
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import Interval, check_level
from persona_interp.statistics.rows import Labels, cluster_codes

Codes = Int[np.ndarray, "..."]


def auc_intervals(
    positive: Num[np.ndarray, "positive layer"],
    negative: Num[np.ndarray, "negative layer"],
    clusters_positive: Labels,
    clusters_negative: Labels,
    *,
    level: float = CONFIDENCE,
) -> list[Interval]:
    """The AUC of every layer, each with an interval over clusters for a layer named before these data were seen.

    Clusters may be on both sides (a question answered with and without the trait) or on one. Measured coverage at level
    0.95, from 12 pairs to 8 against 94 rows and AUC 0.5 to 0.99: tests/golden/levels/intervals.csv.

    Source: `logit_interval`.
    """
    estimates = auc_by_layer(positive, negative)
    codes = cluster_codes((positive, clusters_positive), (negative, clusters_negative))
    ours, theirs = codes[: len(positive)], codes[len(positive) :]
    won, lost = placements(positive, negative)
    return [
        logit_interval(float(estimate), won[:, layer], lost[:, layer], ours, theirs, level=level)
        for layer, estimate in enumerate(estimates)
    ]


def auc_p(found: Interval) -> float:
    """Two-sided p of an AUC against one half, by its error on log-odds: below 0.05 where the interval leaves 0.5 out.

    NaN where the error is not known, as at an AUC of 0 or 1.
    """
    if np.isnan(found.error):
        return float("nan")
    return float(2 * student.sf(abs(logit(found.estimate)) / found.error, found.freedom))


def auc_test(found: Interval) -> float:
    """`auc_p`, and at an AUC of 0 or 1 the p by the interval that half a comparison from the boundary gives there.

    NaN with one cluster on a side. Measured level: tests/golden/levels/others.csv.
    """
    if found.estimate not in (0.0, 1.0) or np.isnan(found.freedom):
        return auc_p(found)
    smaller = int(found.freedom) + 1
    centre = (found.estimate * smaller + 0.5) / (smaller + 1)
    error = sqrt(hanley_variance(centre, smaller)) / (centre * (1 - centre))
    return float(2 * student.sf(abs(logit(centre)) / error, found.freedom))


def delta_p(delta: float, n: int) -> float:
    """Two-sided p of a Cliff's delta of zero, by the rank sum's variance where nothing differs.

    Where answers share questions, the p of as many answers as there are questions is larger than it need be. Levels of
    this and of `auc_p`: tests/golden/levels/others.csv.

    Args:
        n: independent answers a side.

    Source: Mann and Whitney 1947, On a Test of Whether one of Two Random Variables is Stochastically Larger.
    """
    return float(2 * norm.sf(abs(delta) / (2 * sqrt((2 * n + 1) / (12 * n * n)))))


def placements(
    positive: Num[np.ndarray, "positive layer"], negative: Num[np.ndarray, "negative layer"]
) -> tuple[Float[np.ndarray, "positive layer"], Float[np.ndarray, "negative layer"]]:
    """The share of comparisons with the other side that go the right way, of every row; ties count one half."""
    n, m = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]), axis=0)
    return (ranks[:n] - rankdata(positive, axis=0)) / m, 1 - (ranks[n:] - rankdata(negative, axis=0)) / n


def logit_interval(
    estimate: float,
    positive: Float[np.ndarray, " positive"],
    negative: Float[np.ndarray, " negative"],
    clusters_positive: Codes,
    clusters_negative: Codes,
    *,
    level: float = CONFIDENCE,
) -> Interval:
    """Interval of an AUC from the share of comparisons that every row wins for it; NaN with one cluster on a side.

    The variance is that of the placements (DeLong), summed over clusters; degrees of freedom are those of the clusters,
    or of the smaller side's where no cluster is on both sides. At an estimate of 0 or 1, where placements do not vary,
    it is that of as many independent rows a side as the smaller side has clusters, around an AUC half a comparison from
    the boundary, so that a perfect separation of few questions is no certainty.

    Source: DeLong et al. 1988; Hanley and McNeil 1982; Obuchowski 1997 (clusters).
    """
    check_level(level)
    n_positive, n_negative = len(np.unique(clusters_positive)), len(np.unique(clusters_negative))
    n_clusters, n = len(np.union1d(clusters_positive, clusters_negative)), len(positive) + len(negative)
    smaller = min(n_positive, n_negative)
    if smaller < 2 or np.isnan(estimate):
        return Interval(estimate, float("nan"), float("nan"), n, n_clusters, level)
    variance, freedom = placement_variance(positive, negative, clusters_positive, clusters_negative)
    if variance <= 0 or estimate in (0.0, 1.0):
        centre, known = (estimate * smaller + 0.5) / (smaller + 1), estimate not in (0.0, 1.0)
        low, high = ends_of_independent(estimate, centre, smaller, level=level)
        variance, freedom = hanley_variance(centre, smaller), smaller - 1
    else:
        centre, known = estimate, True
        low, high = _ends(estimate, estimate, variance, freedom, level)
    error = float(np.sqrt(variance)) / (centre * (1 - centre)) if known else float("nan")
    return Interval(estimate, low, high, n, n_clusters, level, error=error, freedom=float(freedom))


def ends_of_independent(auc: float, centre: float, n: int, *, level: float = CONFIDENCE) -> tuple[float, float]:
    """Ends of the interval of an AUC of n independent rows a side, on the logit around `centre`.

    Args:
        centre: the AUC itself, or where that is 0 or 1 one inside; the ends hold `auc` in any case.

    Source: Hanley and McNeil 1982, The meaning and use of the area under a ROC curve.
    """
    return _ends(auc, centre, hanley_variance(centre, n), n - 1, level)


def _ends(auc: float, centre: float, variance: float, freedom: int, level: float) -> tuple[float, float]:
    half = student.ppf((1 + level) / 2, freedom) * np.sqrt(variance) / (centre * (1 - centre))
    low, high = expit(logit(centre) - half), expit(logit(centre) + half)
    return float(min(low, auc)), float(max(high, auc))


def placement_variance(
    positive: Float[np.ndarray, " positive"], negative: Float[np.ndarray, " negative"], ours: Codes, theirs: Codes
) -> tuple[float, int]:
    """Variance of the mean placement (or difference of two) over clusters, and its degrees of freedom."""
    size = int(max(ours.max(), theirs.max())) + 1
    of_positive, of_negative = (
        np.bincount(codes, (side - side.mean()) / len(side), size)
        for side, codes in ((positive, ours), (negative, theirs))
    )
    n, m, either = (len(np.unique(codes)) for codes in (ours, theirs, np.concatenate([ours, theirs])))
    if either < n + m:
        return float(((of_positive + of_negative) ** 2).sum()) * either / (either - 1), either - 1
    variance = float((of_positive**2).sum()) * n / (n - 1) + float((of_negative**2).sum()) * m / (m - 1)
    return variance, min(n, m) - 1


def hanley_variance(auc: float, n: int) -> float:
    """Variance of an AUC of n positives and n negatives (Hanley and McNeil 1982)."""
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    return (auc * (1 - auc) + (n - 1) * (one - auc**2 + two - auc**2)) / n**2
