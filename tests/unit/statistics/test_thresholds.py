"""Thresholds of neutral traffic, and the false alarms that they let through."""

import numpy as np
import pytest

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.statistics.thresholds import Threshold, calibrate_threshold, exact_share, measure_false_alarms


def test_the_threshold_is_the_conformal_quantile_of_the_maxima() -> None:
    answers = [np.array([0.0, float(k), -1.0]) for k in range(1, 100)]
    found = calibrate_threshold(answers, false_alarm_rate=0.01)
    assert (found.value, found.n, found.per) == (99.0, 99, "answer")
    assert calibrate_threshold(answers, false_alarm_rate=0.1).value == 90.0
    scores = np.concatenate(answers)
    assert found.mean == pytest.approx(scores.mean()) and found.sd == pytest.approx(scores.std(ddof=1))


def test_per_token_every_answer_weighs_the_same() -> None:
    """One answer of a thousand high tokens is one answer of ten: it is within a rate of .1, not of .05."""
    answers = [np.zeros(2)] * 18 + [np.full(1000, 5.0)]
    assert calibrate_threshold(answers, false_alarm_rate=0.1, per="token").value == 0.0
    assert calibrate_threshold(answers, false_alarm_rate=0.05, per="token").value == 5.0


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.5, 1)])
def test_too_few_neutral_answers_are_refused(rate: float, needed: int) -> None:
    answers = [np.arange(3.0)] * needed
    assert calibrate_threshold(answers, false_alarm_rate=rate).n == needed
    if needed > 1:
        with pytest.raises(ConfigError) as caught:
            calibrate_threshold(answers[1:], false_alarm_rate=rate)
        assert str(caught.value).startswith(
            f"a threshold for a false-alarm rate of {rate} needs at least {needed} independent neutral samples"
            f" (1 / rate - 1), got {needed - 1}."
        )


def test_answers_to_one_question_count_as_one() -> None:
    rng = np.random.default_rng(0)
    answers = [rng.standard_normal(3) for _ in range(40)]
    questions = [f"q{k % 20}" for k in range(40)]
    found = calibrate_threshold(answers, false_alarm_rate=0.05, clusters=questions)
    assert found.n == 20
    with pytest.raises(ConfigError, match="needs at least 99 .*, got 20"):
        calibrate_threshold(answers, false_alarm_rate=0.01, clusters=questions)
    with pytest.raises(AlignmentError, match="one cluster for each of 40 answers, got 39"):
        calibrate_threshold(answers, clusters=questions[1:])


def test_answers_of_one_question_hold_the_rate_together() -> None:
    rng, shares = np.random.default_rng(2), []
    for _ in range(400):
        means, new = rng.standard_normal(24), rng.standard_normal(300)
        answers = [np.array([mean + 0.3 * rng.standard_normal()]) for mean in np.repeat(means, 4)]
        clusters = [str(k // 4) for k in range(96)]
        found = calibrate_threshold(answers, false_alarm_rate=0.05, clusters=clusters)
        shares.append(float(np.mean(new + 0.3 * rng.standard_normal(300) > found.value)))
    assert 0.02 < np.mean(shares) <= 0.05 + 3 * np.std(shares) / 20


def test_bad_neutral_traffic_is_refused() -> None:
    with pytest.raises(EmptySelectionError, match="got 2, 1 of them empty"):
        calibrate_threshold([np.ones(2), np.ones(0)])
    with pytest.raises(AlignmentError, match="1 scores of the neutral traffic are not finite"):
        measure_false_alarms(Threshold(0.0), [np.array([np.nan, 1.0])])
    with pytest.raises(ConfigError, match="above 0 and below 1, got 1.0"):
        calibrate_threshold([np.ones(2)], false_alarm_rate=1.0)


def test_the_exact_interval_is_that_of_the_tables() -> None:
    """Textbook values: 0 of 20 gives .168 as the upper bound, 5 of 50 gives .033 to .218."""
    none, some = exact_share(0, 20), exact_share(5, 50)
    assert (none.low, none.high) == (0.0, pytest.approx(0.168, abs=5e-4))
    assert (some.low, some.high) == (pytest.approx(0.033, abs=5e-4), pytest.approx(0.218, abs=5e-4))
    assert exact_share(3, 3).high == 1.0
    with pytest.raises(AlignmentError, match="got 4 of 3"):
        exact_share(4, 3)


def test_false_alarms_are_counted_over_answers_or_tokens() -> None:
    answers = [np.array([0.0, 2.0]), np.array([0.0, 0.5]), np.array([3.0, 3.0, 0.0, 0.0])]
    assert measure_false_alarms(Threshold(1.0), answers).estimate == pytest.approx(2 / 3)
    by_token = measure_false_alarms(Threshold(1.0, per="token"), answers)
    assert (by_token.estimate, by_token.n, by_token.n_clusters) == (pytest.approx(3 / 8), 8, 3)
    assert measure_false_alarms(Threshold(3.0), answers).estimate == 0.0, "equal is not above"
