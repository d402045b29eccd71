"""Evaluation, Potency and Activity: axes from antonyms, read in sentence embeddings and in a model's residuals."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from persona_interp.activations.extract import extract_activations
from persona_interp.data.antonyms import AXES, Axis, load_antonyms
from persona_interp.directions.style import text_beginning
from persona_interp.judges.sentences import SentenceEncoder
from persona_interp.models.protocol import HookedModel
from persona_interp.statistics.null_directions import unit_rows
from persona_interp.statistics.shared_direction import Halves, sides_of
from persona_interp.statistics.shares import exact_share
from persona_interp.statistics.streams import stream
from persona_interp.types import Hookpoint

EMBEDDING, RESIDUAL = "sentence embedding", "residual"


@dataclass(frozen=True, eq=False)
class MeaningAxis:
    """The mean difference of pairs of antonyms, and how far the pairs agree on it.

    Args:
        vector: of norm 1, toward the first words.
        reliability: cosine that is expected with the axis of as many new pairs (Spearman-Brown), with its interval.
        told: share of pairs whose first word is further along the axis of the other pairs; chance is 0.5.
    """

    axis: Axis
    space: str
    vector: Float[np.ndarray, " d"]
    reliability: tuple[float, float, float]
    told: tuple[float, float, float]
    n: int

    @classmethod
    def of(cls, axis: Axis, space: str, differences: Float[np.ndarray, "pair d"], *, seed: int) -> "MeaningAxis":
        """From the difference of each pair."""
        n = len(differences)
        halves = Halves.made(lambda kept: differences[kept].mean(axis=0), sides_of(n, 10, stream(seed, "halves", axis)))
        stepped = [2 * r / (1 + r) if r > 0 else r for r in halves.agreement().within(-1.0, 1.0)]
        others = (differences.sum(axis=0) - differences) / (n - 1)
        hits = exact_share(int(((differences * others).sum(axis=1) > 0).sum()), n)
        mean = unit_rows(differences.mean(axis=0)[None])[0]
        told = (hits.estimate, hits.low, hits.high)
        return cls(axis, space, mean, (stepped[0], stepped[1], stepped[2]), told, n)


def embedding_axes(encoder: SentenceEncoder, *, seed: int) -> list[MeaningAxis]:
    """The three axes in the space of a sentence encoder."""
    return [
        MeaningAxis.of(axis, EMBEDDING, encoder.encode(high) - encoder.encode(low), seed=seed)
        for axis, (high, low) in _sentences().items()
    ]


def residual_axes(
    model: HookedModel, layer: int, kept: np.ndarray, *, seed: int, progress: bool = True
) -> list[MeaningAxis]:
    """The three axes at the output of a block, at the last token of the sentence that a word stands in.

    Args:
        kept: which dimensions count.
    """
    begin, found = text_beginning(model.tokenizer), []
    for axis, (high, low) in _sentences().items():
        texts = [begin + text for text in (*high, *low)]
        values = extract_activations(
            model, texts, [[]] * len(texts), pooling="prompt_last", hookpoints=[Hookpoint(layer)], progress=progress
        ).values[:, 0]
        values = values.double().numpy()[:, kept]
        found.append(MeaningAxis.of(axis, RESIDUAL, values[: len(high)] - values[len(high) :], seed=seed))
    return found


def _sentences() -> dict[Axis, tuple[list[str], list[str]]]:
    pairs = load_antonyms()
    return {axis: ([p.sentences[0] for p in pairs[axis]], [p.sentences[1] for p in pairs[axis]]) for axis in AXES}
