"""What is asked of a trait's substrates."""

from dataclasses import asdict, dataclass
from typing import Any

from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Count, CountOrNone, Positive, Seed, SomeTuple
from persona_interp.errors import ConfigError


@checked
@dataclass(frozen=True)
class SubstratesRun:
    """How a trait is decomposed, attributed and ablated.

    Args:
        n_questions: extraction questions: one half makes the direction, the other finds its writers.
        n_eval: evaluation questions, on which units are ablated and latents steered.
        neurons, heads: how many are ablated, each number a point of the curve.
        n_neurons, n_heads: the numbers at which the test stands, named before any answer; they are among the above.
        n_random: random sets that each test ranks the writers among; `n_curve` at the other numbers.
        ratio: times the median from which positions and dimensions are outliers.
        n_latents: latents of the dictionary that are steered, those with the largest cosine.
        coefficient: of steering latents, in mean residual norms.
    """

    n_questions: Count = 20
    n_instructions: Count = 3
    n_eval: Count = 10
    max_new_tokens: Count = 24
    neurons: SomeTuple[Count] = (16, 64, 256)
    heads: SomeTuple[Count] = (2, 8)
    n_neurons: Count = 64
    n_heads: Count = 8
    n_random: CountOrNone = 100
    n_curve: CountOrNone = 5
    n_permutations: CountOrNone = 100
    n_latents: Count = 10
    n_random_latents: CountOrNone = 40
    coefficient: Coefficient = 0.3
    ratio: Positive = 10.0
    capability: bool = True
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Refuse a test at a number that is not on the curve, and too few questions to halve."""
        for name, k, curve in (
            ("n_neurons", self.n_neurons, self.neurons),
            ("n_heads", self.n_heads, self.heads),
        ):
            if k not in curve:
                raise ConfigError(f"{name} must be one of {', '.join(map(str, curve))}, got {k}.")
        if self.n_questions < 4:
            raise ConfigError(f"n_questions must be at least 4, got {self.n_questions}.", "They are halved.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
