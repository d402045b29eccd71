"""Whether two profiles over the layers of one model go together, each a mean over questions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from persona_interp.statistics.effects import spearman
from persona_interp.statistics.levels import CONFIDENCE


@dataclass(frozen=True)
class ProfileMatch:
    """The correlation over layers of two true profiles, as far as questions tell.

    Args:
        correlation: of the means over questions, without what their errors add; NaN where a profile does not vary by
            more than its error.
        low: lower end of its interval, `high` the upper one; NaN where a profile is not shown to vary over layers.
        p: two-sided, of profiles that do not covary over these layers; NaN with fewer than 3 questions or layers.
        rank: Spearman's correlation of the means as they are.
    """

    correlation: float
    low: float
    high: float
    p: float
    rank: float


def match_profiles(
    first: Float[np.ndarray, "question layer"], second: Float[np.ndarray, "question layer"], level: float = CONFIDENCE
) -> ProfileMatch:
    """Pearson's correlation over layers of two profiles, debiased, with a jackknife over questions; layers are fixed.

    Neighbouring layers are alike and profiles rise or fall with depth, so that layers are no sample and no permutation
    of them is a null; what is uncertain is each profile, over the questions that it was measured on. Products are
    taken between different questions alone, so that errors which both profiles share, or which one has in all layers,
    do not count. The interval is Student's t on Fisher's scale around the jackknife of the correlation; p is that of
    the covariance. Measured levels and coverage: tests/golden/levels/causal.csv.

    Source: Efron and Stein 1981, The jackknife estimate of variance.
    """
    n = len(first)
    nothing = float("nan")
    rank = spearman(first.mean(0), second.mean(0)) if n else nothing
    if n < 3 or first.shape[1] < 3 or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return ProfileMatch(nothing, nothing, nothing, nothing, rank)
    x, y = (side - side.mean(1, keepdims=True) for side in (first, second))
    whole, without = (
        _products(x, y),
        np.array([_products(*(np.delete(side, k, 0) for side in (x, y))) for k in range(n)]),
    )
    error = _jackknife_error(without[:, 0])
    p = float(2 * student.sf(abs(whole[0]) / error, n - 1)) if error > 0 else nothing
    correlation, left = _correlation(whole), np.array([_correlation(one) for one in without])
    varies = [whole[k] > _SHOWN * _jackknife_error(without[:, k]) for k in (1, 2)]
    if not all(varies) or np.isnan(left).any():
        return ProfileMatch(correlation, nothing, nothing, p, rank)
    z = np.arctanh(np.clip(left, -_MOST, _MOST))
    half = float(student.ppf((1 + level) / 2, n - 1)) * _jackknife_error(z)
    centre = float(np.arctanh(np.clip(correlation, -_MOST, _MOST)))
    return ProfileMatch(correlation, float(np.tanh(centre - half)), float(np.tanh(centre + half)), p, rank)


_MOST, _SHOWN = 0.9999, 3.0


def _products(x: Float[np.ndarray, "question layer"], y: Float[np.ndarray, "question layer"]) -> np.ndarray:
    """Covariance and both variances over layers, means over pairs of different questions."""
    n = len(x)
    sums = [(a.sum(0) @ b.sum(0) - (a * b).sum()) / (n * (n - 1)) for a, b in ((x, y), (x, x), (y, y))]
    return np.array(sums)


def _correlation(products: np.ndarray) -> float:
    covariance, one, other = products
    return float(np.clip(covariance / np.sqrt(one * other), -1, 1)) if one > 0 and other > 0 else float("nan")


def _jackknife_error(values: np.ndarray) -> float:
    n = len(values)
    return float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))
