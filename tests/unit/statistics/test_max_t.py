"""The largest t of many units: planted differences are found, and nothing else."""

import numpy as np

from persona_interp.statistics.max_t import sign_flip_max_t


def test_planted_units_are_found_and_no_others() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((20, 1000))
    values[:, [3, 700]] += [2.0, -2.0]
    found = sign_flip_max_t(values)
    assert set(np.flatnonzero(found.p <= 0.05)) == {3, 700}
    assert found.t[3] > 0 > found.t[700]
    assert 3.5 < found.critical < 8


def test_t_is_students() -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(1).standard_normal((9, 5)) + 1
    np.testing.assert_allclose(sign_flip_max_t(values).t, ttest_1samp(values, 0).statistic)


def test_too_few_clusters_have_no_p() -> None:
    assert np.isnan(sign_flip_max_t(np.ones((1, 3))).p).all()
    assert np.isnan(sign_flip_max_t(np.random.default_rng(0).standard_normal((4, 3)) + 9).p).all()
    assert (sign_flip_max_t(np.zeros((8, 3))).p == 1).all()
