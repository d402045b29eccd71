"""From a callback in another thread to a generator here, and from token ids to pieces of text."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

Item = TypeVar("Item")


class _Closed(Exception):
    """Ends the producer when nobody takes its items any more."""


def in_background(produce: Callable[[Callable[[Item], None]], None], *, ahead: int = 1) -> Iterator[Item]:
    """The items that `produce(put)` puts, while it runs in a thread that is at most `ahead` items in front.

    An exception of the producer is raised here. Closing the generator ends the producer at its next item, and waits
    until it has.
    """
    items: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(maxsize=ahead)
    closed = threading.Event()

    def put(item: Item) -> None:
        if closed.is_set():
            raise _Closed
        items.put(("item", item))

    def work() -> None:
        try:
            produce(put)
        except BaseException as error:  # whatever it is, it is raised where the items are taken
            items.put(("error", error))
        else:
            items.put(("end", None))

    thread = threading.Thread(target=work, name="persona-interp stream", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = items.get()
            if kind == "end":
                return
            if isinstance(item, BaseException) and kind == "error":
                raise item
            yield item  # pyright: ignore (an item)
    finally:
        closed.set()
        while thread.is_alive():
            try:
                items.get(timeout=0.01)
            except queue.Empty:
                continue
        thread.join()


def text_pieces(tokenizer: PreTrainedTokenizerBase) -> Generator[str, int, None]:
    """Send it token ids one by one; each answer is the text that the id adds (empty until a character is whole)."""
    ids: list[int] = []
    shown, piece = "", ""
    while True:
        ids.append((yield piece))
        text = str(tokenizer.decode(ids, skip_special_tokens=True))
        piece = "" if text.endswith("\ufffd") else text[len(shown) :]
        shown = shown if text.endswith("\ufffd") else text
