"""What is said to the model and done with it while it is asked, and the same in the words of the table of effects."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from persona_interp.effects import Effect, joined, mean_depth
from persona_interp.effects.effect import Substrate
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.interventions.record import intervention_record
from persona_interp.interventions.residual import Ablate, Add, Cap

NORMS, LENGTHS = "mean residual norms of the layer", "lengths of the vector, at each layer"
SCORE = "standard deviations of a trait's score"


@dataclass(frozen=True)
class Change:
    """What is known of a change of the model; None is what there is not, or not one of.

    Args:
        method: of the vector or adapter, or "prompt"; those of several changes are joined by " + ".
        layers: 0-based blocks, as the column of effects has them.
        strength: in `strength_unit`; of several changes that of the only one that has a strength.
    """

    method: str = "unchanged"
    substrate: Substrate | None = None
    layers: str | None = None
    stream: str | None = None
    strength: int | float | None = None
    strength_unit: str | None = None

    def effect(self, metric: str, row: Mapping[str, Any], n_layers: int) -> Effect:
        """What effects of a row of a table under this change share: the change, the inventory, the number of items."""
        return Effect(
            **asdict(self),
            metric=metric,
            depth=mean_depth(self.layers or "", n_layers),
            place="named" if self.layers else None,
            data=row["inventory"],
            n=row["n"],
            cluster="item",
            n_cluster=row["n"],
            fixed="model, orders of the options",
        )


UNCHANGED = Change()


@dataclass(frozen=True)
class Condition:
    """What is said to the model and done with it while it is asked; the first of a study is what others are against."""

    name: str = "baseline"
    system: str | None = None
    intervention: Intervention | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"system": self.system, "intervention": intervention_record(self.intervention)}

    @property
    def change(self) -> Change:
        """Method, place and strength."""
        prompted = [] if self.system is None else [Change("prompt", "prompt")]
        return _together([*prompted, *change_parts(self.intervention)])


def change_parts(intervention: Intervention | None) -> Iterator[Change]:
    """Every part of an intervention as a change."""
    match intervention:
        case None:
            return
        case Stack():
            for part in intervention.interventions:
                yield from change_parts(part)
        case Add():
            unit = NORMS if intervention.units == "residual_norm" else LENGTHS
            yield _along(intervention, intervention.direction.method, intervention.coefficient, unit)
        case Ablate() | Cap():
            yield _along(intervention, f"{intervention.direction.method}, {type(intervention).__name__.lower()}")
        case TraitPrefix():
            values = [value for value in intervention.vectors.flatten().tolist() if value]
            strength = (values[0], SCORE) if len(values) == 1 else (None, None)
            yield Change("psychadapter", "virtual_token", None, None, *strength)
        case _:
            yield Change(type(intervention).__name__)


def _along(part: Add | Ablate | Cap, method: str, strength: float | None = None, unit: str | None = None) -> Change:
    places = part.hookpoints()
    streams = {place.stream for place in places}
    stream = streams.pop() if len(streams) == 1 else None
    return Change(method, "residual", joined(place.layer for place in places), stream, strength, unit)


def _together(parts: Sequence[Change]) -> Change:
    if len(parts) < 2:
        return parts[0] if parts else UNCHANGED

    def only(name: str) -> Any:
        known = [value for part in parts if (value := getattr(part, name)) is not None]
        return known[0] if len(known) == 1 else None

    method = " + ".join(part.method for part in parts)
    return Change(method, *map(only, ("substrate", "layers", "stream", "strength", "strength_unit")))
