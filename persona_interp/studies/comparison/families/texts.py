"""The family made from written texts: how a residual at the end of a text differs between both poles of a trait.

The texts are the hard pairs of the package, none of which calibrates a judge.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.style_corpus import StyleCorpus
from persona_interp.data.traits import Trait
from persona_interp.directions.style import extract_style_activations, style_vector
from persona_interp.models.protocol import HookedModel
from persona_interp.statistics.shared_direction import LEAST_UNITS
from persona_interp.studies.comparison.families.answers import at_layers
from persona_interp.studies.comparison.families.family import TEXTS, Family, Made, Missing

NAME = "style vector"
_POLES = ("with the trait", "without it")


def text_activations(
    model: HookedModel, trait: Trait, *, most: int | None = None, deepest: int | None = None, progress: bool
) -> Activations | None:
    """Residuals at the last token of the trait's texts, their samples by pole and pair; None where it has no texts.

    Args:
        most: pairs at most, the first ones.
        deepest: the last block that is read.
    """
    pairs = hard_pairs(trait)[:most]
    if len(pairs) < LEAST_UNITS:
        return None
    texts = [[pair.pos for pair in pairs], [pair.neg for pair in pairs]]
    sentences: dict[str, tuple[str, ...]] = dict(zip(_POLES, map(tuple, texts), strict=True))
    corpus = StyleCorpus(
        name=f"hard pairs of {trait.name}",
        sentences=sentences,
        descriptions={_POLES[0]: "a marked", _POLES[1]: "a plain"},
        instructions={pole: () for pole in _POLES},
        source="the package's hard pairs",
        parallel=True,
    )
    return extract_style_activations(model, corpus, deepest_layer=deepest, progress=progress)


def text_families(
    activations: Activations | None, trait: str, layers: tuple[int, ...]
) -> tuple[list[Family], list[Missing]]:
    """The style-like vector, where the trait has texts."""
    if activations is None:
        return [], [Missing(NAME, f"{trait} has no texts of both poles")]
    here = at_layers(activations, layers)
    values, positive = here.values, (here.samples["style"] == _POLES[0]).to_numpy()

    def refit(keep: Bool[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]) -> Float[Tensor, "layer d_model"]:
        return values[torch.from_numpy(keep & positive)].mean(0) - values[torch.from_numpy(keep & ~positive)].mean(0)

    direction = replace(style_vector(here, _POLES[0], reading="block"), trait=trait, positive_pole=trait)
    pairs = here.samples["pair"].to_numpy(object).astype(str)
    return [Family(NAME, TEXTS, "residual", direction, Made(refit, pairs, positive, "pair of texts"))], []
