"""The slope of one matrix on another after row and column means are taken off, against renamed columns."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from persona_interp.errors import AlignmentError
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.permutation import permutation_p_value
from persona_interp.statistics.resampling import check_level
from persona_interp.statistics.streams import stream

Cells = Float[np.ndarray, "row column"]
LEAST_COLUMNS = 6


@dataclass(frozen=True)
class CrossedSlope:
    """A slope in units of y a unit of x, with its interval over columns and a two-sided p.

    Args:
        correlation: of the centred cells.
        null_low, null_high: middle 95 % of the slopes with renamed columns.
    """

    estimate: float
    low: float
    high: float
    p: float
    correlation: float
    null_low: float
    null_high: float
    n_null: int
    shape: tuple[int, int]


def crossed_slope(
    x: Cells, y: Cells, *, n_permutations: int = 1999, level: float = CONFIDENCE, seed: int = 0
) -> CrossedSlope:
    """Least-squares slope of y on x over all cells, both without their row and column means.

    What a row does to all columns, and a column to all rows, does not count. The interval is Student's t over a
    jackknife of columns, rows held fixed. In the null the columns of x are renamed, the same for all rows, so that
    cells that go together stay together. Measured levels: tests/golden/levels/comparison.csv.

    Raises:
        AlignmentError: the matrices differ in shape, or have fewer than two rows or six columns.

    Source: Freedman and Lane 1983 on permutation in regression; Tukey 1958.
    """
    check_level(level)
    if x.shape != y.shape or x.shape[0] < 2 or x.shape[1] < LEAST_COLUMNS:
        raise AlignmentError(
            f"a crossed slope needs two matrices of one shape, 2 rows and {LEAST_COLUMNS} columns or more, got"
            f" {x.shape} and {y.shape}."
        )
    n = x.shape[1]
    a, b = _centred(x), _centred(y)
    estimate, size = _slope(a, b), float(np.sqrt((a**2).sum() * (b**2).sum()))
    without = np.array([_slope(_centred(np.delete(x, k, axis=1)), _centred(np.delete(y, k, axis=1))) for k in range(n)])
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    half = float(student.ppf((1 + level) / 2, n - 1)) * error
    rng = stream(seed, "renamed columns")
    null = np.array([_slope(a[:, rng.permutation(n)], b) for _ in range(n_permutations)])
    ends = np.quantile(null, [(1 - level) / 2, (1 + level) / 2]).tolist()
    p = permutation_p_value(abs(estimate), np.abs(null))
    correlation = float((a * b).sum()) / size if size > 0 else float("nan")
    return CrossedSlope(
        estimate, estimate - half, estimate + half, p, correlation, ends[0], ends[1], n_permutations, (len(x), n)
    )


def _centred(values: Cells) -> Cells:
    return values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()


def _slope(x: Cells, y: Cells) -> float:
    total = float((x**2).sum())
    return float((x * y).sum()) / total if total > 0 else float("nan")
