"""What every foreign format is checked against: the shape of the model, and whose vectors they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Size
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ArtefactError, ConfigError, IncompatibleDirectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.tensors import as_float32, check_dense_floats, finite
from persona_interp.texts import path_part
from persona_interp.types import Hookpoint, Provenance

UNBOUND = "unknown"
"""Weights of a model that was only named. No loaded model has them, so nothing is steered before a rebinding."""


@checked
@dataclass(frozen=True)
class ModelShape:
    """The model that a file belongs to, without the model.

    Args:
        weights: the fingerprint of its weights. Left out, the direction is unbound: it can be converted, saved and
            compared, and is refused for steering until `rebind_direction(direction, model)`.
    """

    name: str
    n_layers: Count
    d_model: Size
    weights: str = UNBOUND


def shape_of(model: HookedModel | ModelShape) -> ModelShape:
    """The shape and the weights of a loaded model, or the shape as given."""
    if isinstance(model, ModelShape):
        return model
    return ModelShape(model.name, model.n_layers, model.d_model, model.provenance.weights)


def imported_provenance(
    shape: ModelShape, format_name: str, *, pooling: str | None = None, **details: Any
) -> Provenance:
    """What an imported direction says of itself. How it was made is not known, and not claimed."""
    return Provenance(
        model=shape.name,
        weights=shape.weights,
        backend="imported",
        dtype="unknown",
        n_layers=shape.n_layers,
        d_model=shape.d_model,
        method=f"imported: {format_name}",
        method_version=1,
        pooling=pooling,
        basis="as in the file",
        details=details,
    )


def checked_vector(vector: Any, name: str, shape: ModelShape) -> Float[Tensor, " d_model"]:
    """One finite float32 vector of the model's width.

    Raises:
        ArtefactError: not a vector of floats, or values that are not finite.
        IncompatibleDirectionError: another width.
    """
    return checked_rows(vector, name, shape, axes=("d_model",))


def checked_rows(vectors: Any, name: str, shape: ModelShape, *, axes: Sequence[str]) -> Float[Tensor, "*rows d_model"]:
    """Finite float32 vectors of the model's width, with the axes named; other floats become float32.

    The shape is checked before a value is touched: a small file can declare a huge tensor.

    Raises:
        ArtefactError: not a plain tensor of floats, or values that are not finite.
        IncompatibleDirectionError: another width.
    """
    check_dense_floats(vectors, name, tuple(axes))
    if vectors.shape[-1] != shape.d_model:
        raise IncompatibleDirectionError(
            f"{name} holds vectors of d_model {vectors.shape[-1]}; {shape.name} has {shape.d_model}.",
            "Name the model that they were made with.",
        )
    if vectors.dim() == 2 and vectors.shape[0] > shape.n_layers + 1:
        raise too_many_rows(name, vectors.shape[0], shape)
    return finite(as_float32(vectors, name), name)


def too_many_rows(name: str, n_rows: int, shape: ModelShape) -> AlignmentError:
    """The error for a file that has more rows than the model has hidden states."""
    return AlignmentError(
        f"{name} has {n_rows} rows; {shape.name} has {shape.n_layers} layers, so no layout of it has more than"
        f" {shape.n_layers + 1}.",
        "Name the model that the file was made with.",
    )


def check_layers(layers: Sequence[int], name: str, shape: ModelShape) -> None:
    """Refuse numbers that are no 0-based block of the model.

    Raises:
        AlignmentError: says which convention would fit, where one does.
    """
    if not layers:
        raise ArtefactError(f"{name} holds no vectors.", "Expected one vector a layer.")
    low, high = min(layers), max(layers)
    if low >= 0 and high < shape.n_layers:
        return
    advice = "The file belongs to another model."
    if high == shape.n_layers:
        advice = (
            f"Layer {high} exists only where hidden states are counted: hidden_states[N] is the output of block N-1."
            " If that is what its maker did, subtract 1 from every layer; otherwise it belongs to another model."
        )
    raise AlignmentError(
        f"{name} has layers {low}..{high}; the blocks of {shape.name} run 0..{shape.n_layers - 1}.", advice
    )


def check_outputs(direction: Direction, format_name: str) -> list[int]:
    """The blocks of a direction that lies at outputs of blocks only, which is all that the format can hold.

    Raises:
        AlignmentError: another stream.
    """
    for hookpoint in direction.hookpoints:
        if hookpoint.stream != "resid_post":
            raise AlignmentError(
                f"a {format_name} file cannot hold {direction.trait} at {hookpoint}.",
                "It holds outputs of blocks (resid_post). Leave the others out, or save as .safetensors.",
            )
    return [hookpoint.layer for hookpoint in direction.hookpoints]


def check_pole(direction: Direction, format_name: str) -> None:
    """Refuse a direction that points elsewhere than toward its trait: the file could not say so.

    Raises:
        AlignmentError: names the pole.
    """
    if direction.positive_pole != direction.trait:
        raise AlignmentError(
            f"a {format_name} file says nothing of its sign, and {direction.trait} points toward"
            f" {direction.positive_pole!r}.",
            "Whoever reads the file takes it to point toward the trait. Turn it (-direction), or rename the trait.",
        )


def need_trait(trait: str | None, path: Path) -> str:
    """The trait's name, which was given or is in the file.

    Raises:
        ConfigError: there is none.
        DataError: no file can be named after it.
    """
    if not trait:
        raise ConfigError(f"{path.name} does not say which trait it holds.", "Name it: trait=... (--trait NAME).")
    return path_part(trait, f"trait in {path.name[:80]}")


def outputs(layers: Sequence[int]) -> tuple[Hookpoint, ...]:
    """The outputs of blocks."""
    return tuple(Hookpoint(layer) for layer in layers)
