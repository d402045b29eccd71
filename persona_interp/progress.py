"""Progress bars for anything that takes more than a few seconds: one a loop, or one for a whole run."""

import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

Item = TypeVar("Item")
_ALMOST = 0.98
_running: list["WholeBar"] = []


def is_quiet() -> bool:
    """Whether nothing but errors is to be said."""
    return bool(os.environ.get("PERSONA_INTERP_QUIET"))


def track(items: Iterable[Item], label: str, *, total: int, show: bool = True) -> Generator[Item]:
    """The items, with a bar on standard error while they are worked through, unless PERSONA_INTERP_QUIET is set.

    Within `one_bar` that bar moves on, and no other is drawn.
    """
    if _running:
        for item in items:
            yield item
            _running[-1].tick()
        return
    if not show or total < 2 or is_quiet():
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        for item in items:
            yield item
            bar.advance(task)


@contextmanager
def one_bar(seconds: Mapping[str, float]) -> Iterator["WholeBar"]:
    """One bar for a run of several stages, by the seconds that each is expected to take.

    The time left is what the stages to come were expected to take, times how much longer than expected those that ended
    took.
    """
    quiet = is_quiet()
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}")
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as drawn:
        bar = WholeBar(drawn, drawn.add_task("starting", total=1.0, left=""), seconds)
        _running.append(bar)
        try:
            yield bar
        finally:
            _running.remove(bar)


def show_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard error, unless PERSONA_INTERP_QUIET is set."""
    if is_quiet():
        return
    table = Table(box=None, pad_edge=False)
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="right" if k else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(stderr=True)
    console.print(escape(title))
    console.print(table)


class WholeBar:
    """The state of such a bar. A stage may come in several parts; what it is expected to take is for all of them."""

    def __init__(self, drawn: Progress, task: TaskID, seconds: Mapping[str, float]) -> None:
        self._drawn, self._task = drawn, task
        self._left = dict(seconds)
        self._expected, self._taken = 0.0, 0.0
        self._name, self._share, self._start = "", 0.0, time.monotonic()

    def start(self, name: str, share: float = 1.0) -> None:
        """A stage, or a share of it, begins."""
        self._name, self._share, self._start = name, share, time.monotonic()
        self.tick()

    def end(self) -> None:
        """It ended."""
        planned = self._left.get(self._name, 0.0) * self._share
        self._left[self._name] = self._left.get(self._name, 0.0) - planned
        self._expected, self._taken = self._expected + planned, self._taken + time.monotonic() - self._start
        self._name, self._share = "", 0.0
        self.tick()

    def tick(self) -> None:
        """Draw what is known now."""
        left, done = self.seconds_left(), self._taken + (time.monotonic() - self._start if self._name else 0.0)
        self._drawn.update(
            self._task,
            completed=done / (done + left) if done + left else 0.0,
            description=self._name or "next",
            left=f"{done / 60:.1f} min, {left / 60:.1f} left",
        )

    def seconds_left(self) -> float:
        """Expected seconds of what is to come, at the speed so far."""
        pace = self._taken / self._expected if self._expected > 1.0 else 1.0
        now = self._left.get(self._name, 0.0) * self._share
        spent = time.monotonic() - self._start if self._name else 0.0
        rest = sum(self._left.values()) - now
        return rest * pace + max(now * pace - spent, now * pace * (1 - _ALMOST))
