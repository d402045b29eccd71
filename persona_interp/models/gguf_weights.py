"""The weights of a GGUF file as float32 safetensors, written tensor by tensor: never more than one is in memory.

Names and layouts are those of transformers' own loader for GGUF files, which reads the whole model at once; what is
written here is what it gives, bit by bit. Where one of its weights is made of several tensors of the file (mixtures of
experts), there is no plan, and its loader is to be used.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float
from transformers import PreTrainedModel

from persona_interp.errors import ModelError
from persona_interp.gguf_header import GGUFHeader, TensorPlace
from persona_interp.progress import track

_VALUES_AT_ONCE = 2**18
"""Values of a weight that are made from their blocks at once: 1 MiB, which stays in the processor's cache."""


@dataclass(frozen=True)
class PlannedWeight:
    """A weight of a model and the tensor of the file that it is made of."""

    name: str
    shape: tuple[int, ...]
    place: TensorPlace

    @property
    def n_bytes(self) -> int:
        """Of its values in float32."""
        return 4 * prod(self.shape)


Layout = Callable[[Float[np.ndarray, "..."], str], Float[np.ndarray, "..."]]
"""The values of a tensor with a name in the file, as transformers lays them out."""


def plan_weights(header: GGUFHeader, model: PreTrainedModel) -> tuple[tuple[PlannedWeight, ...], Layout] | None:
    """What each weight of a model is made of, in the order of their names; None where that is not one tensor each.

    Args:
        model: of the file's settings; its own weights are not looked at and may be on the meta device.
    """
    try:
        from transformers.integrations.gguf.utils import is_gguf_arch_supported
        from transformers.modeling_gguf_pytorch_utils import (
            TENSOR_PROCESSORS,
            TensorProcessor,
            get_gguf_hf_weights_map,
        )
    except ImportError:  # another version of transformers, which may do it in another way
        return None
    if is_gguf_arch_supported(header.architecture) or not header.little_endian:
        return None
    processor = TENSOR_PROCESSORS.get(header.architecture, TensorProcessor)(config=model.config.to_dict())
    unsaved = {*(model.all_tied_weights_keys or {}), *(model._keys_to_ignore_on_save or ())}
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items() if name not in unsaved}
    flat = SimpleNamespace(config=model.config, state_dict=model.state_dict, named_children=dict)
    for each in (flat, model):  # modules within it matter where its own names are not enough, and take seconds
        names: dict[str, str] = get_gguf_hf_weights_map(each, processor)
        made_of = [(names[place.name], place) for place in header.tensors if place.name in names]
        if shapes.keys() <= {name for name, _ in made_of}:
            break
    else:
        return None
    places = dict(made_of)
    if len(places) < len(made_of):
        return None

    def laid_out(values: Float[np.ndarray, "..."], name: str) -> Float[np.ndarray, "..."]:
        found: Any = processor.process(
            weights=values, name=name, tensor_key_mapping=names, parsed_parameters={"tensors": {}}
        )
        return found.weights

    return tuple(PlannedWeight(name, shapes[name], places[name]) for name in sorted(shapes)), laid_out


def write_weights(gguf: Path, plan: tuple[PlannedWeight, ...], layout: Layout, target: Path, label: str) -> str:
    """Write the planned weights of a GGUF file as a safetensors file; returns its SHA-256.

    The file has the bytes that the safetensors package would have written.

    Raises:
        ModelError: a tensor has another shape than the model's settings give it.
        OSError: the file cannot be written.
    """
    digest = hashlib.sha256()
    n_steps = sum(len(list(_row_ranges(weight.place))) for weight in plan)
    with gguf.open("rb") as source, target.open("wb") as file, _one_thread():

        def put(data: bytes | memoryview) -> None:
            file.write(data)
            digest.update(data)

        def steps() -> Iterator[None]:
            put(_head({weight.name: weight.shape for weight in plan}))
            for weight in plan:
                values = np.empty(weight.place.shape, dtype=np.float32)
                yield from _read(source, weight.place, values)
                done = layout(values, weight.place.name)
                if done.shape != weight.shape:
                    raise ModelError(
                        f"cannot read the GGUF file of {label}: {weight.place.name} has the shape"
                        f" {weight.place.shape}, and {weight.name} of its settings {weight.shape}.",
                        "The file may be damaged. Get it again.",
                    )
                put(np.ascontiguousarray(done, dtype="<f4").data.cast("B"))

        for _ in track(steps(), f"converting {label}", total=n_steps):
            pass
    return digest.hexdigest()


@contextmanager
def _one_thread() -> Iterator[None]:
    """A context in which torch computes on one thread: for parts this small, several would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _head(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """The header of a safetensors file of float32 tensors, which follow it in this order."""
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * prod(shape)
        described[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _row_ranges(place: TensorPlace) -> Iterator[tuple[int, int]]:
    """The rows that are read together, first and behind the last."""
    n_rows = prod(place.shape[:-1])
    step = max(1, _VALUES_AT_ONCE // place.shape[-1])
    yield from ((start, min(start + step, n_rows)) for start in range(0, n_rows, step))


def _read(source: BinaryIO, place: TensorPlace, values: Float[np.ndarray, "..."]) -> Iterator[None]:
    """Fill an array with the values of a tensor, and stop after each part of it."""
    width = place.shape[-1]
    row_bytes = place.n_bytes // prod(place.shape[:-1])
    flat = values.reshape(-1, width)
    source.seek(place.start)
    for first, end in _row_ranges(place):
        data = np.frombuffer(source.read((end - first) * row_bytes), dtype=np.uint8)
        flat[first:end] = _dequantised(data, place.kind, width)
        yield


def _dequantised(data: np.ndarray, kind: int, width: int) -> Float[np.ndarray, "row width"]:
    """Rows of values from the bytes of their blocks.

    By torch where transformers can, else by the gguf package, which is several times slower; both compute the same.
    """
    from gguf import GGMLQuantizationType, dequantize
    from transformers.integrations.gguf import dequant

    if kind in dequant.GGML_BLOCK:
        return dequant.dequantize(torch.from_numpy(data.copy()), kind).numpy().reshape(-1, width)
    plain = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}
    found = GGMLQuantizationType(kind)
    rows = data.view(plain.get(found, np.uint8))
    return dequantize(rows.reshape(-1, width) if found in plain else rows.reshape(-1, _bytes(found, width)), found)


def _bytes(kind: Any, width: int) -> int:
    """Bytes of a row of values."""
    from gguf.constants import GGML_QUANT_SIZES

    block, block_bytes = GGML_QUANT_SIZES[kind]
    return width // block * block_bytes
