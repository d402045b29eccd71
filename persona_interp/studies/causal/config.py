"""What is asked of the layers of a model."""

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Positive, Seed
from persona_interp.studies.sizes import Efforts

EFFORTS: Efforts = MappingProxyType(
    {
        "quick": {
            "n_questions": 12,
            "n_instructions": 2,
            "n_eval": 8,
            "max_new_tokens": 16,
            "n_layers": 6,
            "n_random": 39,
        },
        "standard": {
            "n_questions": 20,
            "n_instructions": 2,
            "n_eval": 20,
            "max_new_tokens": 24,
            "n_layers": 12,
            "n_random": 99,
        },
        "paper": {
            "n_questions": 20,
            "n_instructions": 5,
            "n_eval": 20,
            "max_new_tokens": 64,
            "n_layers": 200,
            "n_random": 199,
        },
    }
)
"""Questions that make the direction and that try it, tokens of an answer, layers (at most all), random directions."""


@checked
@dataclass(frozen=True)
class CausalRun:
    """How many layers, on how many questions, against how many random directions.

    Args:
        n_questions: extraction questions, whose answers make the direction.
        n_instructions: pairs of system prompts.
        n_eval: evaluation questions, whose answers try it.
        n_layers: blocks that are looked at, spread evenly over the depth; all where the model has no more.
        n_random: random directions at every layer, with the covariance of answers within the poles.
        kl: mean KL divergence from the unsteered model at which directions are added, in nats.
    """

    n_questions: Count = 20
    n_instructions: Count = 2
    n_eval: Count = 20
    max_new_tokens: Count = 24
    n_layers: Count = 12
    n_random: CountOrNone = 99
    kl: Positive = 0.3
    cumulative: bool = True
    seed: Seed = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @checked
    def layers(self, n: Count) -> tuple[int, ...]:
        """The 0-based blocks that are looked at in a model of n blocks: the last, and others evenly before it."""
        k = min(self.n_layers, n)
        return tuple(int(layer) for layer in np.unique(np.round(np.linspace(n / k, n, k)).astype(int) - 1))
