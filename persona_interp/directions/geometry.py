"""Cosines between directions at a hookpoint, and what chance gives."""

import pandas as pd
import torch

from persona_interp.activations.store import Activations
from persona_interp.directions.baselines import matched_draws
from persona_interp.directions.direction import Direction
from persona_interp.types import Hookpoint


def cosine_table(
    directions: dict[str, Direction],
    hookpoint: Hookpoint,
    activations: Activations,
    *,
    n_null: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Cosine of every pair of directions, with the 95th percentile of |cosine| over random pairs.

    Random pairs are drawn with the covariance of the activations. Columns: trait_a, trait_b, layer, cosine, null_95.
    """
    names = list(directions)
    unit = torch.stack([directions[name].unit().at(hookpoint) for name in names])
    values = activations.values[:, activations.hookpoints.index(hookpoint)]
    draws = matched_draws(values[values.isfinite().all(1)], 2 * n_null, seed=seed)
    draws = draws / draws.norm(dim=-1, keepdim=True)
    null = float((draws[:n_null] * draws[n_null:]).sum(-1).abs().quantile(0.95))
    cosines = unit @ unit.T
    return pd.DataFrame(
        [
            {"trait_a": a, "trait_b": b, "layer": hookpoint.layer, "cosine": float(cosines[i, j]), "null_95": null}
            for i, a in enumerate(names)
            for j, b in enumerate(names)
        ]
    )
