"""The consensus of judges: the mean of their scores, each in standard deviations of the unsteered answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.errors import ConfigError, EmptySelectionError

CONSENSUS = "consensus"
DEVIATIONS = "standard deviations of unsteered answers"

LEAST_DEVIATION = 1.0
"""Points of 100; a judge that rates all unsteered answers alike is divided by this."""


@checked
@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each judge's scores of the unsteered answers, in points of 100.

    Raises:
        ConfigError: no judge, or not a mean and a deviation for each.
    """

    judges: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a standard without judges."""
        if not self.judges or not len(self.judges) == len(self.means) == len(self.deviations):
            raise ConfigError(
                f"a standard needs a mean and a deviation a judge, got {len(self.judges)} judges,"
                f" {len(self.means)} means and {len(self.deviations)} deviations."
            )

    @classmethod
    @checked
    def of(cls, unsteered: pd.DataFrame, judges: Sequence[str]) -> "Standard":
        """The standard that unsteered answers give.

        Args:
            unsteered: a row an answer, a column a judge.

        Raises:
            EmptySelectionError: fewer than two answers that every judge rated.
        """
        rated = unsteered[list(judges)].dropna()
        if len(rated) < 2:
            raise EmptySelectionError(
                f"a consensus needs at least 2 unsteered answers that all judges rated; {len(rated)} of"
                f" {len(unsteered)} are.",
                "Generate more unsteered answers.",
            )
        deviations = rated.std().clip(lower=LEAST_DEVIATION)
        return cls(tuple(judges), tuple(map(float, rated.mean())), tuple(map(float, deviations)))

    @checked
    def consensus(self, scored: pd.DataFrame) -> Float[np.ndarray, " answer"]:
        """The mean standardised score of every answer; NaN where a judge could not rate it.

        Args:
            scored: a row an answer, a column a judge.
        """
        scores = scored[list(self.judges)].to_numpy(float)
        return ((scores - np.array(self.means)) / np.array(self.deviations)).mean(axis=1)
