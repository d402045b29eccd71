"""Agreement between raters."""

import numpy as np
from jaxtyping import Num


def krippendorff_alpha_interval(ratings: Num[np.ndarray, "rater item"]) -> float:
    """1 - observed / expected disagreement with squared differences: 1 perfect, 0 chance; NaN ratings are missing.

    Items with fewer than two ratings do not count. NaN where all ratings are equal or none can be paired.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    raters = np.sum(~np.isnan(ratings), axis=0)
    ratings, raters = ratings[:, raters > 1], raters[raters > 1]
    values = ratings[~np.isnan(ratings)]
    if len(values) == 0 or np.ptp(values) == 0:
        return float("nan")
    within = np.nansum((ratings - np.nanmean(ratings, axis=0)) ** 2, axis=0)
    observed = np.sum(within * raters / (raters - 1)) / len(values)
    return float(1 - observed / np.var(values, ddof=1))
