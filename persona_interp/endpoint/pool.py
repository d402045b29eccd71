"""Work in several threads that never holds up a stop."""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from queue import Empty, SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE_S = (5.0, 25.0)
"""Seconds without a result before it is said that there is none, and until it is said again; then every minute."""


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], *, threads: int, idle: Callable[[float], None]
) -> Iterator[tuple[Item, Result]]:
    """(item, result) in the order in which they are done, with `threads` items in work as long as there are items.

    The first error stops everything and is raised. The threads are daemons: neither an error nor Ctrl-C waits for
    the items that are still in work.

    Args:
        idle: called with the seconds for which nothing has been done, after `PATIENCE_S`.
    """
    todo: SimpleQueue[Item] = SimpleQueue()
    done: SimpleQueue[tuple[Item, Result] | BaseException] = SimpleQueue()
    stop = threading.Event()
    for item in items:
        todo.put(item)

    def run() -> None:
        while not stop.is_set():
            try:
                item = todo.get_nowait()
            except Empty:
                return
            try:
                done.put((item, work(item)))
            except BaseException as error:
                stop.set()
                done.put(error)

    try:
        for _ in range(min(threads, len(items))):
            threading.Thread(target=run, daemon=True).start()
        for _ in items:
            outcome = _next(done, idle)
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
    finally:
        stop.set()


def _next(done: SimpleQueue[Result], idle: Callable[[float], None]) -> Result:
    waited = 0.0
    for pause in chain(PATIENCE_S, repeat(60.0)):
        try:
            return done.get(timeout=pause)
        except Empty:
            waited += pause
            idle(waited)
    raise AssertionError("it is waited for without end")
