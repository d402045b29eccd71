"""Directions that no trait made: random ones that match the spread of the activations."""

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.directions.direction import Direction
from persona_interp.types import Hookpoint

SHRINKAGE = 0.1


def random_directions(
    activations: Activations, hookpoint: Hookpoint, *, like: Direction, n: int, seed: int
) -> list[Direction]:
    """Draws from N(0, 0.9 S + 0.1 mean(diag S) I), S the covariance of the activations, with the norm of `like`.

    They point where the model's activations vary anyway, so they are a harder null than isotropic noise.
    """
    values = activations.values[:, activations.hookpoints.index(hookpoint)]
    drawn = matched_draws(values[values.isfinite().all(1)], n, seed=seed)
    drawn = drawn / drawn.norm(dim=-1, keepdim=True) * like.at(hookpoint).norm()
    norms = None if like.residual_norms is None else like.residual_norms[[like.index(hookpoint)]]
    provenance = like.provenance.derive("random", 1, pooling=activations.pooling, null_seed=seed)
    return [
        Direction(vector[None], (hookpoint,), like.trait, "random", f"random direction {i}", provenance, norms)
        for i, vector in enumerate(drawn)
    ]


def matched_draws(values: Float[Tensor, "sample d_model"], n: int, *, seed: int) -> Float[Tensor, "draw d_model"]:
    """Random vectors with the shrunken covariance of the values, without forming it."""
    generator = torch.Generator().manual_seed(seed)
    centred = values - values.mean(0)
    weights = torch.randn(n, len(values), generator=generator) / max(1, len(values) - 1) ** 0.5
    spread = (centred.square().sum(0) / max(1, len(values) - 1)).mean().sqrt()
    noise = torch.randn(n, values.shape[1], generator=generator) * spread
    return (1 - SHRINKAGE) ** 0.5 * weights @ centred + SHRINKAGE**0.5 * noise
