"""The samples that a screening points at, with their text and the answer tokens that drove their score."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float

from persona_interp.data.conversations import Conversation
from persona_interp.io import atomic_write_bytes
from persona_interp.measurements.sample_projections import project_samples
from persona_interp.studies.screening.batch import Screener, batches
from persona_interp.studies.screening.config import Channel, Score
from persona_interp.studies.screening.forms import FLAGGED
from persona_interp.tables import write_table
from persona_interp.types import Turn

N_TOKENS = 8


@dataclass(frozen=True)
class DrivingToken:
    """A token of an answer, where it stands there, and its projection."""

    position: int
    text: str
    projection: float


@dataclass(frozen=True)
class Flagged:
    """A sample that scored high on a channel.

    Args:
        scores: all scores of the sample on this channel.
        tokens: the answer tokens of the largest projection, largest first.
    """

    rank: int
    row: int
    name: str
    channel: Channel
    scores: Mapping[Score, float]
    turns: tuple[Turn, ...]
    tokens: tuple[DrivingToken, ...]


def flagged_rows(ranking: pd.DataFrame, n_flagged: int) -> list[int]:
    """The first rows of a ranking; where a threshold was set, only those above it."""
    top = ranking.head(n_flagged)
    return top.loc[top["above_threshold"].fillna(True), "row"].tolist()


def explain(screener: Screener, source: str, table: pa.Table, chosen: Mapping[Channel, Sequence[int]]) -> list[Flagged]:
    """The chosen rows of every channel, read and run once more to see their tokens; channel by channel, best first."""
    wanted = {row for rows in chosen.values() for row in rows}
    texts: dict[int, Conversation] = {}
    tokens: dict[tuple[Channel, int], tuple[DrivingToken, ...]] = {}
    for samples in _read(source, wanted, screener.config.batch_rows):
        texts.update(samples)
        for row, channel, found in _driving(screener, samples):
            if row in chosen.get(channel, ()):
                tokens[channel, row] = found
    numbers = table["row"].to_numpy()
    return [
        Flagged(
            rank=rank,
            row=row,
            name=texts[row].name,
            channel=channel,
            scores={
                score: _number(table[channel.column(score)][int(np.searchsorted(numbers, row))].as_py())
                for score in channel.scores(screener.config)
            },
            turns=texts[row].turns,
            tokens=tokens[channel, row],
        )
        for channel, rows in chosen.items()
        for rank, row in enumerate(rows, start=1)
    ]


def write_flagged(folder: Path, flagged: Sequence[Flagged], scores: Sequence[Score]) -> None:
    """The same samples as JSON lines, with all turns, and as CSV, with question and answer."""
    absent = set(get_args(Score)) - set(scores)
    columns = [name for name in FLAGGED.names if name not in absent]
    lines = [json.dumps(_as_json(sample), ensure_ascii=False) + "\n" for sample in flagged]
    atomic_write_bytes(folder / "flagged.jsonl", "".join(lines).encode())
    write_table(folder / "flagged.csv", pd.DataFrame(map(_as_row, flagged), columns=columns), FLAGGED)


def _read(source: str, wanted: set[int], at_once: int) -> Iterator[dict[int, Conversation]]:
    """The wanted rows in their order, some at once."""
    if not wanted:
        return
    held: dict[int, Conversation] = {}
    left = len(wanted)
    for _, rows in batches(source, at_once, start=min(wanted) // at_once):
        held |= {number: row for number, row in rows if number in wanted and isinstance(row, Conversation)}
        if len(held) >= at_once or len(held) == left:
            yield held
            left -= len(held)
            held = {}
        if left == 0:
            return
    assert left == 0, "the rows that were scored are still there: the source has the hash of its manifest"


def _driving(
    screener: Screener, samples: Mapping[int, Conversation]
) -> Iterator[tuple[int, Channel, tuple[DrivingToken, ...]]]:
    layers = screener.config.layers
    talks = list(samples.values())
    projected = project_samples(screener.model, talks, screener.directions, layers, keep_tokens=True, progress=False)
    assert projected.tokens is not None and projected.token_ids is not None, "they were asked for"
    for row, values, ids in zip(samples, projected.tokens, projected.token_ids, strict=True):
        for channel in screener.channels:
            yield row, channel, _largest(screener, values[:, channel.direction, layers.index(channel.layer)], ids)


def _largest(screener: Screener, values: Float[np.ndarray, " _"], ids: Sequence[int]) -> tuple[DrivingToken, ...]:
    order = np.argsort(-values, kind="stable")[:N_TOKENS].tolist()
    return tuple(
        DrivingToken(i, str(screener.model.tokenizer.decode([ids[i]])), round(float(values[i]), 6)) for i in order
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _as_json(sample: Flagged) -> dict[str, object]:
    return {
        **_place(sample),
        "scores": {score: None if np.isnan(value) else value for score, value in sample.scores.items()},
        "messages": [{"role": turn.role, "content": turn.content} for turn in sample.turns],
        "tokens": [{"position": t.position, "token": t.text, "projection": t.projection} for t in sample.tokens],
    }


def _as_row(sample: Flagged) -> dict[str, object]:
    question = next((turn.content for turn in reversed(sample.turns[:-1]) if turn.role == "user"), "")
    return {
        **_place(sample),
        **sample.scores,
        "question": question,
        "answer": sample.turns[-1].content,
        "tokens": " ".join(f"{token.text!r}:{token.projection:.2f}" for token in sample.tokens),
    }


def _place(sample: Flagged) -> dict[str, object]:
    where = {"direction": sample.channel.name, "layer": sample.channel.layer}
    return {**where, "rank": sample.rank, "row": sample.row, "name": sample.name}
