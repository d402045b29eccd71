"""One bar for a whole run: what is left, and that no other bar is drawn within it."""

import io
import time

import pytest
from rich.console import Console

from persona_interp import progress
from persona_interp.progress import WholeBar, one_bar, show_table, track


class Clock:
    """Time that passes as it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    monkeypatch.setenv("PERSONA_INTERP_QUIET", "1")
    return made


def test_the_time_left_follows_the_pace_so_far(clock: Clock):
    with one_bar({"write": 60.0, "judge": 100.0, "draw": 20.0}) as bar:
        assert bar.seconds_left() == 180.0
        bar.start("write", 0.5)
        clock.now += 30
        assert bar.seconds_left() == pytest.approx(150.0 + 30 * 0.02)
        clock.now += 30  # it takes twice as long as was expected
        bar.end()
        assert bar.seconds_left() == pytest.approx(2 * 150.0)
        bar.start("judge")
        clock.now += 50
        assert bar.seconds_left() == pytest.approx(2 * 150.0 - 50)


def test_a_stage_that_was_not_planned_breaks_nothing(clock: Clock):
    with one_bar({"write": 10.0}) as bar:
        bar.start("something else")
        clock.now += 5
        bar.end()
        assert bar.seconds_left() > 0


def test_loops_within_a_run_draw_no_bar_of_their_own(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    ticks: list[float] = []
    monkeypatch.setattr(WholeBar, "tick", lambda self: ticks.append(self.seconds_left()))
    with one_bar({"write": 10.0}) as bar:
        bar.start("write")
        for _ in track(range(4), "inner", total=4):
            clock.now += 1
    assert ticks[1:] == [pytest.approx(left) for left in (9.0, 8.0, 7.0, 6.0)]
    assert list(track(range(3), "after", total=3)) == [0, 1, 2]


def test_the_bar_is_gone_after_an_error():
    with pytest.raises(RuntimeError), one_bar({"write": 1.0}):
        raise RuntimeError
    assert progress._running == [] and time.monotonic() > 0


def test_a_table_is_written_to_standard_error_unless_quiet(monkeypatch: pytest.MonkeyPatch):
    written = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=written, width=80))  # noqa: ARG005
    monkeypatch.delenv("PERSONA_INTERP_QUIET", raising=False)
    show_table("plan [x]", ("stage", "minutes"), [("write", "1.5")])
    assert "plan [x]" in written.getvalue() and "write" in written.getvalue() and "1.5" in written.getvalue()
    before = written.getvalue()
    monkeypatch.setenv("PERSONA_INTERP_QUIET", "1")
    show_table("plan", ("stage",), [("write",)])
    assert written.getvalue() == before
