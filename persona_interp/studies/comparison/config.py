"""What is asked of a comparison of families."""

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Annotated, Any

from persona_interp.arguments import checked
from persona_interp.bounds import Bounds, Count, CountOrNone, Positive, Seed, SomeTuple
from persona_interp.errors import ConfigError
from persona_interp.interventions.strength import kl
from persona_interp.statistics.shared_direction import LEAST_UNITS
from persona_interp.studies.sizes import Efforts

LEAST_HELD_OUT = 4

EFFORTS: Efforts = MappingProxyType(
    {
        "quick": {
            "n_questions": 16,
            "n_held_out": 10,
            "n_instructions": 2,
            "n_samples": 2,
            "n_eval": 10,
            "max_new_tokens": 24,
            "targets": (0.1, 0.3),
            "n_random": 2,
            "n_splits": 10,
            "n_flips": 40,
            "n_items": 16,
            "n_texts": 6,
            "n_pairs": 12,
        },
        "standard": {
            "n_questions": 20,
            "n_held_out": 20,
            "n_instructions": 3,
            "n_samples": 2,
            "n_eval": 20,
            "max_new_tokens": 40,
            "targets": (0.1, 0.3, 1.0),
            "n_random": 4,
            "n_splits": 20,
            "n_flips": 100,
            "n_items": 60,
            "n_texts": 20,
            "n_pairs": 20,
        },
        "paper": {
            "n_questions": 20,
            "n_held_out": 20,
            "n_instructions": 5,
            "n_samples": 2,
            "n_eval": 20,
            "max_new_tokens": 128,
            "targets": (0.1, 0.3, 1.0),
            "n_random": 20,
            "n_splits": 50,
            "n_flips": 200,
            "n_items": None,
            "n_texts": 60,
            "n_pairs": 60,
        },
    }
)
"""Questions, answers and strengths of three sizes."""


@checked
@dataclass(frozen=True)
class ComparisonRun:
    """How many questions, answers, strengths and draws.

    Args:
        n_questions: extraction questions that directions are made from; n_instructions prompt pairs and n_samples
            answers of each.
        n_held_out: evaluation questions whose contrastive answers are projected on; no direction sees them.
        n_eval: evaluation questions that are answered at every strength.
        targets: of the mean KL from the unsteered model, in nats, all above 0.
        n_random: random directions that are steered; the nulls of angles have `n_null`.
        n_neurons, n_latents: units that the families of components are made of.
        n_splits: ways in which questions are halved; n_flips: exchanges of the poles, for the null of stability.
        n_items: multiple-choice items, spread over the subjects; None is all. n_texts: neutral texts.
        n_pairs: pairs of texts at most from which the vector of each off-target trait is made.
        strength: whether anything is steered; else only angles, projections and stability.
    """

    n_questions: Count = 20
    n_held_out: Count = 20
    n_instructions: Count = 3
    n_samples: Count = 2
    n_eval: Count = 20
    max_new_tokens: Count = 40
    targets: SomeTuple[Positive] = (0.1, 0.3, 1.0)
    n_random: CountOrNone = 4
    n_neurons: Count = 64
    n_latents: Count = 16
    n_splits: Count = 20
    n_flips: CountOrNone = 100
    n_null: Annotated[int, Bounds(100, 10**6)] = 1000
    n_items: Count | None = 60
    n_texts: Count = 20
    n_pairs: Count = 20
    strength: bool = True
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Refuse too few questions, and targets that cannot be told apart."""
        for name, least in (("n_questions", LEAST_UNITS), ("n_held_out", LEAST_HELD_OUT)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        kl(*self.targets)
        if list(self.targets) != sorted(self.targets):
            raise ConfigError(f"targets must rise, got {', '.join(map('{:g}'.format, self.targets))}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
