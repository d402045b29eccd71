"""What a family is: a name, a direction at every layer with its refits, and what it does at a coefficient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.effects.effect import Substrate
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.residual import Add
from persona_interp.statistics.shared_direction import LEAST_UNITS, Halves, sides_of
from persona_interp.statistics.streams import stream
from persona_interp.types import Hookpoint

Refit = Callable[[Bool[np.ndarray, " row"], Bool[np.ndarray, " row"]], Float[Tensor, "layer d_model"]]
"""The vectors made from the rows that are kept, given which rows are positive."""
Group = str

PERSONA, SUPERVISED, TEXTS, RANDOM = "persona vectors", "probes", "texts", "random"
COMPONENTS, PROMPTS, ADAPTER, GIVEN = "components", "prompts", "adapter", "given"


@dataclass(frozen=True, eq=False)
class Made:
    """What a direction is made from, and how it is made again from some of it.

    Args:
        units: of each row, such as its question: what intervals are over.
        positive: whether each row shows the trait.
        splits: other labels of the rows by which they are halved, such as prompt pairs and seeds.
    """

    refit: Refit
    units: Shaped[np.ndarray, " row"]
    positive: Bool[np.ndarray, " row"]
    unit: str
    splits: dict[str, Shaped[np.ndarray, " row"]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The units, in the order in which they come."""
        return list(dict.fromkeys(self.units.tolist()))

    def of_units(self, kept: Bool[np.ndarray, " unit"]) -> Float[Tensor, "layer d_model"]:
        """The vectors made from some of the units."""
        return self.refit(np.isin(self.units, np.array(self.names)[kept]), self.positive)


@dataclass(frozen=True, eq=False)
class HalvedLayers:
    """What a family is made of halves of its units, at every layer that it has; see `Halves`."""

    both: Float[Tensor, "split two layer d_model"]
    without: Float[Tensor, "split unit layer d_model"]
    side: Int[np.ndarray, "split unit"]

    @classmethod
    def of(cls, made: Made, side: Int[np.ndarray, "split unit"]) -> "HalvedLayers":
        """Made again for each half, and for each half without each of its units."""
        units = np.arange(side.shape[1])
        both = [torch.stack([made.of_units(row == k) for k in (0, 1)]) for row in side]
        without = [torch.stack([made.of_units((row == row[q]) & (units != q)) for q in units]) for row in side]
        return cls(torch.stack(both), torch.stack(without), side)


@dataclass(frozen=True, eq=False)
class Family:
    """One way to a trait.

    Args:
        direction: at the layers where it has one; None for a prompt.
        made: None where it is made once and from nothing that could be drawn again, such as a file.
        system: a prompt's text.
        at: the intervention at a coefficient; default: its direction added.
    """

    name: str
    group: Group
    substrate: Substrate
    direction: Direction | None = None
    made: Made | None = None
    system: str | None = None
    at: Callable[[float], Intervention] | None = None
    halved: HalvedLayers | None = None

    def has(self, layer: int) -> bool:
        """Whether it has a direction there."""
        return self.direction is not None and Hookpoint(layer) in self.direction.hookpoints

    def with_halves(self, n_splits: int, *, seed: int) -> "Family":
        """With what halves of its units give; families of the same units are halved in the same ways."""
        if self.made is None or len(self.made.names) < LEAST_UNITS:
            return self
        side = sides_of(len(self.made.names), n_splits, stream(seed, "halves", self.made.unit))
        return replace(self, halved=HalvedLayers.of(self.made, side))

    def vector(self, layer: int) -> Float[np.ndarray, " d_model"]:
        """Its direction at a layer."""
        assert self.direction is not None, "asked of families that have one"
        return self.direction.at(layer).double().numpy()

    def halves(self, layer: int, kept: Bool[np.ndarray, " d_model"], n_splits: int) -> Halves | None:
        """Its halves at a layer, in some dimensions; None where it has too few units, and known where it has none."""
        if self.made is None:
            return Halves.known(self.vector(layer)[kept], n_splits)
        if self.halved is None or self.direction is None:
            return None
        place = self.direction.index(layer)
        both, without = (
            values[:, :, place].double().numpy()[..., kept] for values in (self.halved.both, self.halved.without)
        )
        return Halves.of(both, without, self.halved.side)

    def intervention(self, layer: int, coefficient: float) -> Intervention:
        """What it does at a coefficient."""
        if self.at is not None:
            return self.at(coefficient)
        assert self.direction is not None, "a prompt has no coefficient"
        return Add(self.direction, layer, coefficient)


@dataclass(frozen=True)
class Missing:
    """A family that was left out, and what it needs."""

    name: str
    why: str


def with_direction(families: Sequence[Family], layer: int) -> list[Family]:
    """Those that have a direction at a layer."""
    return [family for family in families if family.has(layer)]
