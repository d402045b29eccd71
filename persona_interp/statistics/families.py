"""Corrections over families of tests: families first, then the tests inside those that were selected."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from persona_interp.errors import AlignmentError
from persona_interp.statistics.levels import ALPHA
from persona_interp.statistics.permutation import benjamini_hochberg
from persona_interp.statistics.rows import Vector


def simes(p_values: Vector) -> float:
    """The p-value of "none of these is true", min over k of m p_(k) / k; NaN without tests."""
    tested = np.sort(p_values[~np.isnan(p_values)])
    return float(np.min(tested * len(tested) / np.arange(1, len(tested) + 1))) if len(tested) else float("nan")


def hierarchical_rejections(
    p_values: Vector, families: Sequence[Hashable], *, rate: float = ALPHA
) -> Bool[np.ndarray, " _"]:
    """Which tests are rejected: families by Benjamini-Hochberg on their Simes p, then tests at rate * R / m inside.

    R of the m families are selected, a family (a claim) being the unit of error: both the share of false families
    and the mean share of false tests over the selected families are at most `rate`. NaN is not tested.

    Raises:
        AlignmentError: p-values and families differ in number.

    Source: Benjamini and Bogomolov 2014, Selective inference on multiple families of hypotheses.
    """
    if len(families) != len(p_values):
        raise AlignmentError(
            f"every test must have one family, got {len(p_values)} tests and {len(families)} families.",
            "Give the family of every p-value.",
        )
    names = list(dict.fromkeys(families))
    members = [np.array([family == name for family in families]) for name in names]
    of_families = benjamini_hochberg(np.array([simes(p_values[rows]) for rows in members]))
    n_tested, selected = int((~np.isnan(of_families)).sum()), of_families <= rate
    rejected = np.zeros(len(p_values), dtype=bool)
    for rows, chosen in zip(members, selected, strict=True):
        if chosen:
            rejected[rows] = benjamini_hochberg(p_values[rows]) <= rate * selected.sum() / n_tested
    return rejected


def testable(p_floors: Vector, *, rate: float = ALPHA) -> Bool[np.ndarray, " _"]:
    """Which tests can reject at all: those whose smallest possible p is at most the rate.

    Where a test cannot, "no test possible" is the result, and it does not count in a correction.
    """
    return p_floors <= rate


def family_q(p_values: Vector, p_floors: Vector, *, rate: float = ALPHA) -> Float[np.ndarray, " _"]:
    """Benjamini-Hochberg q over one family declared before; NaN, and not counted, where no test is possible."""
    return benjamini_hochberg(np.where(testable(p_floors, rate=rate), p_values, np.nan))
