"""What an intervention is: edits at hookpoints, and possibly virtual tokens in front."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from persona_interp.arguments import checked
from persona_interp.errors import ConfigError
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Edit, Edits, Hookpoint, KVPrefix


@runtime_checkable
class Intervention(Protocol):
    """A change of the forward pass; the model applies it, in single passes, generation and training alike."""

    @property
    def edits(self) -> Edits:
        """Edits at each hookpoint, in order."""
        ...

    @property
    def prefix(self) -> KVPrefix | None:
        """Virtual key/value tokens, if any."""
        ...

    def check(self, model: HookedModel) -> None:
        """Refuse a model that this intervention was not made for."""
        ...


class Stack:
    """Several interventions at once, applied in the order given where they meet at a hookpoint.

    Raises:
        ConfigError: more than one of them brings virtual tokens.
    """

    @checked
    def __init__(self, *interventions: Intervention) -> None:
        self.interventions: Sequence[Intervention] = interventions
        self.edits: Edits = merge_edits([intervention.edits for intervention in interventions])
        prefixes = [i.prefix for i in interventions if i.prefix is not None]
        if len(prefixes) > 1:
            raise ConfigError(
                f"{len(prefixes)} interventions of a stack bring virtual tokens.",
                "Give one TraitPrefix, with a trait vector that says all that is wanted.",
            )
        self.prefix: KVPrefix | None = prefixes[0] if prefixes else None

    @checked
    def check(self, model: HookedModel) -> None:
        """Every part must fit."""
        for intervention in self.interventions:
            intervention.check(model)


def merge_edits(several: Sequence[Edits]) -> Mapping[Hookpoint, tuple[Edit, ...]]:
    """Edits of several sources, in order, by hookpoint."""
    merged: dict[Hookpoint, tuple[Edit, ...]] = {}
    for edits in several:
        for hookpoint, sequence in edits.items():
            merged[hookpoint] = (*merged.get(hookpoint, ()), *sequence)
    return merged
