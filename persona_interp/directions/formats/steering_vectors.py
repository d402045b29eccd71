"""Vectors of the steering-vectors package: `{layer: vector}`, the layer a 0-based block, the vector its output.

The package has no save method, and a pickled `SteeringVector` is an object that only running code can rebuild; it is
refused. What is read: `torch.save(vector.layer_activations, path)`, or a dictionary with the fields
`layer_activations` and `layer_type`. What is written is the first, so that
`SteeringVector(torch.load(path, weights_only=True), layer_type="decoder_block")` has it back.
"""

from pathlib import Path
from typing import Any

import torch

from persona_interp.directions.direction import Direction
from persona_interp.directions.formats.shape import (
    ModelShape,
    check_layers,
    check_outputs,
    check_pole,
    checked_vector,
    imported_provenance,
    need_trait,
    outputs,
    shape_of,
)
from persona_interp.directions.formats.torch_file import load_torch_file, save_torch_file
from persona_interp.errors import ArtefactError
from persona_interp.models.protocol import HookedModel

FORMAT = "steering-vectors"
_BLOCK = "decoder_block"


def load_steering_vectors(path: str | Path, model: HookedModel | ModelShape, *, trait: str | None) -> Direction:
    """The direction in a dictionary of vectors, in the file's order of layers.

    Raises:
        ArtefactError: an object or anything else than vectors, or vectors of another part of the block.
        AlignmentError: a layer that is no block of the model.
        IncompatibleDirectionError: another width.
    """
    path, shape = Path(path), shape_of(model)
    content, digest = load_torch_file(path)
    vectors = _unpack(content, path.name)
    layers = list(vectors)
    check_layers(layers, path.name, shape)
    rows = [checked_vector(vector, f"layer {layer} of {path.name}", shape) for layer, vector in vectors.items()]
    dtypes = sorted({str(vector.dtype).removeprefix("torch.") for vector in vectors.values()})
    provenance = imported_provenance(
        shape, FORMAT, source=path.name, source_sha256=digest, source_dtype=", ".join(dtypes)
    )
    name = need_trait(trait, path)
    return Direction(torch.stack(rows), outputs(layers), name, provenance.method, name, provenance)


def save_steering_vectors(direction: Direction, path: str | Path) -> None:
    """Write `{layer: vector}`.

    Raises:
        AlignmentError: the direction lies elsewhere than at outputs of blocks, or points away from its trait.
    """
    check_pole(direction, FORMAT)
    layers = check_outputs(direction, FORMAT)
    vectors = {layer: vector.clone() for layer, vector in zip(layers, direction.vectors, strict=True)}
    save_torch_file(vectors, Path(path))


def _unpack(content: Any, name: str) -> dict[int, Any]:
    if isinstance(content, dict) and "layer_activations" in content:
        kind = content.get("layer_type", _BLOCK)
        if kind != _BLOCK:
            raise ArtefactError(
                f"{name} holds vectors of layer_type {kind!r}.",
                f"Only {_BLOCK} vectors lie in the residual stream; those of a part of the block have no place here.",
            )
        content = content["layer_activations"]
    if not isinstance(content, dict) or not all(type(layer) is int for layer in content):
        found = (
            f"the keys {', '.join(map(repr, list(content)[:4]))}"
            if isinstance(content, dict)
            else type(content).__name__
        )
        raise ArtefactError(f"{name} holds {found}.", f"A {FORMAT} file is a dictionary from layer numbers to vectors.")
    return content
