"""Progress bars for anything that takes more than a few seconds."""

import os
from collections.abc import Generator, Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, *, total: int, show: bool = True) -> Generator[Item]:
    """The items, with a bar on standard error while they are worked through, unless PERSONA_INTERP_QUIET is set."""
    if not show or total < 2 or os.environ.get("PERSONA_INTERP_QUIET"):
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        for item in items:
            yield item
            bar.advance(task)
