"""`decompose`: which latents of a dictionary a direction is made of, by three named methods."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Seed
from persona_interp.directions.baselines import random_directions
from persona_interp.directions.direction import Direction
from persona_interp.directions.sae.decomposition import Method, SAEDecomposition
from persona_interp.directions.sae.dictionary import NUMBERS_AT_ONCE, Dictionary
from persona_interp.directions.sae.pursuit import fit, left_over, pursue
from persona_interp.errors import AlignmentError, ConfigError, HookpointError, IncompatibleDirectionError
from persona_interp.statistics.draws import rank_among
from persona_interp.statistics.streams import stream
from persona_interp.types import STREAMS, Hookpoint

METHOD_VERSION = 1
N_LATENTS = 32
OWN, RANDOM, SHUFFLED = "direction", "random directions", "shuffled decoder"

Side = Activations | Float[Tensor, " latent"]
"""A side of a contrast: pooled activations, or latents that were averaged over tokens and samples (`mean_latents`)."""


@checked
def decompose(
    direction: Direction,
    dictionary: Dictionary,
    *,
    method: Method = "cosine",
    n_latents: Count = N_LATENTS,
    hookpoint: Hookpoint | None = None,
    non_negative: bool = False,
    positive: Activations | Tensor | None = None,
    negative: Activations | Tensor | None = None,
) -> SAEDecomposition:
    """A direction as a sum of a dictionary's decoder vectors.

    `cosine`: the latents whose decoder vectors have the largest cosine with the direction (the paper's way).
    `latent_difference`: those that differ most between the two sets the direction was made of, by the difference of
    mean latents times the norm of the decoder vector; pooled activations are encoded one by one. `pursuit`: orthogonal
    matching pursuit over decoder vectors. Coefficients are least squares in all three, so that their curves compare:
    what is left is what no sum of the first k decoder vectors reaches. The decoder's bias has no part in it.

    Args:
        hookpoint: where the direction's vector is taken from; default: where the dictionary writes.
        non_negative: latents that add to the direction, with coefficients of none below zero.
        positive: of `latent_difference`, and `negative`: the two sets.

    Raises:
        ConfigError: more latents than there are, sets that the method does not take or that are missing, or a
            direction that is zero.
        HookpointError: the direction has no vector there, or the place is not in the residual basis.
        IncompatibleDirectionError: another width, or a dictionary that was trained on another model.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), appendix M, for the cosines.
    """
    place = _place(direction, dictionary, hookpoint, n_latents)
    vector = direction.at(place)
    decoder = dictionary.decoder.cpu()
    chosen, scores = _choose(vector, decoder, dictionary, method, n_latents, non_negative, (positive, negative))
    rows = decoder[chosen]
    coefficients = fit(vector, rows, non_negative=non_negative) if chosen else torch.zeros(0)
    reconstruction = coefficients @ rows if chosen else torch.zeros_like(vector)
    curve = torch.from_numpy(left_over(vector[None], rows, non_negative=non_negative)[0]).float()
    return SAEDecomposition(
        hookpoint=place,
        latents=tuple(chosen),
        coefficients=coefficients,
        scores=scores,
        reconstruction=reconstruction,
        fvu=float((vector - reconstruction).square().sum() / vector.square().sum()),
        fvu_curve=curve,
        sae_id=dictionary.id,
        sae_weights=dictionary.weights,
        sae_quality="not measured" if dictionary.quality is None else dictionary.quality.verdict,
        method=method,
        trait=direction.trait,
        direction_method=direction.method,
        provenance=direction.provenance.derive(
            f"decompose, {method}",
            METHOD_VERSION,
            pooling=direction.provenance.pooling,
            direction_method=direction.method,
            non_negative=non_negative,
            sae={"id": dictionary.id, "weights": dictionary.weights, "n_latents": dictionary.n_latents},
        ),
    )


@checked
def decomposition_null(
    direction: Direction,
    dictionary: Dictionary,
    activations: Activations,
    *,
    method: Method = "cosine",
    n_latents: Count = N_LATENTS,
    hookpoint: Hookpoint | None = None,
    non_negative: bool = False,
    positive: Activations | Tensor | None = None,
    negative: Activations | Tensor | None = None,
    poles: Shaped[np.ndarray, " sample"] | None = None,
    n_random: CountOrNone = 100,
    n_shuffled: CountOrNone = 100,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Curves of fvu over the number of latents: of the direction, of random directions, and of shuffled decoders.

    Random directions have the covariance of the activations (`random_directions`), and are decomposed by the same
    method; with `latent_difference` the latents are those of the two sets, so that the question is how well just these
    reach a random direction. In a shuffled decoder the entries of every row are shuffled, each row on its own: its
    vectors keep their norms and the sizes of their entries, and lose where they point.

    Args:
        activations: whose covariance random directions have, at the direction's place.
        poles: of every sample; the covariance is then that within the poles.

    Returns:
        A row a curve and number of latents: what (`direction`, `random directions`, `shuffled decoder`), draw,
        n_latents, fvu; in rows of the direction p_random and p_shuffled, the share of draws (and of itself) that leave
        as little (NaN with fewer than 19).

    Raises:
        As `decompose`.
    """
    place = _place(direction, dictionary, hookpoint, n_latents)
    vector, decoder = direction.at(place), dictionary.decoder.cpu()
    sides = (positive, negative)
    chosen, _ = _choose(vector, decoder, dictionary, method, n_latents, non_negative, sides)
    own = _curve(left_over(vector[None], decoder[chosen], non_negative=non_negative)[0], n_latents)
    of_random, of_shuffled = np.zeros((0, n_latents)), np.zeros((0, n_latents))
    if n_random:
        drawn = random_directions(activations, place, like=direction, n=n_random, seed=seed, poles=poles)
        several = torch.stack([one.at(place) for one in drawn])
        of_random = _curves(several, decoder, method, n_latents, non_negative, chosen)
    if n_shuffled:
        curves = []
        for draw in range(n_shuffled):
            rng = stream(seed, "shuffled decoder", draw)
            shuffled = torch.from_numpy(rng.permuted(decoder.numpy(), axis=1))
            curves.append(_curves(vector[None], shuffled, method, n_latents, non_negative, chosen)[0])
        of_shuffled = np.stack(curves)
    steps = np.arange(1, n_latents + 1)
    frames = [
        pd.DataFrame(
            {
                "what": OWN,
                "draw": -1,
                "n_latents": steps,
                "fvu": own,
                "p_random": [rank_among(1 - own[k], 1 - of_random[:, k]).p for k in range(n_latents)],
                "p_shuffled": [rank_among(1 - own[k], 1 - of_shuffled[:, k]).p for k in range(n_latents)],
            }
        )
    ]
    for what, curves in ((RANDOM, of_random), (SHUFFLED, of_shuffled)):
        frames += [
            pd.DataFrame({"what": what, "draw": draw, "n_latents": steps, "fvu": curve})
            for draw, curve in enumerate(curves)
        ]
    return pd.concat(frames, ignore_index=True)


def _place(direction: Direction, dictionary: Dictionary, hookpoint: Hookpoint | None, n_latents: int) -> Hookpoint:
    place = hookpoint or dictionary.writes
    if place.stream not in STREAMS:
        raise HookpointError(
            f"{dictionary.id} writes {place}, which is not in the residual basis.", "Directions are not there."
        )
    vector = direction.at(place)
    if n_latents > dictionary.n_latents:
        raise ConfigError(
            f"n_latents must be at most {dictionary.n_latents}, the latents of {dictionary.id}, got {n_latents}."
        )
    if vector.shape[0] != dictionary.decoder.shape[1]:
        raise IncompatibleDirectionError(
            f"the direction {direction.trait} has d_model {vector.shape[0]}; {dictionary.id} writes vectors of width"
            f" {dictionary.decoder.shape[1]}.",
            "The dictionary belongs to another model.",
        )
    own = dictionary.metadata.get("weights")
    if own is not None and own != direction.provenance.weights:
        raise IncompatibleDirectionError(
            f"the direction {direction.trait} belongs to {direction.provenance.model} (weights"
            f" {direction.provenance.weights}); {dictionary.id} was trained on weights {own}.",
            "To use it on purpose on a finetuned copy: load_sae(source, rebind=True).",
        )
    if not bool(vector.any()):
        raise ConfigError(f"the direction {direction.trait} is zero at {place}.", "Choose another layer.")
    return place


_Sides = tuple[Activations | Tensor | None, Activations | Tensor | None]


def _choose(
    vector: Float[Tensor, " d_model"],
    decoder: Float[Tensor, "latent d_model"],
    dictionary: Dictionary,
    method: Method,
    n: int,
    non_negative: bool,
    sides: _Sides,
) -> tuple[list[int], Float[Tensor, " chosen"]]:
    """Latents in order, and what they were ranked by."""
    if (method == "latent_difference") != any(side is not None for side in sides):
        raise ConfigError(
            f"positive and negative belong to the method latent_difference, got them with {method!r}."
            if method != "latent_difference"
            else "the method latent_difference needs positive and negative, got neither."
        )
    if method == "latent_difference":
        first, second = sides
        if first is None or second is None:
            raise ConfigError("the method latent_difference needs positive and negative, got one of them.")
        difference = _mean_latents(first, dictionary) - _mean_latents(second, dictionary)
        scores = difference * decoder.norm(dim=-1)
        order = (scores if non_negative else scores.abs()).argsort(descending=True)[:n]
        return order.tolist(), scores[order]
    cosines = torch.nn.functional.normalize(decoder, dim=-1) @ (vector / vector.norm())
    if method == "cosine":
        order = cosines.argsort(descending=True)[:n]
        return order.tolist(), cosines[order]
    found = pursue(vector[None], decoder, n, non_negative=non_negative).atoms[0]
    chosen = found[found >= 0].tolist()
    return chosen, cosines[chosen]


def _curves(
    vectors: Float[Tensor, "vector d_model"],
    decoder: Float[Tensor, "latent d_model"],
    method: Method,
    n: int,
    non_negative: bool,
    chosen: list[int],
) -> Float[np.ndarray, "vector step"]:
    """What the first 1, 2, ... latents leave of each vector."""
    if method == "pursuit":
        return pursue(vectors, decoder, n, non_negative=non_negative).left
    if method == "latent_difference":
        return np.stack([_curve(one, n) for one in left_over(vectors, decoder[chosen], non_negative=non_negative)])
    units = torch.nn.functional.normalize(decoder, dim=-1)
    curves = []
    for vector in vectors:
        order = (units @ vector).argsort(descending=True)[:n]
        curves.append(left_over(vector[None], decoder[order], non_negative=non_negative)[0])
    return np.stack(curves)


def _curve(found: Float[np.ndarray, " step"], n: int) -> Float[np.ndarray, " all_steps"]:
    """A curve of n steps: one that ended early stays where it is."""
    return np.concatenate([found, np.full(n - len(found), found[-1] if len(found) else 1.0)])


def _mean_latents(side: Activations | Tensor, dictionary: Dictionary) -> Float[Tensor, " latent"]:
    if isinstance(side, Tensor):
        if side.shape != (dictionary.n_latents,):
            raise AlignmentError(
                f"mean latents of {dictionary.id} must have shape ({dictionary.n_latents},), got {tuple(side.shape)}."
            )
        return side.float().cpu()
    if dictionary.hookpoint not in side.hookpoints:
        raise AlignmentError(f"the activations have no {dictionary.hookpoint}, which {dictionary.id} reads.")
    values = side.values[:, side.hookpoints.index(dictionary.hookpoint)]
    values = values[values.isfinite().all(-1)]
    if not len(values):
        raise AlignmentError(f"no row of the activations is finite at {dictionary.hookpoint}.")
    total = torch.zeros(dictionary.n_latents)
    for part in values.split(max(1, NUMBERS_AT_ONCE // dictionary.n_latents)):
        total += dictionary.encode(part).float().sum(0).cpu()
    return total / len(values)
