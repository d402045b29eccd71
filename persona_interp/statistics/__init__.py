"""Intervals, tests and agreement for clustered measurements; every seed explicit. All of them, under one name."""

from persona_interp.statistics.agreement import alpha_interval, krippendorff_alpha_interval
from persona_interp.statistics.auc_interval import auc_intervals
from persona_interp.statistics.effects import auc, auc_by_layer, cliffs_delta, cohens_d, pearson, spearman
from persona_interp.statistics.families import benjamini_hochberg, corrected
from persona_interp.statistics.intervals import (
    cliffs_delta_interval,
    correlation_interval,
    hedges_g_interval,
    slope_interval,
    spearman_p,
    standardised_change,
    varied_conditions,
    within_condition_correlation,
)
from persona_interp.statistics.means import bootstrap_difference, bootstrap_mean, bootstrap_ratio
from persona_interp.statistics.permutation import (
    PermutationTest,
    permutation_p_value,
    permutation_test_correlation,
    permutation_test_paired,
    permutation_test_two_samples,
)
from persona_interp.statistics.resampling import Interval, bootstrap_statistic
from persona_interp.statistics.rows import Labels, Vector

__all__ = [
    "Interval",
    "Labels",
    "PermutationTest",
    "Vector",
    "alpha_interval",
    "auc",
    "auc_by_layer",
    "auc_intervals",
    "benjamini_hochberg",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_statistic",
    "cliffs_delta",
    "cliffs_delta_interval",
    "cohens_d",
    "corrected",
    "correlation_interval",
    "hedges_g_interval",
    "krippendorff_alpha_interval",
    "pearson",
    "permutation_p_value",
    "permutation_test_correlation",
    "permutation_test_paired",
    "permutation_test_two_samples",
    "slope_interval",
    "spearman",
    "spearman_p",
    "standardised_change",
    "varied_conditions",
    "within_condition_correlation",
]
