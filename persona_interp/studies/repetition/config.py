"""What is asked of repetition."""

from dataclasses import asdict, dataclass
from typing import Any

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Seed
from persona_interp.studies.sizes import Efforts

COUNTS = (0, 1, 2, 4)
"""How often an opinion is stated; the rest of the four sentences are fillers."""

EFFORTS: Efforts = {
    "quick": {"n_topics": 10, "n_random": 39, "n_questions": 6},
    "standard": {"n_topics": 20, "n_random": 100, "n_questions": 12},
    "paper": {"n_topics": 20, "n_random": 200, "n_questions": 20},
}
"""Topics of each half, random sets of heads, and questions that make the direction."""


@checked
@dataclass(frozen=True)
class RepetitionRun:
    """How often, on how many topics, and how many heads are ablated.

    Args:
        n_topics: topics that are evaluated, and as many others on which heads are chosen.
        n_heads: heads that are ablated together, named before.
        n_random: random sets of heads of the same layers and sizes that they are ranked among.
        n_questions: extraction questions of the trait that makes the direction.
    """

    n_topics: Count = 20
    n_heads: Count = 8
    n_random: CountOrNone = 100
    n_questions: Count = 12
    trait: str = "sycophantic"
    max_new_tokens: Count = 20
    seed: Seed = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
