"""Other ways to a direction from the same activations (PCA, probes, LDA), and random ones, with one interface."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Seed
from persona_interp.directions.direction import Direction
from persona_interp.directions.pairing import paired_rows
from persona_interp.directions.persona import mean_difference
from persona_interp.directions.probes import lda_vectors, logistic_vectors, principal_vectors
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.statistics import null_directions
from persona_interp.statistics.streams import stream
from persona_interp.types import Hookpoint

BaselineMethod = Literal["mean_difference", "pca", "logistic", "lda", "random"]
BASELINE_METHODS: tuple[BaselineMethod, ...] = get_args(BaselineMethod)
METHOD_VERSION = 1


@checked
def fit_direction(
    method: BaselineMethod, positive: Activations, negative: Activations, *, trait: str, seed: Seed = 0
) -> Direction:
    """A direction from positive and negative activations, at every hookpoint, as long as their mean difference.

    `mean_difference`: mean of one set minus mean of the other. `pca`: first principal component of the differences of
    paired rows, through the origin (LAT); pairs share question, instruction and sample where the samples say so, and
    are random otherwise. `logistic`: weights of a logistic probe on standardised activations, in the model's own
    basis. `lda`: inverse covariance within the poles, shrunk, times the mean difference. `random`: normal with the
    covariance within the poles, shrunk by 0.1; the same draw of row weights at every hookpoint.

    The first, `logistic` and `lda` point toward `positive` by construction, `pca` and `random` are turned so that
    positive rows project higher on average. One length for all makes coefficients comparable; where the means are
    equal the vector is zero. Rows that are not finite (an answer that ended at once) are left out.

    Args:
        seed: for random pairs and for `random`; the other methods have no chance in them.

    Raises:
        ConfigError: there is no such method.
        AlignmentError: the two sets differ in hookpoints, pooling or model.
        EmptySelectionError: a side has no finite row, or too few for the method, or nothing tells the sides apart.

    Source: Zou et al. 2023, Representation Engineering (arXiv 2310.01405), for LAT; Ledoit and Wolf 2004, A
    well-conditioned estimator for large-dimensional covariance matrices, for the shrinkage of LDA.
    """
    positive, negative = _finite(positive, trait), _finite(negative, trait)
    details: dict[str, str | float | int] = {}
    pairs, pairing = paired_rows(positive.samples, negative.samples, seed=seed)
    if method == "pca":
        details = {"pairing": pairing, "n_pairs": len(pairs), "seed": seed}
    elif method == "random":
        details = {"null_seed": seed}
    reference = mean_difference(
        positive, negative, trait=trait, method=method, method_version=METHOD_VERSION, **details
    )
    ours, theirs = (side.values.double().transpose(0, 1) for side in (positive, negative))
    difference = ours.mean(1) - theirs.mean(1)
    if method == "pca":
        vectors = principal_vectors(ours[:, pairs[:, 0]] - theirs[:, pairs[:, 1]])
    elif method == "logistic":
        vectors = logistic_vectors(ours, theirs)
    elif method == "lda":
        vectors = lda_vectors(ours, theirs)
    elif method == "random":
        vectors = _random_vectors(ours, theirs, seed)
    else:
        vectors = difference
    made = _like(vectors, difference).float()
    if not bool((made.isfinite().all(-1) & (made != 0).any(-1)).any()):
        raise EmptySelectionError(
            f"positive and negative rows for {trait} have the same mean at every hookpoint.",
            "There is nothing to tell apart: look at what was pooled.",
        )
    return replace(reference, vectors=made)


def check_baseline_method(method: str) -> None:
    """Refuse a baseline that does not exist.

    Raises:
        ConfigError: names those that do.
    """
    if method not in BASELINE_METHODS:
        raise ConfigError(f"no baseline is called {method!r}.", f"Baselines: {', '.join(BASELINE_METHODS)}.")


def _like(
    vectors: Float[Tensor, "layer d_model"], difference: Float[Tensor, "layer d_model"]
) -> Float[Tensor, "layer d_model"]:
    """The vectors on the side of the mean difference and as long as it."""
    signs = torch.where((vectors * difference).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    return signs * torch.nn.functional.normalize(vectors, dim=-1, eps=1e-300) * difference.norm(dim=-1, keepdim=True)


def _random_vectors(
    positive: Float[Tensor, "layer positive d_model"], negative: Float[Tensor, "layer negative d_model"], seed: int
) -> Float[Tensor, "layer d_model"]:
    poles = np.repeat([1, 0], [positive.shape[1], negative.shape[1]])
    rows = torch.cat([positive, negative], dim=1).float()
    return torch.stack([matched_draws(layer, 1, seed=seed, poles=poles)[0] for layer in rows]).double()


def _finite(side: Activations, trait: str) -> Activations:
    finite = side.values.isfinite().flatten(1).all(1).numpy()
    if not finite.any():
        raise EmptySelectionError(
            f"none of {len(side)} rows for {trait} is finite.", "Look at which answers were pooled."
        )
    return side if finite.all() else side.select(finite)


def random_directions(
    activations: Activations,
    hookpoint: Hookpoint,
    *,
    like: Direction,
    n: int,
    seed: int,
    poles: Shaped[np.ndarray, " sample"] | None = None,
) -> list[Direction]:
    """Draws from N(0, 0.9 S + 0.1 mean(diag S) I), S the covariance of the activations, with the norm of `like`.

    They point where the model's activations vary anyway, so they are a harder null than isotropic noise.

    Args:
        poles: the pole of each sample; S is then the covariance within the poles. Without it, a trait that makes up
            much of the variance is in S, and one random direction in some is that of the trait itself.
    """
    values = activations.values[:, activations.hookpoints.index(hookpoint)]
    finite = values.isfinite().all(1)
    drawn = matched_draws(values[finite], n, seed=seed, poles=None if poles is None else poles[finite.numpy()])
    drawn = drawn / drawn.norm(dim=-1, keepdim=True) * like.at(hookpoint).norm()
    norms = None if like.residual_norms is None else like.residual_norms[[like.index(hookpoint)]]
    provenance = like.provenance.derive("random", 1, pooling=activations.pooling, null_seed=seed)
    return [
        Direction(vector[None], (hookpoint,), like.trait, "random", f"random direction {i}", provenance, norms)
        for i, vector in enumerate(drawn)
    ]


def matched_draws(
    values: Float[Tensor, "sample d_model"], n: int, *, seed: int, poles: Shaped[np.ndarray, " sample"] | None = None
) -> Float[Tensor, "draw d_model"]:
    """Random vectors with the shrunken covariance of the values (within the poles), without forming it."""
    rng, rows = stream(seed, "matched draws"), values.double().numpy().copy()
    mixing = rng.standard_normal((n, len(rows)))
    codes = np.zeros(len(rows), dtype=int) if poles is None else np.unique(poles, return_inverse=True)[1]
    for code in np.unique(codes):
        rows[codes == code] -= rows[codes == code].mean(axis=0)
    return torch.from_numpy(null_directions.matched_draws(rows, mixing, rng)).to(values.dtype)
