"""How a judge's scores go with labels that people gave: AUC or rank correlation, and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from pandas import DataFrame

from persona_interp.data.labelled import LEAST, LEAST_A_SIDE, Labelled
from persona_interp.statistics import (
    Interval,
    auc_intervals,
    bootstrap_mean,
    correlation_interval,
    slope_interval,
    spearman_p,
)
from persona_interp.statistics.auc_interval import auc_test
from persona_interp.statistics.shares import clustered_share

N_BINS = 5
"""Bins of a reliability table, of equally many answers."""
LEAST_A_BIN = 5
FULL = 100.0
"""A judge that is sure of the trait gives this much."""


@dataclass(frozen=True)
class Bin:
    """Answers of neighbouring scores: their mean score, and the share of them (or mean label) that people see."""

    lowest: float
    highest: float
    score: float
    label: Interval


@dataclass(frozen=True)
class Found:
    """What one judge's scores have to do with the labels.

    Args:
        judge: its name.
        unable: why it rates nothing; the rest is then missing.
        n_rated: answers that it could rate, of `n`.
        orders: AUC of answers with the trait against those without; Spearman's rho where labels are graded.
        p: two-sided, of no relation.
        slope: of the label, in points of 100, on the score; 1 where scores are calibrated, nearer 0 where they say more
            than they know.
        bias: mean score minus mean label, in points of 100.
    """

    judge: str
    n: int
    unable: str | None = None
    n_rated: int = 0
    orders: Interval | None = None
    p: float = float("nan")
    slope: Interval | None = None
    bias: Interval | None = None
    bins: tuple[Bin, ...] = ()


def found_of(judge: str, data: Labelled, scores: Float[np.ndarray, " answer"], *, seed: int = 0) -> Found:
    """Validity of a judge by its scores (0 to 100) of labelled answers; those it could not rate, NaN, are left out."""
    known = np.isfinite(scores)
    if reason := _too_few(data, known, scores):
        return Found(judge, len(data), reason, int(known.sum()))
    scores, labels, groups = scores[known], data.labels[known], np.array(data.groups)[known]
    if data.graded:
        orders = correlation_interval(scores, labels, groups, kind="spearman", seed=seed)
        p = spearman_p(orders)
    else:
        sides = [labels == 1, labels == 0]
        (orders,) = auc_intervals(*(scores[side][:, None] for side in sides), *(groups[side] for side in sides))
        p = auc_test(orders)
    points = labels if data.graded else FULL * labels
    return Found(
        judge,
        len(data),
        n_rated=len(scores),
        orders=orders,
        p=p,
        slope=slope_interval(scores, points, groups, seed=seed),
        bias=bootstrap_mean(scores - points, groups, seed=seed),
        bins=_bins(scores, labels, groups, graded=data.graded, seed=seed),
    )


def scores_table(data: Labelled, scores: Sequence[float], judge: str) -> DataFrame:
    """One row an answer: its label and the score of a judge."""
    return DataFrame({"judge": judge, "group": list(data.groups), "label": data.labels, "score": list(scores)})


def _too_few(data: Labelled, known: Bool[np.ndarray, " answer"], scores: Float[np.ndarray, " answer"]) -> str | None:
    n = int(known.sum())
    if n < LEAST:
        return f"it could rate {n} of {len(data)} answers, at least {LEAST} are needed"
    if np.ptp(scores[known]) == 0:
        return f"it gives all {n} answers the same score, {scores[known][0]:g}"
    labels = data.labels[known]
    sides = [(labels == value).sum() for value in (0.0, 1.0)]
    if np.ptp(labels) == 0 or (not data.graded and min(sides) < LEAST_A_SIDE):
        return f"the {n} answers that it could rate have hardly any of one label"
    if len({group for group, rated in zip(data.groups, known, strict=True) if rated}) < 2:
        return f"the {n} answers that it could rate are of one group"
    return None


def _bins(
    scores: Float[np.ndarray, " answer"],
    labels: Float[np.ndarray, " answer"],
    groups: np.ndarray,
    *,
    graded: bool,
    seed: int,
) -> tuple[Bin, ...]:
    """Bins of equally many answers by score; equal scores are in one bin."""
    n_bins = max(1, min(N_BINS, len(scores) // LEAST_A_BIN))
    edges = np.quantile(scores, np.arange(1, n_bins) / n_bins)
    codes = np.searchsorted(edges, scores, side="left")
    made = []
    for code in np.unique(codes):
        here = codes == code
        of_bin = (
            bootstrap_mean(labels[here], groups[here], seed=seed)
            if graded
            else clustered_share(labels[here] == 1, groups[here])
        )
        made.append(Bin(float(scores[here].min()), float(scores[here].max()), float(scores[here].mean()), of_bin))
    return tuple(made)
