"""The interval of a cross-fitted regression covers chance where there is nothing, and the test finds what there is."""

import numpy as np
import pytest

from persona_interp.errors import ConfigError
from persona_interp.statistics import auc
from persona_interp.studies.screening.cross_fitted import cross_fitted_auc
from persona_interp.studies.screening.detection import cross_fitted_logistic
from tests.golden.simulation import binomial_bounds

LABELS = np.arange(60) < 20


@pytest.mark.slow
def test_without_information_the_interval_covers_chance_and_the_test_keeps_its_level() -> None:
    rng, covered, rejected, n_sets = np.random.default_rng(0), 0, 0, 15
    for seed in range(n_sets):
        scores = {name: rng.standard_normal(60) for name in "ab"}
        found, p = cross_fitted_auc(scores, LABELS, n_permutations=19, seed=seed)
        covered += found.low <= 0.5 <= found.high
        rejected += p <= 0.05
    assert covered / n_sets >= binomial_bounds(0.95, n_sets)[0]
    assert rejected / n_sets <= binomial_bounds(0.05, n_sets)[1]


def test_a_planted_difference_is_found_around_its_estimate() -> None:
    rng = np.random.default_rng(1)
    scores = {"a": rng.standard_normal(60) + 2 * LABELS, "b": rng.standard_normal(60)}
    found, p = cross_fitted_auc(scores, LABELS, n_permutations=39)
    fitted = cross_fitted_logistic(scores, LABELS)
    assert found.estimate == pytest.approx(auc(fitted[LABELS], fitted[~LABELS]))
    assert 0.5 < found.low < found.estimate < found.high <= 1
    assert p == pytest.approx(1 / 40)
    grouped, _ = cross_fitted_auc(scores, LABELS, groups=np.arange(60) % 20, n_permutations=19)
    assert grouped.n_clusters == 20
    with pytest.raises(ConfigError, match="n_permutations must be at least 19, got 18"):
        cross_fitted_auc(scores, LABELS, n_permutations=18)
