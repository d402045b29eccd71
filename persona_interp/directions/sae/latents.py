"""Single latents: as directions, with others of equal density, and their means over samples."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.extract import length_chunks
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Positive, Seed, Some
from persona_interp.directions.direction import Direction
from persona_interp.directions.sae.dictionary import NUMBERS_AT_ONCE, Dictionary, check_latents, check_same_place
from persona_interp.directions.sae.tokens import TOKENS_AT_ONCE
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError, HookpointError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.progress import track
from persona_interp.statistics.streams import stream
from persona_interp.types import STREAMS

METHOD = "sae latent"
METHOD_VERSION = 1
_WITHIN = 0.1
"""Powers of ten that densities of matched latents may differ by; doubled until there are enough."""


@checked
def latent_direction(
    dictionary: Dictionary,
    latent: int,
    model: HookedModel,
    *,
    trait: str | None = None,
    residual_norm: Positive | None = None,
) -> Direction:
    """A latent's decoder vector as a direction at the place where the dictionary writes; its pole is a larger latent.

    It can be added, ablated and projected on like any other, and many of them steered at once (`AddEach`), a latent a
    row.

    Args:
        trait: what it is called; default: sae-LATENT.
        residual_norm: the unit of coefficients; default: the dictionary's, a mean over all tokens of its held-out
            texts. Give that of a direction to steer both by equal lengths.

    Raises:
        ConfigError: there is no such latent.
        HookpointError: the dictionary writes outside of the residual basis.
        IncompatibleDirectionError: the dictionary is of another width or model.
    """
    check_latents(dictionary, [latent])
    check_same_place(dictionary, model)
    if dictionary.writes.stream not in STREAMS:
        raise HookpointError(
            f"{dictionary.id} writes {dictionary.writes}, which is not in the residual basis.",
            "Directions are not there: change its latents with SteerLatents.",
        )
    norm = residual_norm or dictionary.residual_norm
    details = {"sae": {"id": dictionary.id, "weights": dictionary.weights}, "latent": latent}
    return Direction(
        vectors=dictionary.decoder[[latent]].cpu().clone(),
        hookpoints=(dictionary.writes,),
        trait=trait or f"sae-{latent}",
        method=METHOD,
        positive_pole=f"latent {latent} of {dictionary.name}",
        provenance=model.provenance.derive(METHOD, METHOD_VERSION, pooling=None, **details),
        residual_norms=None if norm is None else torch.tensor([norm]),
    )


@checked
def latents_of_equal_density(dictionary: Dictionary, latents: Some[int], n: Count, *, seed: Seed = 0) -> list[int]:
    """N other latents that fire about as often as the given ones, drawn at random, each once.

    Every given latent in turn is matched by one of those whose log10 density is within 0.1 of its own, or within twice
    as much and so on where none is left. Latents that never fire match none that do.

    Raises:
        ConfigError: the quality was not measured, a latent does not exist or never fires, or not so many others fire.
    """
    check_latents(dictionary, latents)
    if dictionary.quality is None:
        raise ConfigError(
            f"the densities of {dictionary.id} are not known.",
            "Measure them: with_quality(dictionary, measure_dictionary(model, dictionary, texts)).",
        )
    density = dictionary.quality.density.double().numpy()
    if silent := [latent for latent in latents if density[latent] == 0]:
        raise ConfigError(f"latent {silent[0]} of {dictionary.id} never fires on the texts of its quality card.")
    free = [latent for latent in np.flatnonzero(density > 0).tolist() if latent not in set(latents)]
    if n > len(free):
        raise ConfigError(f"n must be at most {len(free)}, the other latents of {dictionary.id} that fire, got {n}.")
    rng, logs = stream(seed, "latents of equal density"), np.log10(np.where(density > 0, density, 1))
    chosen: list[int] = []
    for k in range(n):
        own, within = logs[latents[k % len(latents)]], _WITHIN
        left = np.array([latent for latent in free if latent not in set(chosen)])
        while not (near := left[np.abs(logs[left] - own) <= within]).size:
            within *= 2
        chosen.append(int(rng.choice(near)))
    return chosen


@checked
def mean_latents(
    model: HookedModel,
    dictionary: Dictionary,
    prompts: Sequence[str],
    responses: Sequence[str] | Sequence[Sequence[int]],
    *,
    progress: bool = True,
) -> Float[Tensor, " latent"]:
    """Mean latents of responses: over the tokens of each, then over responses; one side of a `latent_difference`.

    Unlike latents of pooled activations these are of activations that the dictionary was made for. Massive positions
    are left out.

    Raises:
        AlignmentError: prompts and responses differ in number.
        EmptySelectionError: a response has no token.
    """
    check_same_place(dictionary, model)
    if len(prompts) != len(responses):
        raise AlignmentError(f"got {len(prompts)} prompts and {len(responses)} responses.", "Give one each.")
    before = encode(model.tokenizer, prompts)
    after = [ids if not isinstance(ids, str) else encode(model.tokenizer, [ids])[0] for ids in responses]
    if empty := [k for k, ids in enumerate(after) if not len(ids)]:
        raise EmptySelectionError(f"response {empty[0]} has no token.", "Leave it out.")
    total, n = torch.zeros(dictionary.n_latents, dtype=torch.float64), 0
    chunks = length_chunks(before, after, TOKENS_AT_ONCE)
    for chunk in track(chunks, "mean latents", total=len(chunks), show=progress):
        batch = token_batch([before[i] for i in chunk], [after[i] for i in chunk], pad_id=pad_id(model.tokenizer))
        values = model.run(batch, read=[dictionary.hookpoint], outputs="none").residuals[dictionary.hookpoint]
        for row, response in zip(values, batch.response.to(values.device), strict=True):
            tokens = row[response].float()
            if dictionary.norm_limit is not None:
                tokens = tokens[tokens.norm(dim=-1) <= dictionary.norm_limit]
            if not len(tokens):
                continue
            parts = tokens.split(max(1, NUMBERS_AT_ONCE // dictionary.n_latents))
            total += sum(dictionary.encode(part).double().sum(0).cpu() for part in parts) / len(tokens)
            n += 1
    if not n:
        raise EmptySelectionError("no response has a position that is not massive.", "Look at the responses.")
    return (total / n).float()


def with_residual_norm(dictionary: Dictionary, residual_norm: float) -> Dictionary:
    """The same dictionary with another unit of coefficients, such as that of a direction it is compared with."""
    return replace(dictionary, residual_norm=residual_norm)
