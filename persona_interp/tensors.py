"""Tensors that come from files: dense floats of a given number of axes, finite, as float32 on the CPU."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.errors import ArtefactError

_DAMAGED = "The file is damaged, or its making went wrong."
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def check_dense_floats(tensor: Any, name: str, axes: tuple[str, ...]) -> None:
    """Refuse what is no plain tensor of floats with these axes; no value is touched.

    Raises:
        ArtefactError: another object, a nested, sparse, quantised or meta tensor, another dtype, other axes.
    """
    expected = f"Expected a dense tensor [{', '.join(axes)}] of float32, bfloat16, float16 or float64."
    if fault := _not_dense(tensor):
        raise ArtefactError(f"{name} holds {fault}, not a dense tensor.", expected)
    if tensor.dtype not in FLOATS:
        raise ArtefactError(
            f"{name} holds {str(tensor.dtype).removeprefix('torch.')} values.",
            expected,
            "What other kinds stand for is not known: convert them yourself, knowing it, and save again.",
        )
    if tensor.dim() != len(axes):
        raise ArtefactError(f"{name} has shape {str(list(tensor.shape))[:80]}.", expected)


def as_float32(tensor: Tensor, name: str) -> Float[Tensor, "..."]:
    """A copy in float32 without gradient; float64 is rounded.

    Raises:
        ArtefactError: a value is too large for float32.
    """
    wide = tensor.detach().to(device="cpu", dtype=torch.float32).contiguous().clone()
    if not torch.equal(wide.isfinite(), tensor.isfinite()):
        raise ArtefactError(f"{name} has values that are too large for float32.", _DAMAGED)
    return wide


def finite(tensor: Float[Tensor, "..."], name: str) -> Float[Tensor, "..."]:
    """The same tensor, where no value is infinite or missing.

    Raises:
        ArtefactError: one is.
    """
    if not bool(tensor.isfinite().all()):
        raise ArtefactError(f"{name} has values that are not finite.", _DAMAGED)
    return tensor


def read_floats(tensors: Mapping[str, Any], key: str, name: str, axes: tuple[str, ...]) -> Float[Tensor, "..."]:
    """One of a file's tensors as float32; it may hold values that are not finite.

    Raises:
        ArtefactError: there is none of that name, or as of `check_dense_floats` and `as_float32`.
    """
    if key not in tensors:
        there = ", ".join(sorted(tensors)[:8]) or "none"
        raise ArtefactError(f"{name} has no tensor {key}.", f"It has {there[:200]}.")
    check_dense_floats(tensors[key], f"{key} of {name}", axes)
    return as_float32(tensors[key], f"{key} of {name}")


def _not_dense(tensor: Any) -> str | None:
    if not isinstance(tensor, Tensor):
        return f"a {type(tensor).__name__}"
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"a {type(tensor).__name__}"
    kinds = {
        "a nested tensor": tensor.is_nested,
        "a quantised tensor": tensor.is_quantized,
        "a tensor without values (meta)": tensor.is_meta,
        "a sparse tensor": tensor.layout != torch.strided,
    }
    return next((kind for kind, holds in kinds.items() if holds), None)
