"""A direction among random ones, each of which is a draw: its rank, and the range of the draws."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from persona_interp.statistics.levels import ALPHA, CONFIDENCE
from persona_interp.statistics.permutation import permutation_p_value

LEAST_FOR_A_RANGE = 40
"""With fewer draws their middle 95 % is not given; the draws themselves are in the tables."""


@dataclass(frozen=True)
class Rank:
    """The place of an effect among draws.

    Args:
        p: share of the draws, and of the effect itself, that are at least as large; NaN without an effect, and with so
            few draws (below 19) that it could never be 0.05.
        low: lower end of the draws' middle 95 %, and `high` the upper one; NaN with fewer than 40 draws.
        upper: the critical value: an effect above it has p <= 0.05, uncorrected. NaN where p or the range is.
    """

    p: float
    low: float
    high: float
    upper: float
    n: int


def rank_among(effect: float, draws: Float[np.ndarray, " draw"]) -> Rank:
    """One-sided, larger effects; a draw that could not be measured (NaN) counts as one that is larger."""
    known, larger, nothing = draws[~np.isnan(draws)], np.nan_to_num(draws, nan=np.inf), float("nan")
    n_above = int(ALPHA * (1 + len(draws)) + 1e-9)  # as many of the draws and the effect itself may be as large
    tested = n_above > 0 and not np.isnan(effect)
    p = permutation_p_value(effect, larger) if tested else nothing
    if len(known) < LEAST_FOR_A_RANGE:
        return Rank(p, nothing, nothing, nothing, len(draws))
    low, high = map(float, np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    upper = float(np.sort(larger)[-n_above])
    return Rank(p, low, high, upper if np.isfinite(upper) else nothing, len(draws))
