"""Rank correlation of two columns with others held fixed, and its interval over clusters."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata
from scipy.stats import t as student

from persona_interp.errors import AlignmentError
from persona_interp.statistics.effects import pearson
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.resampling import Interval, check_level
from persona_interp.statistics.rows import Labels, Vector, cluster_codes

LEAST_CLUSTERS = 4


def partial_spearman(
    x: Vector, y: Vector, given: Sequence[Vector], clusters: Labels, *, level: float = CONFIDENCE
) -> Interval:
    """Spearman correlation of x and y, of what is left of their ranks after least squares on the ranks of `given`.

    -1 to 1; without `given` it is Spearman's own. Student's t on Fisher's scale over a jackknife of clusters that ranks
    and fits anew. NaN bounds with fewer than four clusters, or at 1 or -1. Measured levels:
    tests/golden/levels/comparison.csv.

    Raises:
        AlignmentError: the columns differ in length, or hold values that are not finite.

    Source: Conover 1999, Practical Nonparametric Statistics, on partial rank correlation; Tukey 1958.
    """
    check_level(level)
    if any(len(column) != len(x) for column in (y, *given)):
        raise AlignmentError(f"columns must be of one length, got {[len(column) for column in (x, y, *given)]}.")
    codes = cluster_codes(*((column, clusters) for column in (x, y, *given)))[: len(x)]
    columns = np.stack([x, y, *given]).astype(float)
    n, estimate = int(codes.max()) + 1, _partial(columns)
    nothing = Interval(estimate, float("nan"), float("nan"), len(x), n, level)
    if n < LEAST_CLUSTERS or not abs(estimate) < 1:
        return nothing
    without = np.arctanh([_partial(columns[:, codes != code]) for code in range(n)])
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    if not np.isfinite(error) or error == 0:
        return nothing
    half = float(student.ppf((1 + level) / 2, n - 1)) * error
    low, high = np.tanh([np.arctanh(estimate) - half, np.arctanh(estimate) + half])
    return Interval(estimate, float(low), float(high), len(x), n, level, error=error, freedom=float(n - 1))


def partial_ranks(
    x: Float[np.ndarray, "row column"], y: Float[np.ndarray, "row other"], given: Sequence[Vector]
) -> Float[np.ndarray, "column other"]:
    """The same correlation of every column of x with every one of y; NaN where nothing is left of a column."""
    left = [_left(columns, given) for columns in (x, y)]
    sizes = [np.linalg.norm(columns, axis=0) for columns in left]
    units = [np.divide(c, s, out=np.full_like(c, np.nan), where=s > 0) for c, s in zip(left, sizes, strict=True)]
    return units[0].T @ units[1]


def _partial(columns: Float[np.ndarray, "column row"]) -> float:
    """The correlation of the first two after the others."""
    left = _left(columns[:2].T, list(columns[2:]))
    return pearson(left[:, 0], left[:, 1]) if left.any(axis=0).all() else float("nan")


def _left(columns: Float[np.ndarray, "row column"], given: Sequence[Vector]) -> Float[np.ndarray, "row column"]:
    """What is left of the ranks of columns; zeros where it is rounding alone."""
    ranks = rankdata(columns, axis=0)
    others = np.stack([np.ones(len(ranks)), *(rankdata(column) for column in given)], axis=1)
    left = ranks - others @ np.linalg.lstsq(others, ranks, rcond=None)[0]
    return np.where((left**2).sum(axis=0) > 1e-12 * (ranks**2).sum(axis=0), left, 0.0)
