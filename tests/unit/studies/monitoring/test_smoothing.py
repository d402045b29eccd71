"""Scores smoothed over the tokens of each row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.errors import ConfigError
from persona_interp.studies.monitoring.smoothing import Smoother, Smoothing, smooth


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_window_is_the_mean_of_the_last_tokens(values: list[float], window: int) -> None:
    expected = [np.mean(values[max(0, k + 1 - window) : k + 1]) for k in range(len(values))]
    np.testing.assert_allclose(smooth(np.array(values), Smoothing(window)), expected, atol=1e-9)


def test_an_exponential_mean_starts_at_the_first_token() -> None:
    np.testing.assert_allclose(smooth(np.array([4.0, 0.0, 0.0]), Smoothing(decay=0.5)), [4.0, 2.0, 1.0])


@pytest.mark.parametrize("smoothing", [Smoothing(), Smoothing(3), Smoothing(decay=0.3)])
def test_rows_that_end_at_different_times_do_not_mix(smoothing: Smoothing) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n, 2)) for n in (5, 2, 7)]
    smoother, found = Smoother(smoothing, 2), [[], [], []]
    for k in range(7):
        here = np.array([i for i, row in enumerate(rows) if k < len(row)])
        for i, scores in zip(here, smoother.update(here, np.stack([rows[i][k] for i in here])), strict=True):
            found[i].append(scores.copy())
    for row, scores in zip(rows, found, strict=True):
        for channel in range(2):
            np.testing.assert_allclose(np.array(scores)[:, channel], smooth(row[:, channel], smoothing))


def test_smoothing_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="window must be 1 to 1000000, got 0"):
        Smoothing(0)
    with pytest.raises(ConfigError, match="window must be 1 where there is a decay, got 2"):
        Smoothing(2, 0.5)
