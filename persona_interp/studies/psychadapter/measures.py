"""How large the measurements of an adapter are."""

from dataclasses import dataclass

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, ShareAbove0, SomeTuple, Temperature
from persona_interp.errors import ConfigError
from persona_interp.models.protocol import Sampling
from persona_interp.studies.psychadapter.expression import Z_VALUES
from persona_interp.studies.psychadapter.induced_direction import Position


@checked
@dataclass(frozen=True)
class AdapterMeasures:
    """Sizes of the measurements.

    Args:
        n_texts: held-out texts for the loss; `n_induced` of them for the induced direction.
        by_trait: whether each trait is also shuffled alone.
        n_openings: texts a trait value, times `n_samples`.
        max_new_tokens: of a generated text; the published 64, temperature .7, top-k 10, top-p .9.
        position: where the induced shift is read.
    """

    n_texts: Count = 200
    n_shuffles: Count = 4
    by_trait: bool = False
    z_values: SomeTuple[float] = Z_VALUES
    n_openings: Count = 16
    n_samples: Count = 1
    max_new_tokens: Count = 40
    temperature: Temperature = 0.7
    top_k: Count | None = 10
    top_p: ShareAbove0 | None = 0.9
    n_induced: Count = 48
    position: Position = "all"
    n_cost_repeats: Count = 7
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Refuse sizes with which nothing can be measured."""
        if min(self.n_texts, self.n_induced) < 3 or min(self.n_openings, self.n_cost_repeats) < 2:
            raise ConfigError(
                f"cannot measure an adapter with {self}.",
                "Expected 3 texts or more, of them 3 or more for the induced direction, 2 openings and 2 repeats.",
            )

    @property
    def sampling(self) -> Sampling:
        """How texts are drawn."""
        return Sampling(self.max_new_tokens, self.temperature, top_k=self.top_k, top_p=self.top_p, seed=self.seed)
