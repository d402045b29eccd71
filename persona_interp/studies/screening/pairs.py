"""Scores of preference pairs: the projections of both answers to a prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from persona_interp.data.preferences import Pair, stream_pairs
from persona_interp.data.rows import Unusable
from persona_interp.directions.direction import Direction
from persona_interp.io import sha256_json
from persona_interp.measurements.sample_projections import project_samples
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.screening.batch import grouped, sample_size
from persona_interp.studies.screening.config import Channel, ScreenConfig, channels
from persona_interp.types import Turn

SIDES = ("chosen", "rejected")
TOKENS = ("n_prompt_tokens", "n_chosen_tokens", "n_rejected_tokens")
PairRow = tuple[int, Pair | Unusable]


@dataclass(frozen=True, eq=False)
class PairScreener:
    """Everything that scores a preference pair."""

    model: HookedModelBase
    directions: tuple[Direction, ...]
    config: ScreenConfig

    @classmethod
    def make(cls, model: HookedModelBase, directions: Sequence[Direction], config: ScreenConfig) -> "PairScreener":
        """A screener of pairs."""
        return cls(model, tuple(directions), config)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every direction at every layer."""
        return channels(self.directions, self.config, [False] * len(self.directions))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of scores, in the order of a shard."""
        return tuple(pair_column(channel, side) for channel in self.channels for side in SIDES)

    def batches(self, source: str, *, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, list[PairRow]]]:
        """The numbered batches of a data set, as many rows each as its configuration says."""
        n = self.config.batch_rows
        return grouped(stream_pairs(source, start=start * n), n, stop=stop)

    def table(self, rows: Sequence[PairRow]) -> pa.Table:
        """One line a row: the mean projection of either answer, or the reason why it has none."""
        sizes = [self._size(row) for _, row in rows]
        reasons = [size if isinstance(size, str) else None for size in sizes]
        tokens = [(0, 0, 0) if isinstance(size, str) else size for size in sizes]
        pairs = {i: row for i, (_, row) in enumerate(rows) if reasons[i] is None and isinstance(row, Pair)}
        scores = np.full((len(rows), len(self.columns)), np.nan, dtype=np.float32)
        if pairs:
            talks = [getattr(pair, side) for side in SIDES for pair in pairs.values()]
            found = project_samples(self.model, talks, self.directions, self.config.layers, progress=False).response
            sides = np.stack(np.split(found, len(SIDES)), axis=-1)  # pair, direction, layer, side
            scores[list(pairs)] = sides.reshape(len(pairs), -1)
        for i in pairs:
            if not np.isfinite(scores[i]).all():
                reasons[i], scores[i] = "its activations are not finite", np.nan
        prompts = [prompt_name(row.prompt) if isinstance(row, Pair) else None for _, row in rows]
        return pa.table(
            {
                "row": pa.array([number for number, _ in rows], pa.int64()),
                "name": pa.array([row.name for _, row in rows], pa.string()),
                "reason": pa.array(reasons, pa.string()),
                "prompt": pa.array(prompts, pa.string()),
                **{name: pa.array([n[k] for n in tokens], pa.int32()) for k, name in enumerate(TOKENS)},
                **{name: pa.array(scores[:, k], from_pandas=True) for k, name in enumerate(self.columns)},
            }
        )

    def _size(self, row: Pair | Unusable) -> tuple[int, int, int] | str:
        """Tokens of a row's prompt and of either answer, or why it cannot be scored."""
        if isinstance(row, Unusable):
            return row.reason
        sizes = [sample_size(self.model, getattr(row, side)) for side in SIDES]
        for side, size in zip(SIDES, sizes, strict=True):
            if isinstance(size, str):
                return f"{side}: {size}"
        (prompt, chosen), (_, rejected) = (size for size in sizes if not isinstance(size, str))
        return prompt, chosen, rejected


def pair_column(channel: Channel, side: str) -> str:
    """The column of the projection of one side's answer, such as `evil_layer18_chosen`."""
    return f"{channel.name}_layer{channel.layer}_{side}"


def prompt_name(prompt: Sequence[Turn]) -> str:
    """A name for what both answers are to, from every role and text of it."""
    return sha256_json([[turn.role, turn.content] for turn in prompt])[:16]
