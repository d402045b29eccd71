"""The engine of one process: batch after batch, each on disk before the next begins."""

from pathlib import Path

from persona_interp.data.streams import count_rows
from persona_interp.progress import track
from persona_interp.studies.screening.batch import Scorer
from persona_interp.studies.screening.store import Shards


def screen_here(screener: Scorer, source: str, shards: Shards, *, progress: bool = True) -> None:
    """Score every batch that has no shard yet."""
    at_once = screener.config.batch_rows
    first = shards.first_missing()
    n = count_rows(source) if progress else None
    total = 0 if n is None else -(-n // at_once) - first
    todo = screener.batches(source, start=first)
    shards.fill(track(todo, f"screen {Path(source).name}", total=total, show=progress), screener)
