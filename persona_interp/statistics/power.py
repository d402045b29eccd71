"""The effect that data of this size would find, to be said beside every "not shown"."""

from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from persona_interp.statistics.levels import CONFIDENCE, POWER

Numbers = Any
"""A number or an array of them: floats are broadcast."""


def detectable(low: Numbers, high: Numbers, n_clusters: Numbers, *, upper: Numbers = None) -> Numbers:
    """The least effect that is found in 80 % of repetitions as large as this one, in the units of the interval.

    Found: a 95 % interval that is as wide as this one leaves 0 out, or, with `upper`, the estimate exceeds that bound
    of a null; the effect is then on the scale of the bound. The standard error is the interval's half width over
    Student's quantile for its clusters. NaN where the interval has no bounds, or one cluster. Uncorrected: one test at
    .05. Without a true effect an interval that is narrow by chance makes it too small.

    Measured: an effect of this size, planted, is found in .72, .77 and .79 with 10, 20 and 40 clusters, since few
    clusters often look more alike than they are (tests/golden/levels/families.csv).
    """
    half = (np.asarray(high, dtype=float) - np.asarray(low, dtype=float)) / 2
    error = standard_error(low, high, n_clusters)
    found = (half if upper is None else np.asarray(upper, dtype=float)) + norm.ppf(POWER) * error
    return float(found) if np.ndim(found) == 0 else found


def standard_error(low: Numbers, high: Numbers, n_clusters: Numbers) -> Numbers:
    """Standard error behind a 95 % t interval: its half width over Student's quantile; NaN with one cluster."""
    low, high, n = (np.asarray(each, dtype=float) for each in (low, high, n_clusters))
    with np.errstate(all="ignore"):
        return (high - low) / 2 / student.ppf((1 + CONFIDENCE) / 2, np.where(n > 1, n - 1, np.nan))


def detectable_correlation(low: Numbers, high: Numbers, n_clusters: Numbers) -> Numbers:
    """`detectable` on Fisher's scale, as a correlation: the least |r| that is told from 0 in 80 % of repetitions."""
    with np.errstate(all="ignore"):
        return np.tanh(detectable(np.arctanh(low), np.arctanh(high), n_clusters))
