"""The monitor fed by hand: readings, alerts and calibration, without a model."""

import pytest
import torch
from torch import Tensor

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.models.recorder import Segment, Watch
from persona_interp.statistics.thresholds import Threshold
from persona_interp.studies.monitoring.monitor import Alert, Monitor
from persona_interp.studies.monitoring.smoothing import Smoothing
from tests.small import direction


def monitor(**changes) -> Monitor:
    vectors = torch.tensor([[3.0, 0, 0, 0], [0, 2.0, 0, 0]])
    return Monitor([direction(vectors), direction(-vectors, trait="quiet")], [0, 1], **changes)


def feed(watch: Monitor, tokens: Tensor, *, prompt: bool = False, rows: Tensor | None = None) -> None:
    """One pass over one token a row, whose residual is (t, 10 t, ...) at both layers."""
    seen = torch.ones(len(tokens), 1, dtype=torch.bool)
    watch.readings.begin(Segment(tokens[:, None], seen, seen & (not prompt), seen & prompt), rows)
    for hookpoint in watch.readings.hookpoints:
        watch.readings.observe(hookpoint, tokens[:, None, None].float() * torch.tensor([1.0, 10, 100, 1000]))
    watch.readings.end()


def test_projections_are_a_dot_v_over_its_length() -> None:
    watch = monitor()
    assert isinstance(watch.readings, Watch)
    watch.readings.start()
    feed(watch, torch.tensor([7]), prompt=True)
    watch.readings.expand(torch.tensor([0, 0]))
    feed(watch, torch.tensor([1, 2]))
    feed(watch, torch.tensor([5]), rows=torch.tensor([1]))
    frame = watch.frame()
    assert len(frame) == 5 * 4
    loud = frame[(frame["trait"] == "loud") & (frame["layer"] == 1)]
    assert loud[["row", "token_index", "token_id", "projection"]].to_numpy().tolist() == [
        [0, -1, 7, 70], [0, 0, 1, 10], [1, -1, 7, 70], [1, 0, 2, 20], [1, 1, 5, 50],
    ]  # fmt: skip
    quiet = frame[(frame["trait"] == "quiet") & (frame["layer"] == 0)]
    assert quiet["projection"].tolist() == [-7, -1, -7, -2, -5]
    assert frame.loc[frame["token_index"] < 0, "score"].isna().all() and frame["z"].isna().all()
    assert not frame["alert"].any()


def test_an_alert_is_raised_once_an_answer_and_channel() -> None:
    heard: list[Alert] = []
    watch = monitor(thresholds=15.0, on_alert=heard.append)
    watch.readings.start()
    feed(watch, torch.tensor([9, 9]), prompt=True)
    for tokens in ([1, 2], [3, 4], [20, 1]):
        feed(watch, torch.tensor(tokens))
    places = [(one.row, one.token_index, one.token_id, one.trait, one.layer, one.score) for one in heard]
    assert places == [(1, 0, 2, "loud", 1, 20.0), (0, 1, 3, "loud", 1, 30.0), (0, 2, 20, "loud", 0, 20.0)]
    assert watch.alerts == heard
    marked = watch.frame().query("alert")
    assert len(marked) == 5, "every token above the threshold is marked, also after the first"
    watch.readings.start()
    feed(watch, torch.tensor([2]))
    assert len(heard) == 4 and heard[-1].call == 1, "the next call alerts anew"
    watch.clear()
    assert watch.frame().empty and watch.alerts == []


def test_calibration_uses_the_smoothed_scores_of_each_channel() -> None:
    watch = monitor(smoothing=Smoothing(2))
    watch.readings.start()
    feed(watch, torch.tensor([1, 2, 3]))
    feed(watch, torch.tensor([3, 4, 9]))
    made = watch.calibrate(false_alarm_rate=0.25)
    assert [one.value for one in made.thresholds] == [6.0, 60.0, -1.0, -10.0]
    assert made.limits()["loud", 1] == 60.0 and made.smoothing == Smoothing(2)
    made.readings.start()
    feed(made, torch.tensor([7]))
    loud = made.frame().query("trait == 'loud' and layer == 0").iloc[0]
    assert loud["alert"] and loud["z"] == pytest.approx((7 - made.thresholds[0].mean) / made.thresholds[0].sd)


def test_monitors_that_cannot_be_are_refused() -> None:
    with pytest.raises(AlignmentError, match="one threshold, got 1 for 4"):
        monitor(thresholds=[Threshold(1.0)])
    with pytest.raises(ConfigError, match="directions must be .* that is not empty"):
        Monitor([], 0)
    with pytest.raises(ConfigError, match="the direction loud is zero at resid_post at layer 1"):
        Monitor(direction(torch.tensor([[1.0, 0], [0, 0]])), 1)
    with pytest.raises(EmptySelectionError, match="has seen no answer token"):
        monitor().calibrate()
