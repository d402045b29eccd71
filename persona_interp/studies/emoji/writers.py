"""Which neurons write emoji: their shares of the emoji direction before an emoji, minus those after other sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from pandas import DataFrame

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.attribution import attribute_projection
from persona_interp.directions.token_direction import token_direction
from persona_interp.measurements.emoji import emoji_start_ids
from persona_interp.models.components import output_map
from persona_interp.models.hooked import HookedModelBase
from persona_interp.statistics.means import bootstrap_mean_columns
from persona_interp.statistics.streams import stream
from persona_interp.studies.emoji.spots import Spot
from persona_interp.tables import Column, Form, numbers, texts, wholes

KEPT = 256
"""Writers that a table holds, the largest first."""
_NEAREST = 20
"""Neurons of a layer, nearest in size to a writer, that a random one is drawn from."""

WRITERS = Form(
    "emoji_writers",
    (
        *texts("trait arm", filled=True),
        *(Column(name, "whole", filled=True) for name in ("rank", "layer", "neuron")),
        *wholes("seed"),
        *numbers("written low high before_emoji elsewhere size", unit="residual units"),
    ),
)

Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Written:
    """What every neuron writes along the unit emoji direction at every spot, and how much it writes at all.

    Args:
        shares: in residual units; positive raises the logits of emoji against all others.
        size: root mean square over spots of the length of what the neuron adds to the residual stream.
        total: the projection itself, at each spot.
    """

    shares: Float[np.ndarray, "spot layer neuron"]
    size: Float[np.ndarray, "layer neuron"]
    total: Float[np.ndarray, " spot"]
    emoji: Bool[np.ndarray, " spot"]

    @property
    def difference(self) -> Float[np.ndarray, "layer neuron"]:
        """Mean share before an emoji minus mean share elsewhere."""
        return self.shares[self.emoji].mean(0) - self.shares[~self.emoji].mean(0)

    def top(self, n: int) -> list[Place]:
        """The n neurons with the largest difference, largest first, by (layer, index)."""
        order = np.argsort(-self.difference, axis=None, kind="stable")[:n]
        return [_place(k, self.difference.shape) for k in order.tolist()]

    def of(self, places: Sequence[Place]) -> Float[np.ndarray, " spot"]:
        """What some neurons write together, at each spot."""
        layers, neurons = np.array(places).T
        return self.shares[:, layers, neurons].sum(-1)


def written_by(model: HookedModelBase, spots: Sequence[Spot], *, progress: bool) -> Written:
    """Exact shares of the emoji direction (`token_direction`) at the last token of every spot.

    Raises:
        HookpointError: the model has experts in the place of MLPs.
        ModelError: its unembedding or its norms are of no known kind.
    """
    direction = token_direction(model, emoji_start_ids(model.tokenizer), name="emoji")
    prompts, nothing = [spot.text for spot in spots], [[] for _ in spots]
    last = model.n_layers - 1
    found = attribute_projection(
        model, direction, last, prompts, nothing, pooling="prompt_last", progress=progress
    )
    places = [_activations_of(layer) for layer in range(model.n_layers)]
    acted = extract_activations(
        model, prompts, nothing, pooling="prompt_last", hookpoints=places, progress=progress
    ).values.numpy()
    lengths = np.stack([_row_lengths(model, layer) for layer in range(model.n_layers)])
    size = np.sqrt((acted.astype(float) ** 2).mean(0)) * lengths
    return Written(
        found.neurons.double().numpy(),
        size,
        found.projection.double().numpy(),
        np.array([spot.emoji for spot in spots]),
    )
