"""Intervals and p from saved summaries, where the rows behind a percentile bootstrap interval were not kept.

Means and differences: the saved ends, stretched around the estimate to the width of a t interval over clusters. AUCs:
as wide as of so many independent rows a side. Shares: exact, since a share of n is its rows. Simulated levels:
tests/golden/levels/summaries.csv.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import t as student

from persona_interp.statistics.auc_interval import ends_of_independent
from persona_interp.statistics.power import standard_error
from persona_interp.statistics.resampling import stretch
from persona_interp.statistics.shares import exact_share

Column = Float[np.ndarray, " row"]
ENDS = ("estimate", "low", "high")


def stretched(table: pd.DataFrame, n_clusters: Sequence[int], *, columns: Sequence[str] = ENDS) -> pd.DataFrame:
    """The table with percentile ends of means moved out by `stretch`, n clusters a row; unchanged under 2 clusters.

    Args:
        columns: those of the estimate and of its two ends, in the units of the estimate.

    Source: Hesterberg 2015, What Teachers Should Know About the Bootstrap.
    """
    estimate, *ends = columns
    wider = np.array([stretch(int(n)) if n > 1 else np.nan for n in n_clusters])
    return table.assign(**{end: table[estimate] + wider * (table[end] - table[estimate]) for end in ends})


def p_of_zero(estimate: Column, low: Column, high: Column, n_clusters: Sequence[int]) -> Column:
    """Two-sided p of a mean of zero, by Student's t, from a t interval (or one stretched to its width)."""
    errors = standard_error(low, high, n_clusters)
    ratios = np.divide(np.abs(estimate), errors, out=np.full(len(errors), np.nan), where=errors > 0)
    return 2 * student.sf(ratios, np.array(n_clusters) - 1)


def auc_ends(auc: float, n: int) -> tuple[float, float]:
    """Ends of the interval of an AUC of n independent rows a side, on the logit.

    At 0 or 1 around an AUC half a comparison from there. Wider than it need be where a side has more rows than n, or
    where rows of the two sides belong together.
    """
    return ends_of_independent(auc, float(np.clip(auc, 0.5 / (n + 1), (n + 0.5) / (n + 1))), n)


def exact(table: pd.DataFrame) -> pd.DataFrame:
    """Rows whose `estimate` is a share of `n` independent trials, with exact binomial ends."""
    found = [exact_share(round(share * n), int(n)) for share, n in zip(table["estimate"], table["n"], strict=True)]
    return table.assign(low=[one.low for one in found], high=[one.high for one in found])
