"""What decides the numbers of a screening, and what its columns are called."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Size, SomeTuple
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, MissingPackageError

Delta = Literal["none", "prompt", "generate"]
"""What the response's projection is compared with: nothing, the last prompt token's, or the model's own answer's."""

Score = Literal["projection", "prompt_last", "difference", "judge"]
"""Projection of the response mean, of the last prompt token, their difference (ΔP), or a text judge's score."""

TextJudge = Literal["embedding"]
Engine = Literal["local", "ray"]


@checked
@dataclass(frozen=True)
class ScreenConfig:
    """How samples are scored. Another value of any of these gives other numbers, or other shards.

    Args:
        batch_rows: rows of the data set that are finished together: what a killed run can lose.
        max_new_tokens: of the model's own answers, for the delta `generate`.
    """

    layers: SomeTuple[int]
    delta: Delta = "prompt"
    batch_rows: Size = 64
    max_new_tokens: Count = 64
    judge: TextJudge | None = None

    def __post_init__(self) -> None:
        """Refuse a layer that comes twice."""
        if len(self.layers) != len(set(self.layers)):
            raise ConfigError(f"layers must each be there once, got {list(self.layers)}.")

    @property
    def scores(self) -> tuple[Score, ...]:
        """What every usable sample gets for every direction."""
        difference: tuple[Score, ...] = () if self.delta == "none" else ("difference",)
        return ("projection", "prompt_last", *difference, *(() if self.judge is None else ("judge",)))


@dataclass(frozen=True)
class Channel:
    """A direction at a layer, and where its numbers are.

    Args:
        direction: its position among the directions.
        judged: whether a text judge knows its trait.
    """

    name: str
    direction: int
    layer: int
    judged: bool = False

    def column(self, score: Score) -> str:
        """The column of a score, such as `evil_layer18_projection`; a judge reads text, so it has no layer."""
        return f"{self.name}_judge" if score == "judge" else f"{self.name}_layer{self.layer}_{score}"

    def scores(self, config: ScreenConfig) -> tuple[Score, ...]:
        """The scores this channel has."""
        return tuple(score for score in config.scores if score != "judge" or self.judged)


def channels(directions: Sequence[Direction], config: ScreenConfig, judged: Sequence[bool]) -> tuple[Channel, ...]:
    """Every direction at every layer, directions first.

    Raises:
        ConfigError: there is no direction, or two cannot be told apart by trait and method.
    """
    if not directions:
        raise ConfigError("screening needs at least one direction, got none.")
    traits = [direction.trait for direction in directions]
    names = [d.trait if traits.count(d.trait) == 1 else f"{d.trait} ({d.method})" for d in directions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two directions are called {twice[0]}.", "Screen with one of them, or give one another trait."
        )
    return tuple(
        Channel(name, i, layer, known)
        for i, (name, known) in enumerate(zip(names, judged, strict=True))
        for layer in config.layers
    )


def choose_score(config: ScreenConfig, score: str | None, channels: Sequence[Channel]) -> Score:
    """What samples are ranked by: ΔP where there is one, else the projection, unless asked otherwise.

    Raises:
        ConfigError: the score was not computed, or not for every direction.
    """
    if score is None:
        return "projection" if config.delta == "none" else "difference"
    for channel in channels:
        if score not in channel.scores(config):
            raise ConfigError(
                f"cannot rank samples by {score!r}: {channel.name} has no such score.",
                f"It has {', '.join(channel.scores(config))}.",
            )
    return score  # pyright: ignore (one of the scores, as was just checked)


def check_engine(engine: str) -> None:
    """Refuse an engine that does not exist or is not installed.

    Raises:
        ConfigError: no such engine.
        MissingPackageError: the engine's package is missing.
    """
    if engine not in get_args(Engine):
        raise ConfigError(f"no engine is called {engine!r}.", f"Engines: {', '.join(get_args(Engine))}.")
    if engine == "ray" and find_spec("ray") is None:
        raise MissingPackageError(
            "the engine ray needs the package ray, which is not installed.",
            "Install the extra: pip install 'persona-interp[ray]'",
        )
