"""Directions, residuals and the three edits of a residual, for tests without a model."""

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor

from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.residual import Ablate, Add, Cap
from persona_interp.types import Hookpoint
from tests.small import direction

WIDTH = 8
NORMS = torch.tensor([3.0, 5.0, 7.0])
seeds = st.integers(0, 2**31 - 1)
MAKERS: dict[str, Callable[..., Intervention]] = {
    "add": lambda d, layer, **more: Add(d, layer, 0.5, **more),
    "ablate": lambda d, layer, **more: Ablate(d, layer, **more),
    "cap": lambda d, layer, **more: Cap(d, layer, lower=-0.1, upper=0.1, **more),
}


def vectors(seed: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(seed))


def some_direction(seed: int = 0, scale: float = 2.0):
    return direction(vectors(seed, scale), norms=NORMS)


def residual_and_mask(seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    residual = 3 * torch.randn(2, 5, WIDTH, generator=generator)
    return residual.to(dtype), torch.rand(2, 5, generator=generator) < 0.6


def apply(intervention: Intervention, hookpoint: Hookpoint, residual: Tensor, mask: Tensor) -> Tensor:
    for edit in intervention.edits[hookpoint]:
        residual = edit.function(residual, mask)  # pyright: ignore[reportCallIssue]
    return residual


def along(residual: Tensor, vector: Tensor) -> Tensor:
    return residual.float() @ (vector / vector.norm())
