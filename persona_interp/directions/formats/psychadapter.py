"""Checkpoints of the published PsychAdapter code: the state dict of its `transform_matrix`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.trait_texts import Standard
from persona_interp.directions.formats.torch_file import load_torch_file
from persona_interp.directions.psychadapter import METHOD_VERSION, KVShape, PsychAdapter, filled
from persona_interp.errors import ArtefactError, IncompatibleDirectionError
from persona_interp.io import read_bytes, sha256_bytes
from persona_interp.models.hooked import HookedModelBase

_INSIDE = (
    "transform_matrix/transform_matrix.weights",
    "base_model/transform_matrix/transform_matrix.weights",
    "adapter_model.safetensors",
)


@checked
def load_official(
    path: str | Path, model: HookedModelBase, traits: Some[str], *, standard: Standard | None = None
) -> PsychAdapter:
    """The adapter in a checkpoint of the published code: a linear map from the trait vector, with its bias.

    Read are the file `transform_matrix.weights` (a state dict with `weight` and `bias`), any state dict or safetensors
    file that has a `transform_matrix` in it, and folders that hold one of these. The published training code writes
    `base_model/transform_matrix/` before it trains, so a file from there may be untrained. Its z is what the columns of
    its CSV were (`ope_z`, ...), in their order.

    Args:
        model: the base the checkpoint was trained on, with its LoRA adapter merged in where it has one.
        traits: names of the columns, in order.

    Raises:
        ArtefactError: there is no such map in the file, or the file is damaged or holds more than tensors.
        IncompatibleDirectionError: its shape does not fit the model or the traits; both are named.
        ModelError: the model has no key/value cache.

    Source: the published code of Vu et al. 2026, PsychAdapter (npj Artificial Intelligence 2:7).
    """
    file = _file(Path(path))
    state, sha256 = _state(file)
    tensors = _linear_map(file, state)
    shape, n_traits = KVShape.of(model.config), len(traits)
    weight, bias = tensors["weight"], tensors["bias"]
    if weight.dim() != 2 or weight.shape != (shape.n_outputs, n_traits) or bias.shape != (shape.n_outputs,):
        raise IncompatibleDirectionError(
            f"{file.name} maps {' x '.join(map(str, weight.shape))} numbers (bias {' x '.join(map(str, bias.shape))}).",
            f"{model.name} with {n_traits} traits ({', '.join(traits)}) needs {shape.n_outputs} x {n_traits}: {shape}.",
            "Give the model that it was trained on, and a name for each of its traits.",
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ArtefactError(f"{file.name} holds values that are not finite.", "Restore it or download it again.")
    provenance = model.provenance.derive(
        "psychadapter", METHOD_VERSION, pooling=None, source=file.name, sha256=sha256, layout="published code"
    )
    return filled(shape, traits, provenance, standard, tensors)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / inside for inside in _INSIDE if (path / inside).is_file()]
    if not found:
        raise ArtefactError(f"{path} holds no checkpoint of a PsychAdapter.", f"Expected one of {', '.join(_INSIDE)}.")
    return found[0]


def _state(file: Path) -> tuple[Any, str]:
    if file.suffix != ".safetensors":
        return load_torch_file(file)
    data = read_bytes(file)
    try:
        return load_safetensors(data), sha256_bytes(data)
    except SafetensorError as error:
        raise ArtefactError(
            f"{file} is not a whole safetensors file: {error}.", "Restore it or download it again."
        ) from error


def _linear_map(file: Path, state: Any) -> dict[str, Tensor]:
    """Weight and bias, under whatever prefix the file has them; `weights` and `biases` are as good."""
    found: dict[str, Tensor] = {}
    for key, tensor in state.items() if isinstance(state, Mapping) else ():
        before, _, last = str(key).rpartition(".")
        part = {"weight": "weight", "weights": "weight", "bias": "bias", "biases": "bias"}.get(last)
        if part and isinstance(tensor, Tensor) and (not before or "transform_matrix" in before.split(".")):
            found[part] = tensor
    if found.keys() != {"weight", "bias"}:
        names = ", ".join(map(str, list(state)[:6])) if isinstance(state, Mapping) else type(state).__name__
        raise ArtefactError(
            f"{file.name} holds no transform_matrix: {names or 'nothing'}.",
            "Expected a state dict with transform_matrix.weight and transform_matrix.bias, or weight and bias alone.",
        )
    return found
