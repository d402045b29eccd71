"""Numbers and lists with bounds, for annotations that `arguments.checked` reads; each bound has its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """From where to where a number may be, both included unless it must be `above` or `below`."""

    low: int | float | None = None
    high: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None

    def hold(self, value: int | float) -> bool:
        """Whether a number is inside; NaN never is."""
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and value == value
        )

    def __str__(self) -> str:
        """`1 to 9`, `at least 1`, `above 0 and at most 1`."""
        if self.low is not None and self.high is not None:
            return f"{self.low} to {self.high}"
        words = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
        return " and ".join(f"{word} {number}" for word, number in words.items() if number is not None)


@dataclass(frozen=True)
class NotEmpty:
    """Of a list that has at least one entry."""


@dataclass(frozen=True)
class Prose:
    """Of a text that may hold any character: what people and models write, unlike names."""


INT64 = Bounds(-(2**63), 2**63 - 1)
Count = Annotated[int, Bounds(1, 10**6)]
"""How many of something are made, drawn or taken: a million of anything here is past memory or past patience."""
CountOrNone = Annotated[int, Bounds(0, 10**6)]
"""The same where 0 means none."""
Size = Annotated[int, Bounds(1, 2**16)]
"""A width, a rank or the rows of a batch: no model is wider."""
Seed = Annotated[int, Bounds(0, 2**32 - 1)]
"""What numpy, torch and transformers all take."""
Share = Annotated[float, Bounds(0, 1)]
"""A share of a whole."""
ShareBelow1 = Annotated[float, Bounds(low=0, below=1)]
"""A share that leaves something."""
ShareAbove0 = Annotated[float, Bounds(above=0, high=1)]
"""A share that takes something."""
Between0And1 = Annotated[float, Bounds(above=0, below=1)]
"""A level of an interval, or a rate: neither never nor always."""
Percent = Annotated[float, Bounds(0, 100)]
"""A trait expression score, or a difference of two."""
Percentile = Annotated[float, Bounds(above=0, below=100)]
"""A percentile that leaves some above it and some below."""
Coefficient = Annotated[float, Bounds(-(10**6), 10**6)]
"""A steering strength: float32 keeps nothing of a residual under a vector a million times its length."""
Positive = Annotated[float, Bounds(above=0, high=10**6)]
"""An amount that cannot be zero; above a million nothing here differs any more."""
Limit = Annotated[float, Bounds(above=0)]
"""What something must not pass: as large as one likes, where nothing should be stopped."""
Amount = Annotated[float, Bounds(0, 10**6)]
"""An amount that may be zero."""
LearningRate = Annotated[float, Bounds(above=0, high=10)]
"""AdamW moves every weight by about so much at every step."""
Temperature = Annotated[float, Bounds(0, 100)]
"""0 is greedy; above 100 every token is as likely as any other."""
Text = Annotated[str, Prose()]
"""What people and models write: any character."""
Some = Annotated[Sequence[T], NotEmpty()]
"""A list that is not empty."""
SomeTuple = Annotated[tuple[T, ...], NotEmpty()]
"""The same in a frozen dataclass."""
