"""The search for a strength, on functions that are known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.errors import EmptySelectionError
from persona_interp.interventions.crossing import bracket, crossing, falls

targets = st.floats(0.05, 3.0)


class Measured:
    """A function that counts how often it is asked."""

    def __init__(self, function) -> None:
        self.function, self.asked = function, []

    def __call__(self, strength: float) -> float:
        self.asked.append(strength)
        return self.function(strength)


def find(measure, target: float, known: dict[float, float] | None = None, **changes) -> float:
    plain = {"start": 0.1, "largest": 8.0, "tolerance": 0.05, "most": 12}
    return crossing(measure, target, {} if known is None else known, **{**plain, **changes})


@given(targets, st.floats(0.02, 400.0), st.floats(1.0, 4.0))
def test_powers_are_found_in_few_evaluations(target: float, scale: float, power: float):
    measure = Measured(lambda c: scale * c**power)
    if scale * 8.0**power < target:
        return
    found = find(measure, target)
    assert abs(measure.function(found) / target - 1) <= 0.05
    assert len(measure.asked) <= 7, measure.asked


@given(targets, st.floats(0.1, 400.0), st.floats(1.1, 20.0), st.sampled_from([0.01, 0.1, 1.0, 8.0]))
def test_rising_functions_that_flatten_are_found_in_twelve(target: float, scale: float, ratio: float, start: float):
    most = ratio * target
    measure = Measured(lambda c: most * (1 - math.exp(-scale * c * c / most)))
    if measure.function(8.0) < target:
        return
    found = find(measure, target, start=start)
    assert abs(measure.function(found) / target - 1) <= 0.05
    assert len(measure.asked) <= 12, measure.asked


@given(targets, st.floats(0.01, 4.0))
def test_a_step_with_slopes_is_found_or_refused(target: float, place: float):
    """Nearly flat, then steep: secants stall and halves do not."""
    measure = Measured(lambda c: 0.01 * target * c + 2 * target / (1 + math.exp(-40 * math.log(c / place))))
    found = find(measure, target, most=40)
    assert abs(measure.function(found) / target - 1) <= 0.05
    assert len(measure.asked) <= 20, measure.asked


def test_what_is_known_serves_the_next_target():
    known: dict[float, float] = {}
    first = Measured(lambda c: 2 * c * c)
    assert find(first, 0.32, known) == pytest.approx(0.4, rel=0.03)
    assert sorted(known) == sorted(first.asked)
    again = Measured(first.function)
    assert find(again, 0.32, known) == find(first, 0.32, known) and again.asked == []
    assert find(again, 1.0, known) == pytest.approx(math.sqrt(0.5), rel=0.03) and len(again.asked) == 1


def test_strengths_have_four_digits():
    measure = Measured(lambda c: 2.7 * c * c)
    find(measure, 1.0, tolerance=0.01)
    assert all(float(f"{c:.4g}") == c for c in measure.asked)


def test_the_largest_strength_is_tried_and_named():
    measure = Measured(lambda c: 0.01 * c)
    with pytest.raises(EmptySelectionError) as caught:
        find(measure, 0.5)
    assert max(measure.asked) == 8.0 and len(measure.asked) <= 5
    said = "the mean KL does not reach 0.5 nats: at the largest coefficient, 8, it is 0.08.\n"
    assert str(caught.value).startswith(said) and "or a larger `largest`" in str(caught.value)
    assert find(measure, 0.078) > 7


def test_a_target_that_is_jumped_over_is_refused():
    measure = Measured(lambda c: 0.1 if c < 1 else 2.0)
    with pytest.raises(EmptySelectionError) as caught:
        find(measure, 0.5)
    assert len(measure.asked) == 12
    text = str(caught.value)
    assert text.startswith("no coefficient tried brings the mean KL within 5 % of 0.5 nats: after 12 it is 0.1 at 0.9")
    assert "and 2 at 1" in text and "Give a wider tolerance" in text


def test_where_it_falls_the_smallest_strength_found_is_taken():
    known = {0.2: 0.1, 0.5: 0.6, 1.0: 0.2, 2.0: 0.9}
    assert bracket(known, 0.5) == (0.2, 0.5) and falls(known) == (0.5, 1.0)
    assert falls({0.1: 1.0, 0.3: 1.0, 0.2: 1.0}) is None
    measure = Measured(lambda c: 0.6 * (c / 0.5) ** 2 if c <= 0.5 else 0.2)
    assert 0.2 < find(measure, 0.5, known) <= 0.5


def test_a_strength_without_effect_is_stepped_over():
    measure = Measured(lambda c: 0.0 if c < 0.5 else c * c)
    assert find(measure, 1.0) == pytest.approx(1.0, rel=0.03)
