"""Corrections over claims: one primary family that was declared before, and maps in which a claim has many tests."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped
from pandas import DataFrame
from scipy.stats import false_discovery_control

from persona_interp.errors import AlignmentError
from persona_interp.statistics.rows import Vector

PRIMARY, EXPLORATORY, NO_TEST = "primary", "exploratory", "no test"


def benjamini_hochberg(p_values: Vector) -> Float[np.ndarray, " _"]:
    """Adjusted p-values: reject where q <= rate to hold the false discovery rate. NaN stays NaN, uncounted.

    Source: Benjamini and Hochberg 1995, Controlling the False Discovery Rate.
    """
    q_values = np.full(len(p_values), np.nan)
    tested = ~np.isnan(p_values)
    if tested.any():
        q_values[tested] = false_discovery_control(p_values[tested])
    return q_values


def corrected(frame: DataFrame, p_column: str = "p", q_column: str = "q") -> DataFrame:
    """The table with one more column: q over all its tests, which should be all that are reported together.

    Rows whose p is NaN were not tested: their q is NaN and they do not count.

    Raises:
        AlignmentError: no such column, or a p-value outside 0..1.
    """
    if p_column not in frame:
        raise AlignmentError(
            f"the table must have the column {p_column!r} of p-values.", f"It has {', '.join(map(str, frame.columns))}."
        )
    p_values = frame[p_column].to_numpy(dtype=float)
    if bad := int(np.sum((p_values < 0) | (p_values > 1))):
        raise AlignmentError(
            f"p-values must be 0 to 1, got {bad} of {len(p_values)} outside.", "Is the column a p-value?"
        )
    return frame.assign(**{q_column: benjamini_hochberg(p_values)})


def claim_q(p_values: Vector, claims: Shaped[np.ndarray, " _"], *, adjusted: bool = False) -> Float[np.ndarray, " _"]:
    """The smallest rate at which a test is rejected when claims, each of some tests, are the unit of error.

    A claim is made where one of its tests has q <= rate: of the claims that are made, the share that is false is at
    most the rate on average, and so is the share of false tests, averaged over the claims that are made. Claims are
    corrected by Benjamini-Hochberg on their Simes p, and at a rate r that makes R of m claims the tests inside one by
    Benjamini-Hochberg at r R / m. With one test a claim this is Benjamini-Hochberg. NaN stays NaN, uncounted.

    Args:
        adjusted: p-values are corrected inside their claim already, such as those of a maximum over layers.

    Raises:
        AlignmentError: p-values and claims differ in number.

    Source: Benjamini and Bogomolov 2014, Selective inference on multiple families of hypotheses.
    """
    if len(claims) != len(p_values):
        raise AlignmentError(
            f"every test must have one claim, got {len(p_values)} tests and {len(claims)} claims.",
            "Give the claim of every p-value.",
        )
    q_values, tested = np.full(len(p_values), np.nan), np.flatnonzero(~np.isnan(p_values))
    if not len(tested):
        return q_values
    inside, codes = p_values[tested].astype(float), np.unique(claims[tested], return_inverse=True)[1]
    n_claims = int(codes.max()) + 1
    if not adjusted:
        for k in range(n_claims):
            inside[codes == k] = benjamini_hochberg(inside[codes == k])
    smallest = np.full(n_claims, np.inf)
    np.minimum.at(smallest, codes, inside)
    of_claims = benjamini_hochberg(smallest)
    ranked, n_made = np.sort(of_claims), np.arange(1, n_claims + 1)
    rates = np.maximum(ranked, inside[:, None] * n_claims / n_made).min(axis=1)
    q_values[tested] = np.minimum(np.maximum(rates, of_claims[codes]), 1.0)
    return q_values


def in_families(
    frame: DataFrame,
    claims: Sequence[str],
    *,
    primary: Bool[np.ndarray, " _"],
    tests: Mapping[str, str] | None = None,
    adjusted: bool = False,
) -> DataFrame:
    """The table with q (`claim_q`) over its primary rows and, apart from them, over its exploratory ones.

    The column `declared` says which a row is: "primary" (the one layer, judge or setting of a claim that was named
    before these data were seen), "exploratory" (all others, the map), or "no test" where p is NaN.

    Args:
        claims: columns that together name a claim.
        primary: which rows were named before.
        tests: columns of q by the column of p that they correct; default: q of p.
    """
    tests = {"p": "q"} if tests is None else tests
    codes = frame.groupby(list(claims), dropna=False, sort=False).ngroup().to_numpy()
    found = {}
    for p, q in tests.items():
        p_values, found[q] = frame[p].to_numpy(float), np.full(len(frame), np.nan)
        for rows in (primary, ~primary):
            found[q][rows] = claim_q(p_values[rows], codes[rows], adjusted=adjusted)
    declared = np.full(len(frame), EXPLORATORY, dtype=object)
    declared[primary] = PRIMARY
    declared[frame[list(tests)].isna().all(axis=1).to_numpy()] = NO_TEST
    return frame.assign(**found, declared=declared)
