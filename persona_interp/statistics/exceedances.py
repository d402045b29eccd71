"""How many samples exceed an order statistic of another sample, against what they would if nothing differed."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, betabinom

from persona_interp.errors import AlignmentError
from persona_interp.statistics.levels import ALPHA, NULL_QUANTILE, POWER
from persona_interp.statistics.shares import exact_share


@dataclass(frozen=True)
class Exceedances:
    """The share of n samples above the k-th smallest of n_reference others, and its test.

    Args:
        share: with `low` and `high`, its exact binomial interval, which holds the threshold fixed.
        expected: the share that new samples of the reference exceed it with, on average over references.
        null_high: 95th percentile of the share where both samples are of one distribution.
        p: one-sided, of at least so many where both are of one distribution.
        detectable: the least share that p <= 0.05 finds in 80 % of repetitions at this threshold; None where none is.
    """

    share: float
    low: float
    high: float
    n: int
    expected: float
    null_high: float
    p: float
    detectable: float | None


def exceedances(hits: int, n: int, *, n_reference: int, k: int) -> Exceedances:
    """The test of the number of exceedances: `hits` of n samples above the k-th smallest of n_reference others.

    The threshold is itself drawn. Where all n_reference + n samples are independent and of one continuous distribution,
    the share 1 - F(threshold) is Beta(n_reference - k + 1, k), so hits are beta-binomial, whatever the distribution; a
    binomial test against 1 - k / (n_reference + 1) takes the threshold for fixed, and rejects too often. With ties only
    samples strictly above it count, which are fewer than if ties were broken at random, so p stays valid. Measured
    level: tests/golden/levels/others.csv.

    Args:
        k: rank of the threshold among the reference, 1 the smallest.

    Raises:
        AlignmentError: a rank outside 1..n_reference, more hits than samples, or no sample.

    Source: Gumbel and von Schelling 1950, The Distribution of the Number of Exceedances.
    """
    if not 1 <= k <= n_reference:
        raise AlignmentError(f"the rank of a threshold must be 1 to {n_reference}, got {k}.")
    share = exact_share(hits, n)
    above = n_reference - k + 1
    null = betabinom(n, above, k)
    needed = int(null.ppf(NULL_QUANTILE)) + 1  # the fewest hits with p <= ALPHA
    needed += int(null.sf(needed - 1) > ALPHA)
    return Exceedances(
        share=share.estimate,
        low=share.low,
        high=share.high,
        n=n,
        expected=above / (n_reference + 1),
        null_high=float(null.ppf(NULL_QUANTILE)) / n,
        p=float(np.clip(null.sf(hits - 1), 0, 1)),
        detectable=None if needed > n else float(beta.ppf(POWER, needed, n - needed + 1)),
    )
