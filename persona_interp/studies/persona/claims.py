"""The claims of a run: that a trait's vector separates and that it steers, two a trait, named before anything is seen.

They are the primary family, corrected together: where nothing is true, the run claims anything in at most 5 % of cases.
Specificity (other traits' vectors, principal components) is exploratory and corrected apart; so are maps over layers
and the sweep over coefficients, which have no test.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from persona_interp.measurements.steering_null import DirectionTest
from persona_interp.statistics import benjamini_hochberg
from persona_interp.statistics.levels import ALPHA

PRIMARY = ("separation", "steering")
SPECIFICITY = ("other_traits", "components")


def corrected(
    separations: Sequence[Mapping[str, Any]], tests: Sequence[DirectionTest | None]
) -> list[dict[str, float | None]]:
    """The q of both claims and of both comparisons of specificity, a dictionary a trait; None where there is no test.

    A vector separates beyond exchanged prompts and beyond random directions, so the p of that claim is the larger; with
    too few prompts to exchange, the claim is not tested.

    Args:
        separations: `SeparationProfile.summary` of every trait.
        tests: of steering.
    """
    primary = [
        (_p(row["p_random"] if row["p_shuffled"] is not None else None), _p(None if test is None else test.p))
        for row, test in zip(separations, tests, strict=True)
    ]
    specific = [[_p(row[f"p_{name}"]) for name in SPECIFICITY] for row in separations]
    columns = [f"q_{name}" for name in (*PRIMARY, *SPECIFICITY)]
    q_values = np.hstack([_q(primary), _q(specific)])
    return [{name: None if np.isnan(q) else float(q) for name, q in zip(columns, row, strict=True)} for row in q_values]


def out_of_reach(p_floor: float, n_traits: int) -> bool:
    """Whether one true trait among these cannot have q <= 0.05, both its claims being at the smallest possible p."""
    return p_floor * n_traits > ALPHA


def _p(value: float | None) -> float:
    return float("nan") if value is None else value


def _q(p_values: Sequence[Sequence[float]]) -> np.ndarray:
    rows = np.array(p_values, dtype=float)
    return benjamini_hochberg(rows.ravel()).reshape(rows.shape)
