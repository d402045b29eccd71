"""Scores of one batch of rows: the same function for every engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from persona_interp.data.conversations import Conversation, Unusable, stream_conversations
from persona_interp.data.traits import Trait, load_trait
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, ContextLengthError, DataError, TraitError
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.measurements.projection_difference import projection_difference
from persona_interp.measurements.sample_projections import conversation_ids, project_samples
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.reasoning import reasoning_lengths
from persona_interp.reasoning import ONLY_REASONING
from persona_interp.studies.screening.config import Channel, ScreenConfig, channels

Row = tuple[int, Conversation | Unusable]
Column = Float[np.ndarray, " sample"]
_MIN_EXEMPLARS = 3
_R = TypeVar("_R")


@runtime_checkable
class Scorer(Protocol):
    """What scores the rows of a data set: conversations (`Screener`), or preference pairs (`PairScreener`)."""

    @property
    def model(self) -> HookedModelBase:
        """What the answers are read by."""
        ...

    @property
    def directions(self) -> tuple[Direction, ...]:
        """What they are projected on."""
        ...

    @property
    def config(self) -> ScreenConfig:
        """How they are scored."""
        ...

    def batches(self, source: str, *, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, list[Any]]]:
        """The numbered batches of a data set."""
        ...

    def table(self, rows: Sequence[Any]) -> pa.Table:
        """One line a row: its scores, or the reason why it has none."""
        ...


def batches(
    source: str, batch_rows: int, *, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, list[Row]]]:
    """The numbered batches of a data set, read row by row; row i is in batch i // batch_rows."""
    yield from grouped(stream_conversations(source, start=start * batch_rows), batch_rows, stop=stop)


def grouped(
    rows: Iterator[tuple[int, _R]], batch_rows: int, *, stop: int | None = None
) -> Iterator[tuple[int, list[tuple[int, _R]]]]:
    """Numbered rows in batches by their number, up to batch number `stop`."""
    for number, group in groupby(rows, key=lambda row: row[0] // batch_rows):
        if stop is not None and number >= stop:
            return
        yield number, list(group)


@dataclass(frozen=True, eq=False)
class Screener:
    """Everything that scores a sample: model, directions, and the text judge where one was asked for.

    Args:
        traits: of each direction, what the judge judges; None where it cannot.
    """

    model: HookedModelBase
    directions: tuple[Direction, ...]
    config: ScreenConfig
    traits: tuple[Trait | None, ...]
    judge: EmbeddingJudge | None = None

    @classmethod
    def make(cls, model: HookedModelBase, directions: Sequence[Direction], config: ScreenConfig) -> "Screener":
        """A screener with its judge.

        Raises:
            ConfigError: a judge was asked for, and it knows no direction's trait.
        """
        if config.judge is None:
            return cls(model, tuple(directions), config, (None,) * len(directions))
        traits = tuple(_judged_trait(direction.trait) for direction in directions)
        if not any(traits):
            raise ConfigError(
                f"the {config.judge} judge knows no trait of {', '.join(d.trait for d in directions)}.",
                f"It needs a trait of the package with {_MIN_EXEMPLARS} exemplar answers. Leave the judge out.",
            )
        return cls(model, tuple(directions), config, traits, EmbeddingJudge())

    def batches(self, source: str, *, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, list[Row]]]:
        """The numbered batches of a data set, as many rows each as its configuration says."""
        return batches(source, self.config.batch_rows, start=start, stop=stop)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every direction at every layer."""
        return channels(self.directions, self.config, [trait is not None for trait in self.traits])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of scores, in the order of a shard."""
        named = (channel.column(score) for channel in self.channels for score in channel.scores(self.config))
        return tuple(dict.fromkeys(named))

    def table(self, rows: Sequence[Row]) -> pa.Table:
        """One line a row: its scores, or the reason why it has none."""
        sizes = [self._size(row) for _, row in rows]
        reasons = [size if isinstance(size, str) else None for size in sizes]
        tokens = [(0, 0) if isinstance(size, str) else size for size in sizes]
        kept = [i for i, reason in enumerate(reasons) if reason is None]
        usable = [row for i in kept if isinstance(row := rows[i][1], Conversation)]
        scores = np.full((len(rows), len(self.columns)), np.nan, dtype=np.float32)
        for at, found in self._scored(usable):
            if isinstance(found, str):
                reasons[kept[at[0]]] = found
            else:
                scores[[kept[k] for k in at]] = np.stack([found[column] for column in self.columns], axis=1)
        needed = [k for k, name in enumerate(self.columns) if name.endswith(("_projection", "_prompt_last"))]
        for i in kept:
            if reasons[i] is None and not np.isfinite(scores[i, needed]).all():
                reasons[i], scores[i] = "its activations are not finite", np.nan
        return pa.table(
            {
                "row": pa.array([number for number, _ in rows], pa.int64()),
                "name": pa.array([row.name for _, row in rows], pa.string()),
                "reason": pa.array(reasons, pa.string()),
                "n_prompt_tokens": pa.array([n for n, _ in tokens], pa.int32()),
                "n_answer_tokens": pa.array([n for _, n in tokens], pa.int32()),
                **{name: pa.array(scores[:, k], from_pandas=True) for k, name in enumerate(self.columns)},
            }
        )

    def _size(self, row: Conversation | Unusable) -> tuple[int, int] | str:
        """Tokens of a row's prompt and answer, or why it cannot be scored."""
        if isinstance(row, Unusable):
            return row.reason
        own = self.config.max_new_tokens if self.config.delta == "generate" else 0
        return sample_size(self.model, row, own=own)

    def _scored(self, rows: Sequence[Conversation]) -> Iterator[tuple[list[int], dict[str, Column] | str]]:
        """The scores of rows, by where they are; row by row if an own answer is too long once read back as text."""
        if not rows:
            return
        try:
            yield list(range(len(rows))), self._scores(rows)
            return
        except ContextLengthError as error:
            if len(rows) == 1:
                yield [0], str(error).splitlines()[0]
                return
        for k, row in enumerate(rows):
            for _, found in self._scored([row]):
                yield [k], found

    def _scores(self, rows: Sequence[Conversation]) -> dict[str, Column]:
        """Every column's numbers."""
        config, model = self.config, self.model
        if config.delta == "generate":
            compared = projection_difference(
                model, self.directions, rows, layers=config.layers, max_new_tokens=config.max_new_tokens, progress=False
            )
            response, last, difference = compared.projection, compared.prompt_projection, compared.difference
        else:
            projected = project_samples(model, rows, self.directions, config.layers, progress=False)
            response, last = projected.response, projected.prompt_last
            difference = response - last
        every = {"projection": response, "prompt_last": last, "difference": difference}
        found: dict[str, Column] = {}
        for channel in self.channels:
            for score in channel.scores(config):
                if score != "judge":
                    found[channel.column(score)] = every[score][
                        :, channel.direction, config.layers.index(channel.layer)
                    ]
                elif channel.column(score) not in found:
                    found[channel.column(score)] = self._judged(channel, rows)
        return found

    def _judged(self, channel: Channel, rows: Sequence[Conversation]) -> Column:
        """The text judge's scores of the answers, 0 to 100; NaN where it cannot tell."""
        trait = self.traits[channel.direction]
        assert self.judge is not None and trait is not None, "a judged channel has a judge and a trait"
        questions = [next((turn.content for turn in reversed(row.prompt) if turn.role == "user"), "") for row in rows]
        return np.array([score.value for score in self.judge.rate(trait, questions, [row.answer for row in rows])])


def sample_size(model: HookedModelBase, talk: Conversation, *, own: int = 0) -> tuple[int, int] | str:
    """Tokens of a conversation's prompt and answer, or why it cannot be scored.

    Args:
        own: tokens of an answer of the model's own that must fit too.
    """
    try:
        prompt, answer = conversation_ids(model.tokenizer, talk)
    except DataError as error:
        return str(error).splitlines()[0]
    if not prompt or not answer:
        return f"its {'answer' if prompt else 'prompt'} has no token"
    reasoned = reasoning_lengths(model.tokenizer, [prompt], [answer])[0]
    if reasoned == len(answer):
        return ONLY_REASONING
    length = len(prompt) + max(len(answer), own)
    if length > model.max_positions:
        with_own = " with an answer of the model's own" if own > len(answer) else ""
        return f"{length} tokens{with_own}; the model's context holds {model.max_positions}"
    return len(prompt), len(answer) - reasoned


def _judged_trait(name: str) -> Trait | None:
    """A trait of the package that the judge can be calibrated on; None where there is none."""
    try:
        trait = load_trait(name)
    except TraitError:
        return None
    return trait if len(trait.exemplars) >= _MIN_EXEMPLARS else None
