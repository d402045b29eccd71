"""What an intervention does, as plain data: for manifests, and to tell two runs apart."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.errors import ConfigError
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.interventions.residual import Add
from persona_interp.io import sha256_bytes, sha256_json
from persona_interp.types import Hookpoint


def intervention_record(intervention: Intervention | None) -> Any:
    """A JSON-ready account of an intervention, equal for equal ones; vectors enter by their hash.

    Raises:
        ConfigError: it is not made of dataclasses, so nothing says what it does.
    """
    if intervention is None:
        return None
    if isinstance(intervention, Stack):
        return [intervention_record(part) for part in intervention.interventions]
    return record(intervention)


def record(thing: Any) -> Any:
    """A dataclass of directions, dictionaries, hookpoints and plain values as JSON; `Add` with that of each place."""
    if isinstance(thing, Direction):
        norms = thing.residual_norms
        return {
            "trait": thing.trait,
            "method": thing.method,
            "hookpoints": sha256_json([str(hookpoint) for hookpoint in thing.hookpoints])[:16],
            "vectors": _hash(thing.vectors),
            "residual_norms": None if norms is None else _hash(norms),
        }
    if isinstance(thing, Dictionary):
        return {
            "weights": thing.weights,
            "places": [str(thing.hookpoint), str(thing.writes)],
            **{name: getattr(thing, name) for name in ("basis", "normalisation", "norm_limit", "residual_norm")},
        }
    if isinstance(thing, TraitPrefix):
        return {"kind": "TraitPrefix", "adapter": record(thing.adapter), "z": thing.vectors.tolist()}
    if isinstance(thing, PsychAdapter):
        return {
            "traits": list(thing.traits),
            "base": thing.provenance.weights,
            "weight": _hash(thing.affine.weight),
            "bias": _hash(thing.affine.bias),
        }
    if isinstance(thing, Hookpoint):
        return str(thing)
    if isinstance(thing, Tensor):
        return _hash(thing)
    if isinstance(thing, str | int | float | bool | None):
        return thing
    if isinstance(thing, list | tuple):
        return [record(item) for item in thing]
    if isinstance(thing, Mapping):
        return [[record(key), record(value)] for key, value in thing.items()]
    if not hasattr(thing, "__dataclass_fields__"):
        raise ConfigError(
            f"nothing says what a {type(thing).__name__} does.",
            "A run that can be resumed needs an intervention made of dataclasses, such as Add, Ablate and Cap.",
        )
    made = {"kind": type(thing).__name__, **{f.name: record(getattr(thing, f.name)) for f in fields(thing)}}
    if isinstance(thing, Add) and len(thing.hookpoints()) > 1:
        made["coefficient_each"] = thing.coefficient_each
    return made


def _hash(tensor: Tensor) -> str:
    return sha256_bytes(tensor.detach().cpu().contiguous().numpy().tobytes())[:16]
