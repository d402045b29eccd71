"""Cosines between directions at a hookpoint or by depth, and what chance gives."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Shaped

from persona_interp.activations.store import Activations
from persona_interp.directions.baselines import matched_draws
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError
from persona_interp.statistics.levels import NULL_QUANTILE
from persona_interp.types import Hookpoint, depth_of

Cosines = Float[np.ndarray, "depth trait trait"]


def cosine_table(
    directions: dict[str, Direction],
    hookpoint: Hookpoint,
    activations: Activations,
    *,
    poles: Shaped[np.ndarray, " sample"] | None = None,
    n_null: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Cosine of every pair of directions, with the 95th percentile of |cosine| over random pairs.

    Random pairs are drawn with the covariance of the activations. Columns: trait_a, trait_b, layer, cosine, null_95.

    Args:
        poles: of each sample; the covariance is then that within them, which does not hold the traits themselves.
    """
    names = list(directions)
    unit = torch.stack([directions[name].unit().at(hookpoint) for name in names])
    values = activations.values[:, activations.hookpoints.index(hookpoint)]
    finite = values.isfinite().all(1)
    within = None if poles is None else poles[finite.numpy()]
    draws = matched_draws(values[finite], 2 * n_null, seed=seed, poles=within)
    draws = draws / draws.norm(dim=-1, keepdim=True)
    null = float((draws[:n_null] * draws[n_null:]).sum(-1).abs().quantile(NULL_QUANTILE))
    cosines = unit @ unit.T
    return pd.DataFrame(
        [
            {"trait_a": a, "trait_b": b, "layer": hookpoint.layer, "cosine": float(cosines[i, j]), "null_95": null}
            for i, a in enumerate(names)
            for j, b in enumerate(names)
        ]
    )


def cosines_by_depth(directions: Mapping[str, Direction], depths: Sequence[float]) -> Cosines:
    """Cosine of every pair of directions at depths (`depth_of`), linear between blocks; in the order of `directions`.

    Only outputs of blocks that all directions have count,
    so neither an embedding row nor one after the final norm takes part.

    Raises:
        AlignmentError: the directions belong to different models, or do not reach a depth.
    """
    first = next(iter(directions.values()))
    for one in directions.values():
        if (one.provenance.model, one.provenance.weights) != (first.provenance.model, first.provenance.weights):
            raise AlignmentError(
                f"directions of {first.provenance.model} and {one.provenance.model} have no common angles.",
                "Compare the cosines of one model with those of the other: compare_geometry.",
            )
    shared = set.intersection(*(set(one.hookpoints) for one in directions.values()))
    layers = sorted(hookpoint.layer for hookpoint in shared if hookpoint.stream == "resid_post")
    known = [depth_of(layer, first.provenance.n_layers) for layer in layers]
    if len(known) < 2 or min(depths) < known[0] or max(depths) > known[-1]:
        reach = f"{known[0]:.3f} to {known[-1]:.3f}" if len(known) else "none"
        raise AlignmentError(
            f"depths must be within those of the blocks that the directions of {first.provenance.model} share,"
            f" {reach}, got {min(depths):g} to {max(depths):g}.",
        )
    unit = torch.stack([torch.stack([one.at(layer) for layer in layers]) for one in directions.values()], dim=1)
    unit = (unit / unit.norm(dim=-1, keepdim=True)).double()
    values = (unit @ unit.mT).numpy()
    flat = values.reshape(len(layers), -1)
    grid = [np.interp(depths, known, flat[:, column]) for column in range(flat.shape[1])]
    return np.stack(grid, axis=1).reshape(len(depths), *values.shape[1:])
