"""Correlations, AUC and effect sizes: numbers without intervals."""

import numpy as np
from jaxtyping import Float, Num
from scipy.stats import rankdata

from persona_interp.statistics.rows import Vector, check_rows

_ROUNDING = 1e-9


def first_largest(values: Vector) -> int:
    """The first place of the largest value, where values that differ by rounding alone are equal; 0 if all are NaN.

    Ties of rank statistics are rounded in another way on another processor, and would choose another layer there.
    """
    if np.isnan(values).all():
        return 0
    largest = float(np.nanmax(values))
    if np.isinf(largest):
        return int(np.nanargmax(values))
    return int(np.flatnonzero(values >= largest - _ROUNDING * max(1.0, abs(largest)))[0])


def pearson(x: Vector, y: Vector) -> float:
    """Pearson correlation, -1 to 1; NaN where a column is constant or has one row."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - np.mean(x), y - np.mean(y)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def spearman(x: Vector, y: Vector) -> float:
    """Spearman rank correlation, -1 to 1, ties at their mean rank; NaN where a column is constant."""
    return pearson(rankdata(x), rankdata(y))


def auc(positive: Vector, negative: Vector) -> float:
    """P(positive > negative) + P(positive = negative) / 2, the Mann-Whitney statistic over all pairs, 0 to 1."""
    return float(auc_by_layer(positive[:, None], negative[:, None])[0])


def auc_by_layer(
    positive: Num[np.ndarray, "positive layer"], negative: Num[np.ndarray, "negative layer"]
) -> Float[np.ndarray, " layer"]:
    """The AUC of every layer (any second axis will do), from rank sums; ties count one half."""
    check_rows(positive, negative)
    n_positive, n_negative = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]), axis=0)
    smallest = n_positive * (n_positive + 1) / 2
    return (ranks[:n_positive].sum(axis=0) - smallest) / (n_positive * n_negative)


def cliffs_delta(positive: Vector, negative: Vector) -> float:
    """P(positive > negative) - P(positive < negative) = 2 AUC - 1, from -1 to 1, 0 where neither is larger.

    Source: Cliff 1993, Dominance statistics.
    """
    return 2 * auc(positive, negative) - 1


def cohens_d(positive: Vector, negative: Vector, *, hedges_correction: bool = False) -> float:
    """(mean of positive - mean of negative) / pooled standard deviation; NaN where that is zero or unknown.

    Args:
        hedges_correction: multiply by 1 - 3 / (4 (n - 2) - 1), which removes the upward bias of small samples.
    """
    check_rows(positive, negative)
    freedom = len(positive) + len(negative) - 2
    squares = sum(float(np.sum((side - np.mean(side)) ** 2)) for side in (positive, negative))
    if freedom < 1 or squares == 0:
        return float("nan")
    d = float(np.mean(positive) - np.mean(negative)) / np.sqrt(squares / freedom)
    return float(d * (1 - 3 / (4 * freedom - 1)) if hedges_correction else d)
