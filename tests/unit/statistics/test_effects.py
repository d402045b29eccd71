import numpy as np

from persona_interp.statistics.effects import first_largest


def test_values_that_differ_by_rounding_are_one_largest_value():
    values = np.array([0.2, 0.9831168831168831, 0.9831168831168832, 0.98])
    assert int(np.argmax(values)) == 2 and first_largest(values) == 1
    assert first_largest(np.array([np.nan, 1.0, 1.0])) == 1 and first_largest(np.array([-np.inf, -np.inf])) == 0
    assert first_largest(np.array([0.5, 0.5 + 1e-6])) == 1, "a difference that is none of rounding counts"
