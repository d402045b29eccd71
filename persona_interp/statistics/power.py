"""The effect that data of this size would find, to be said beside every "not shown"."""

from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student

from persona_interp.statistics.levels import ALPHA, CONFIDENCE, POWER

Numbers = Any
"""A number or an array of them: floats are broadcast."""


def detectable_effect(error: Numbers, freedom: Numbers, *, upper: Numbers = None) -> Numbers:
    """The least effect that is found in 80 % of repetitions as large as this one, in the units of its standard error.

    Found: a two-sided t test at .05 with this error and these degrees of freedom (NaN: normal) rejects or, with
    `upper`, the estimate exceeds that bound of a null; the effect is then on the scale of the bound. NaN where the
    error is NaN, or 0, which says that nothing varied here. Uncorrected: one test at .05.

    Measured: an effect of this size, planted, is found in .80 with 10, 20 and 40 clusters; in .68, .75 and .76 the
    interval of `bootstrap_mean` lies above zero, too, which is wider (tests/golden/levels/families.csv).
    """
    error, freedom = np.asarray(error, dtype=float), np.asarray(freedom, dtype=float)
    with np.errstate(all="ignore"):
        if upper is None:
            found = _multiple(np.where(np.isnan(freedom), np.inf, freedom)) * error
        else:
            found = np.asarray(upper, dtype=float) + norm.ppf(POWER) * error
    found = np.where(np.isfinite(found) & (error > 0), found, np.nan)
    return float(found) if found.ndim == 0 else found


def _multiple(freedom: Numbers) -> Numbers:
    """How many standard errors are found in 80 % of repetitions, errors being estimated here and in each of them.

    An estimated error is 1 - 1 / (4 df) of the true one on average and varies by 1 / (2 df), so the multiple k of this
    one exceeds t times another's by (k - t)(1 - 1 / (4 df)), with the variance 1 + (k^2 + t^2) / (2 df).
    """
    t, squared = student.ppf(1 - ALPHA / 2, freedom), norm.ppf(POWER) ** 2
    short = (1 - 1 / (4 * freedom)) ** 2
    two = short - squared / (2 * freedom)
    none = t**2 * short - squared * (1 + t**2 / (2 * freedom))
    return (t * short + np.sqrt((t * short) ** 2 - two * none)) / two


def detectable_correlation(error: Numbers, freedom: Numbers) -> Numbers:
    """`detectable_effect` of an error on Fisher's scale, as a correlation: the least |r| that is told from 0."""
    return np.tanh(detectable_effect(error, freedom))


def detectable_auc(error: Numbers, freedom: Numbers, upper: Numbers) -> Numbers:
    """The least AUC that exceeds the null's `upper` in 80 % of repetitions: `detectable_effect` on log-odds.

    NaN where the error is not known (an AUC of 0 or 1) or the bound is 0 or 1.
    """
    with np.errstate(all="ignore"):
        return expit(detectable_effect(error, freedom, upper=logit(np.asarray(upper, dtype=float))))


def detectable_cosine(low: Numbers, high: Numbers, n: Numbers, upper: Numbers) -> Numbers:
    """The least cosine that exceeds the null's `upper` in 80 % of repetitions: `detectable`, at most 1."""
    return np.minimum(detectable(low, high, n, upper=upper), 1.0)


def detectable(
    low: Numbers, high: Numbers, n_clusters: Numbers, *, upper: Numbers = None, level: float = CONFIDENCE
) -> Numbers:
    """`detectable_effect` for tables that keep the bounds of a symmetric interval and not its error.

    The error is `standard_error`; a quantile wider than Student's (bootstrap-t) makes it too large.
    """
    error = standard_error(low, high, n_clusters, level=level)
    return detectable_effect(error, np.asarray(n_clusters, dtype=float) - 1, upper=upper)


def standard_error(low: Numbers, high: Numbers, n_clusters: Numbers, *, level: float = CONFIDENCE) -> Numbers:
    """Standard error behind a t interval: its half width over Student's quantile; NaN with one cluster."""
    low, high, n = (np.asarray(each, dtype=float) for each in (low, high, n_clusters))
    with np.errstate(all="ignore"):
        return (high - low) / 2 / student.ppf((1 + level) / 2, np.where(n > 1, n - 1, np.nan))
