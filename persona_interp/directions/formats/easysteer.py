"""EasySteer's `SteeringSpec` as JSON, with the vectors in a GGUF control vector beside it.

    {"vectors": [{"source": "evil.gguf", "algorithm": "direct", "scale": 2.0, "layers": [12], "normalize": false,
                  "apply": {"phases": ["generation"]}}], "conflict": "priority", "debug": false}

Fields after EasySteer's own documentation of its second interface (2026). Its code was not at hand to run against, so
what is tested here is our own round trip and these fields. Layers are 0-based blocks, as in the GGUF.

One vector added as it is (`direct`) is read; several vectors, other algorithms and vectors inside the JSON are refused.
The scale, the layers and the clause are kept in `provenance.details["easysteer"]` and are not applied to the vectors:
scale s at layers L is `Add(direction, L, s, units="direction")`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from persona_interp.directions.direction import Direction
from persona_interp.directions.formats.gguf import Convention, load_gguf, save_gguf
from persona_interp.directions.formats.shape import ModelShape, shape_of
from persona_interp.errors import AlignmentError, ArtefactError
from persona_interp.io import read_json, write_json
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Hookpoint

FORMAT = "easysteer"
Phase = Literal["prompt", "generation"]
_DEFAULTS: dict[str, Any] = {"algorithm": "direct", "scale": 1.0, "layers": None, "normalize": False}
_VECTOR_KEYS = {*_DEFAULTS, "source", "apply", "params", "name"}
_SPEC_KEYS = {"vectors", "conflict", "debug"}


def load_easysteer(
    path: str | Path,
    model: HookedModel | ModelShape,
    *,
    trait: str | None = None,
    convention: Convention | None = None,
    vector_file: str | Path | None = None,
) -> Direction:
    """The direction that a SteeringSpec names.

    Args:
        vector_file: the GGUF file. Default: the file that `source` names, which must lie beside the JSON: a path in a
            file from elsewhere is not followed.

    Raises:
        ArtefactError: not such a JSON, or its source is not a plain file name.
        AlignmentError: a layer that the vector file does not have.
    """
    path = Path(path)
    spec, vector = _unpack(read_json(path), path.name)
    source = Path(vector_file) if vector_file else path.parent / _plain_name(vector["source"], path.name)
    direction = load_gguf(source, shape_of(model), trait=trait, convention=convention)
    layers = vector.get("layers")
    missing = [layer for layer in layers or () if Hookpoint(layer) not in direction.hookpoints]
    if missing:
        raise AlignmentError(
            f"{path.name} steers at layer {missing[0]}, where {source.name} has no vector.",
            f"It has {direction.hookpoints[0]} to {direction.hookpoints[-1]}.",
        )
    provenance = direction.provenance
    method = f"imported: {FORMAT}"
    details = {**provenance.details, "easysteer": {**spec, "vectors": [vector]}}
    return replace(direction, method=method, provenance=replace(provenance, method=method, details=details))


def save_easysteer(
    direction: Direction,
    path: str | Path,
    *,
    scale: float | None = None,
    layers: list[int] | None = None,
    phases: tuple[Phase, ...] = ("prompt", "generation"),
    drop_layer_0: bool = False,
) -> None:
    """Write NAME.json and NAME.gguf beside it. A direction that came from a spec keeps that spec's fields.

    Args:
        scale: factor on the raw vectors, which EasySteer multiplies; default 1.
        layers: where EasySteer applies it; default: wherever the file has a vector.

    Raises:
        AlignmentError: as for GGUF, or a layer where the direction has no vector.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise ArtefactError(
            f"a SteeringSpec must be a .json file, got {path.name}.", "Its vectors go into a .gguf beside it."
        )
    if path.with_suffix(".safetensors").exists():
        raise ArtefactError(
            f"{path.name} is the manifest of the direction {path.stem}.safetensors beside it.", "Choose another name."
        )
    for layer in layers or ():
        direction.index(layer)
    kept = direction.provenance.details.get("easysteer")
    spec = dict(kept) if kept else {"conflict": "priority", "debug": False}
    vector = dict(spec["vectors"][0]) if kept else {**_DEFAULTS, "apply": {"phases": list(phases)}}
    vector["source"] = f"{path.stem}.gguf"
    if scale is not None:
        vector["scale"] = scale
    if layers is not None:
        vector["layers"] = layers
    save_gguf(direction, path.with_suffix(".gguf"), drop_layer_0=drop_layer_0)
    write_json(path, {**spec, "vectors": [vector]})


def _unpack(data: Any, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The specification and its one vector, both checked."""
    vectors = data.get("vectors") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(vectors, list) or not set(data) <= _SPEC_KEYS:
        raise ArtefactError(f"{name} is not a SteeringSpec.", "Expected the keys vectors, conflict and debug.")
    if len(vectors) != 1 or not isinstance(vectors[0], dict):
        raise ArtefactError(
            f"{name} holds {len(vectors)} vectors.", "One is read at a time: split the specification, a vector a file."
        )
    vector = vectors[0]
    if "source" not in vector or not set(vector) <= _VECTOR_KEYS:
        raise ArtefactError(
            f"the vector of {name} has the keys {', '.join(sorted(map(str, vector))[:8])}.",
            f"Expected source and apply, and of {', '.join(_DEFAULTS)}, params, name what is needed.",
        )
    if vector.get("algorithm", "direct") != "direct":
        raise ArtefactError(
            f"{name} uses the algorithm {vector['algorithm']!r}.",
            "Only vectors that are added (direct) are directions.",
        )
    checks = {
        "scale must be a number": _is_number(vector.get("scale", 1.0)),
        "layers must be a list of whole numbers": _is_layers(vector.get("layers")),
        "normalize must be true or false": isinstance(vector.get("normalize", False), bool),
        "apply must name its phases": _has_phases(vector.get("apply")),
    }
    for rule, holds in checks.items():
        if not holds:
            raise ArtefactError(f"{name} is not a SteeringSpec that can be used: {rule}.")
    return data, vector


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _is_layers(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(type(layer) is int for layer in value))


def _has_phases(value: Any) -> bool:
    phases = value.get("phases") if isinstance(value, dict) else None
    return isinstance(phases, list) and bool(phases) and all(phase in ("prompt", "generation") for phase in phases)


def _plain_name(source: Any, name: str) -> str:
    """The source as a file name without a folder."""
    if not isinstance(source, str) or source in ("", ".", "..") or any(c in source for c in "/\\:\0"):
        raise ArtefactError(
            f"{name} names the vector file {source!r}.",
            "A path in a file from elsewhere is not followed: expected the name of a file beside it.",
            "Put the GGUF there and name it alone, or give it: vector_file=... .",
        )
    return source
