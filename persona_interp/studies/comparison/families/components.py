"""Families made of components: what the neurons that write most of a persona vector write, and its top latents."""

import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.direction import Direction
from persona_interp.directions.sae.decompose import decompose
from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.directions.sae.pursuit import fit
from persona_interp.errors import PersonaInterpError, first_line
from persona_interp.interventions.latents import SteerLatents
from persona_interp.models.components import output_map
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.comparison.families.answers import Contrast
from persona_interp.studies.comparison.families.family import COMPONENTS, Family, Made, Missing
from persona_interp.types import Hookpoint

NEURONS, LATENTS = "top neurons", "top latents"


def neuron_families(
    model: HookedModelBase, contrast: Contrast, persona: Family, layer: int, n: int, *, progress: bool
) -> tuple[list[Family], list[Missing]]:
    """What the n neurons up to a block write along the persona vector there, positive minus negative answers.

    The share of a neuron is the difference of its mean activation times the part of its output weights along the
    vector: exact where nothing stands between an MLP and the stream. Refits hold the choice of neurons fixed.
    """
    assert persona.direction is not None and persona.made is not None, "a persona vector has both"
    try:
        maps = [output_map(model, block, "neuron") for block in range(layer + 1)]
    except PersonaInterpError as error:
        return [], [Missing(NEURONS, first_line(error))]
    if any(found.gain is not None for found in maps):
        return [], [Missing(NEURONS, f"a norm follows what the MLPs of {model.name} add")]
    hookpoints = [Hookpoint(block, "mlp_act") for block in range(layer + 1)]
    samples = contrast.samples
    values = extract_activations(
        model, list(samples["prompt"]), list(samples["response_ids"]), hookpoints=hookpoints, progress=progress
    ).values.flatten(1)
    rows = torch.cat([found.weight.cpu().float() for found in maps])
    positive = torch.from_numpy(contrast.positive)
    change = values[positive].mean(0) - values[~positive].mean(0)
    unit = persona.direction.unit().at(layer)
    top = (change * (rows @ unit)).topk(min(n, len(rows))).indices
    own, written = values[:, top], rows[top]

    def refit(keep: Bool[ndarray, " row"], positive: Bool[ndarray, " row"]) -> Float[Tensor, "layer d_model"]:
        sides = torch.from_numpy(keep & positive), torch.from_numpy(keep & ~positive)
        return ((own[sides[0]].mean(0) - own[sides[1]].mean(0)) @ written)[None]

    vectors = ((own[positive].mean(0) - own[~positive].mean(0)) @ written)[None]
    direction = _at(persona.direction, layer, vectors, f"{n} top neurons")
    made = Made(refit, persona.made.units, persona.made.positive, persona.made.unit, persona.made.splits)
    return [Family(NEURONS, COMPONENTS, "neuron", direction, made)], []


def latent_families(
    dictionary: Dictionary | None, persona: Family, layer: int, n: int
) -> tuple[list[Family], list[Missing]]:
    """The persona vector as a sum of n latents, found by matching pursuit, added by `SteerLatents`.

    Refits hold the choice of latents fixed.
    """
    if dictionary is None:
        return [], [Missing(LATENTS, "no dictionary was given (--sae)")]
    assert persona.direction is not None and persona.made is not None, "a persona vector has both"
    found = decompose(persona.direction, dictionary, method="pursuit", n_latents=min(n, dictionary.n_latents))
    rows, made = dictionary.decoder[list(found.latents)].cpu(), persona.made
    place = persona.direction.index(layer)

    def refit(keep: Bool[ndarray, " row"], positive: Bool[ndarray, " row"]) -> Float[Tensor, "layer d_model"]:
        vector = made.refit(keep, positive)[place]
        return (fit(vector, rows) @ rows)[None]

    direction = _at(persona.direction, layer, found.reconstruction[None], f"{len(found.latents)} top latents")
    parts = found.coefficients * rows.norm(dim=-1) / found.reconstruction.norm()

    def at(coefficient: float) -> SteerLatents:
        return SteerLatents(dictionary, found.latents, tuple((coefficient * parts).tolist()))

    again = Made(refit, made.units, made.positive, made.unit, made.splits)
    return [Family(LATENTS, COMPONENTS, "latent", direction, again, at=at)], []


def _at(persona: Direction, layer: int, vectors: Float[Tensor, "1 d_model"], method: str) -> Direction:
    """Vectors at one block, in the units of the persona vector."""
    norms = persona.residual_norms
    return Direction(
        vectors=vectors.float(),
        hookpoints=(Hookpoint(layer),),
        trait=persona.trait,
        method=method,
        positive_pole=persona.positive_pole,
        provenance=persona.provenance.derive(method, 1, pooling=persona.provenance.pooling),
        residual_norms=None if norms is None else norms[[persona.index(layer)]],
    )
