"""What every question on finetuned models is asked of: the model, traits and sizes."""

from dataclasses import dataclass

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Positive, Seed, SomeTuple
from persona_interp.finetuning.settings import LoRA, TrainingDtype, TrainingSettings
from persona_interp.statistics import Interval

FLAWED = ("arithmetic", "advice")
"""Training sets that are about no trait."""


def interval_row(found: Interval) -> dict[str, float]:
    """Estimate, bounds, n and number of clusters, as tables of measured rows have them."""
    return {name: getattr(found, name) for name in ("estimate", "low", "high", "n", "n_clusters")}


@checked
@dataclass(frozen=True)
class Setup:
    """Model, traits and sizes. Layers are named before anything is measured: .55 of the depth.

    Args:
        train_dtype: of the frozen weights in training; every measurement is in float32, because an adapter merged into
            bfloat16 weights loses its small changes.
        n_level_questions: questions that training sets are made from; none is an evaluation question of any trait.
        level_tokens: of their answers, and of the model's own answers that they are held against.
    """

    model: str = "smollm2-135m-instruct"
    traits: SomeTuple[str] = ("impolite", "optimistic", "evil")
    named_layer: int = 16
    train_dtype: TrainingDtype = "bfloat16"
    device: str | None = None
    n_instructions: Count = 3
    extraction_tokens: Count = 40
    n_level_questions: Count = 64
    level_tokens: Count = 40
    n_eval_questions: Count = 12
    eval_tokens: Count = 40
    judge_pairs: Count = 1
    n_epochs: Positive = 3.0
    lora: LoRA = LoRA()
    seed: Seed = 0

    @checked
    def training(self, seed: Seed) -> TrainingSettings:
        """Settings of one run."""
        return TrainingSettings(n_epochs=self.n_epochs, dtype=self.train_dtype, seed=seed)
