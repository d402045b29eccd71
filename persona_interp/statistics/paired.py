"""Two methods compared on the same units: the difference of two correlations, or of two AUCs, and its test."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

from persona_interp.errors import AlignmentError
from persona_interp.statistics.auc_interval import placement_variance, placements
from persona_interp.statistics.effects import auc_by_layer, pearson
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import check_level
from persona_interp.statistics.rows import Labels, Vector, check_rows, cluster_codes

LEAST_UNITS = 8
"""Correlations of fewer units are not compared: no test is possible."""


@dataclass(frozen=True)
class PairedDifference:
    """The first minus the second, with an interval of the difference and a two-sided p.

    NaN bounds, p and standard error: no test is possible (too few units, or no variation). `freedom`: of the error.
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int
    n_clusters: int
    error: float = float("nan")
    freedom: float = float("nan")


def correlation_difference(a: Vector, b: Vector, y: Vector, *, level: float = CONFIDENCE) -> PairedDifference:
    """Pearson r of a and y minus that of b and y, on Fisher's scale: atanh r_a - atanh r_b, over the same units.

    Student's t with n - 1 degrees of freedom on the standard error of a jackknife over units, which keeps what the two
    correlations share. No test with fewer than eight units, or where a column is constant or a correlation is 1.

    Measured: rejects .02 to .06 of equal correlations with 8 to 20 units, normal or exponential
    (tests/golden/levels/families.csv).

    Raises:
        AlignmentError: the columns differ in length, or hold values that are not finite.
        EmptySelectionError: there is no unit.

    Source: Tukey 1958, Bias and confidence in not quite large samples; on dependent correlations Steiger 1980.
    """
    check_level(level)
    if not len(a) == len(b) == len(y):
        raise AlignmentError(f"correlations are compared over the same units, got {len(a)}, {len(b)} and {len(y)}.")
    cluster_codes(*((column, np.arange(len(column))) for column in (a, b, y)))  # refuses what cannot be compared
    n, columns = len(y), np.stack([a, b, y]).astype(float)
    estimate = _fisher_difference(columns)
    error = float("nan")
    if n >= LEAST_UNITS:
        without = np.array([_fisher_difference(np.delete(columns, i, axis=1)) for i in range(n)])
        error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    return _tested(estimate, error, n - 1, n, n, level)


def auc_difference(
    a: Vector, b: Vector, labels: Bool[np.ndarray, " _"], clusters: Labels, *, level: float = CONFIDENCE
) -> PairedDifference:
    """AUC of one score minus AUC of another on the same samples: DeLong's paired variance, summed over clusters.

    Student's t, with the degrees of freedom of `logit_interval`. No test with one cluster on a side, or where the two
    scores order all samples alike.

    Measured: rejects .02 to .05 of equal AUCs from 12 pairs to 8 against 94 samples (tests/golden/levels/families.csv).

    Raises:
        AlignmentError: scores, labels and clusters differ in number, or scores are not finite.
        EmptySelectionError: there is no sample, or samples of one kind only.

    Source: DeLong et al. 1988; Obuchowski 1997 (clusters).
    """
    check_level(level)
    if not len(a) == len(b) == len(labels):
        raise AlignmentError(f"AUCs are compared on the same samples, got {len(a)}, {len(b)} and {len(labels)} labels.")
    codes = cluster_codes((a, clusters), (b, clusters))[: len(a)]
    check_rows(a[labels], a[~labels])
    columns = np.stack([a, b], axis=1).astype(float)
    found = auc_by_layer(columns[labels], columns[~labels])
    won, lost = placements(columns[labels], columns[~labels])
    error, freedom, sides = float("nan"), 1, (codes[labels], codes[~labels])
    if min(len(np.unique(side)) for side in sides) > 1:
        variance, freedom = placement_variance(won[:, 0] - won[:, 1], lost[:, 0] - lost[:, 1], *sides)
        error = float(np.sqrt(variance))
    return _tested(float(found[0] - found[1]), error, freedom, len(a), int(codes.max()) + 1, level)


def _fisher_difference(columns: Float[np.ndarray, "three unit"]) -> float:
    a, b, y = columns
    with np.errstate(all="ignore"):
        return float(np.arctanh(pearson(a, y)) - np.arctanh(pearson(b, y)))


def _tested(estimate: float, error: float, freedom: int, n: int, n_clusters: int, level: float) -> PairedDifference:
    if not (np.isfinite(error) and np.isfinite(estimate) and error > 1e-9):
        nothing = float("nan")
        return PairedDifference(estimate, nothing, nothing, nothing, n, n_clusters)
    half = float(student.ppf((1 + level) / 2, freedom)) * error
    p = float(2 * student.sf(abs(estimate) / error, freedom))
    return PairedDifference(estimate, estimate - half, estimate + half, p, n, n_clusters, error, float(freedom))
