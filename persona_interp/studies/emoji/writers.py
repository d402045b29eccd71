"""Which neurons write emoji: what they add to the emoji direction before an emoji, against after other sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pandas import DataFrame

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.attribution import attribute_projections
from persona_interp.directions.outliers import find_outliers
from persona_interp.directions.token_direction import token_direction
from persona_interp.directions.writers import Writers, find_writers
from persona_interp.measurements.emoji import emoji_start_ids
from persona_interp.models.components import output_map
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.emoji.spots import Spot
from persona_interp.tables import Form, numbers, texts, wholes
from persona_interp.types import Hookpoint

Place = tuple[int, int]
KEPT = 512
"""Writers that a table holds, the largest first."""
BEFORE, DIFFERENCE = "before an emoji", "before an emoji, minus after a sentence that none follows"
EMBEDDING, ATTENTION, NEURONS, LARGEST = "embedding", "attention", "all neurons", "largest writers of the untuned model"
WRITERS = Form(
    "emoji_writers",
    (
        *texts("trait arm", filled=True),
        *wholes("repeat rank layer neuron rank_with_outliers"),
        *numbers("share low high", unit="residual units"),
        *numbers("t p"),
    ),
)
WRITTEN = Form(
    "emoji_written",
    (*texts("trait arm question part place", filled=True), *wholes("repeat"), *numbers("share", unit="residual units")),
)


@dataclass(frozen=True, eq=False)
class EmojiWriters:
    """What heads and neurons add along the unit emoji direction at the output of the last block.

    Args:
        writers: before an emoji minus after a sentence that none follows, a row a question that has both; along the
            direction without its high-norm dimensions.
        whole: the same along the whole direction.
        written: what every neuron adds before an emoji, without the high-norm dimensions; a row a question.
        dimensions: the high-norm dimensions that are left out.
    """

    writers: Writers
    whole: Writers
    written: Float[np.ndarray, "question layer neuron"]
    dimensions: tuple[int, ...]


def emoji_writers(model: HookedModelBase, spots: Sequence[Spot], *, progress: bool) -> EmojiWriters:
    """Exact shares of the emoji direction (`token_direction`) at the last token of spots.

    Args:
        spots: of questions that have both kinds.

    Raises:
        EmptySelectionError: there is no such question.
        HookpointError: the model has experts in the place of MLPs.
        ModelError: its unembedding or its norms are of no known kind.
    """
    direction, last = token_direction(model, emoji_start_ids(model.tokenizer), name="emoji"), model.n_layers - 1
    texts, nothing = [spot.text for spot in spots], [[] for _ in spots]
    outliers = find_outliers(model, last, texts, nothing, progress=progress)
    kept = outliers.without(direction) if outliers.dimensions else direction
    sides = []
    for emoji in (True, False):
        chosen = [spot for spot in spots if spot.emoji == emoji]
        sides.append(
            attribute_projections(
                model,
                [kept, direction],
                last,
                [spot.text for spot in chosen],
                [[] for _ in chosen],
                pooling="prompt_last",
                groups=[spot.question for spot in chosen],
                progress=progress,
            )
        )
    (kept_with, whole_with), (kept_without, whole_without) = sides
    writers = find_writers(kept_with, kept_without)
    written = kept_with.select(writers.questions).neurons.double().numpy()
    return EmojiWriters(writers, find_writers(whole_with, whole_without), written, outliers.dimensions)


def neuron_sizes(model: HookedModelBase, spots: Sequence[Spot], *, progress: bool) -> Float[np.ndarray, "layer neuron"]:
    """Root mean square length of what every neuron adds to the residual stream at the last token of spots.

    Before the norm that some architectures put behind the MLP, so that sizes compare within a layer.
    """
    places = [Hookpoint(layer, "mlp_act") for layer in range(model.n_layers)]
    texts, nothing = [spot.text for spot in spots], [[] for _ in spots]
    found = extract_activations(model, texts, nothing, pooling="prompt_last", hookpoints=places, progress=progress)
    maps = [output_map(model, layer, "neuron") for layer in range(model.n_layers)]
    rows = [one.weight if one.gain is None else one.weight * one.gain for one in maps]
    lengths = torch.stack([row.norm(dim=-1).cpu() for row in rows])
    return (found.values.square().mean(0).sqrt() * lengths).double().numpy()


def writer_table(found: EmojiWriters, *, seed: int) -> DataFrame:
    """The neurons that write most toward emoji, the largest first, with the rank each has along the whole direction."""
    n = min(KEPT, found.writers.neurons[0].size)
    table = found.writers.table("neuron", n=n, seed=seed).rename(columns={"index": "neuron"})
    whole = {place: rank for rank, place in enumerate(found.whole.ranked("neuron"), start=1)}
    ranks = [whole[layer, neuron] for layer, neuron in zip(table["layer"], table["neuron"], strict=True)]
    return table.assign(rank_with_outliers=ranks).drop(columns="part")


def written_table(found: EmojiWriters, largest: Sequence[Place]) -> DataFrame:
    """What parts of the model write along the emoji direction, a row a question, part and place.

    Args:
        largest: neurons that are counted as a part of their own.
    """
    layers, neurons = np.array(largest).T
    writers = found.writers
    parts = {
        (EMBEDDING, DIFFERENCE): writers.embedding,
        (ATTENTION, DIFFERENCE): writers.attention.sum(-1),
        (NEURONS, DIFFERENCE): writers.neurons.sum((1, 2)),
        (LARGEST, DIFFERENCE): writers.neurons[:, layers, neurons].sum(-1),
        (NEURONS, BEFORE): found.written.sum((1, 2)),
        (LARGEST, BEFORE): found.written[:, layers, neurons].sum(-1),
    }
    return pd.concat(
        [
            DataFrame({"question": writers.questions, "part": part, "place": place, "share": values})
            for (part, place), values in parts.items()
        ],
        ignore_index=True,
    )


def largest_of(table: DataFrame, n: int) -> list[Place]:
    """The n neurons that come first in the table of one arm."""
    rows = table.sort_values("rank").head(n)
    return [(int(layer), int(neuron)) for layer, neuron in zip(rows["layer"], rows["neuron"], strict=True)]
