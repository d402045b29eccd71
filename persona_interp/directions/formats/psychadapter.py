"""Checkpoints of the published PsychAdapter code: the state dict of its `transform_matrix`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.trait_texts import Standard
from persona_interp.directions.formats.torch_file import MOST_BYTES, load_torch_file
from persona_interp.directions.psychadapter import METHOD_VERSION, KVShape, PsychAdapter, filled
from persona_interp.errors import ArtefactError, IncompatibleDirectionError
from persona_interp.files import is_file, is_folder, read_bytes
from persona_interp.io import parse_safetensors, sha256_bytes
from persona_interp.models.hooked import HookedModelBase
from persona_interp.tensors import as_float32, check_dense_floats, finite

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
    check_dense_floats(tensors["weight"], f"the weight in {file.name}", ("output", "trait"))
    check_dense_floats(tensors["bias"], f"the bias in {file.name}", ("output",))
    weight, bias = tensors["weight"], tensors["bias"]
    if weight.shape != (shape.n_outputs, n_traits) or bias.shape != (shape.n_outputs,):
        raise IncompatibleDirectionError(
            f"{file.name} maps {' x '.join(map(str, weight.shape))} numbers (bias {' x '.join(map(str, bias.shape))}).",
            f"{model.name} with {n_traits} traits ({', '.join(traits)}) needs {shape.n_outputs} x {n_traits}: {shape}.",
            "Give the model that it was trained on, and a name for each of its traits.",
        )
    tensors = {key: finite(as_float32(tensor, file.name), file.name) for key, tensor in tensors.items()}
    provenance = model.provenance.derive(
        "psychadapter", METHOD_VERSION, pooling=None, source=file.name, sha256=sha256, layout="published code"
    )
    return filled(shape, traits, provenance, standard, tensors)


def _file(path: Path) -> Path:
    if not is_folder(path):
        return path
    found = [path / inside for inside in _INSIDE if is_file(path / inside)]
    if not found:
        raise ArtefactError(f"{path} holds no checkpoint of a PsychAdapter.", f"Expected one of {', '.join(_INSIDE)}.")
    return found[0]


def _state(file: Path) -> tuple[Any, str]:
    if file.suffix != ".safetensors":
        return load_torch_file(file)
    data = read_bytes(file, most=MOST_BYTES)
    return parse_safetensors(data, file, "Restore it or download it again."), sha256_bytes(data)


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
