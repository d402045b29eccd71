"""What a measurement of monitoring is made with."""

from dataclasses import dataclass

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed, SomeTuple


@checked
@dataclass(frozen=True)
class MonitoringConfig:
    """What is measured.

    Args:
        model, dtype, traits: as they are loaded, with `judge_pairs` for a likelihood judge by the same model.
        named_layer: fixed before anything was measured: .55 of the depth, where persona vectors of several families
            were reported to steer best.
        n_instructions: instruction pairs for extraction; the graded prompts use the last one, which is not among them.
        false_alarm_rate: of the online monitor's thresholds, per answer; `window` its trailing mean in tokens.
        n_null: draws of each family of nulls.
    """

    model: str = "smollm2-135m-instruct"
    dtype: str = "auto"
    traits: SomeTuple[str] = ("impolite", "optimistic", "evil")
    named_layer: int = 16
    n_instructions: Count = 4
    n_eval_questions: Count = 15
    n_samples: Count = 2
    max_new_tokens: Count = 32
    judge_pairs: Count = 2
    false_alarm_rate: Between0And1 = 0.05
    window: Count = 8
    n_null: Count = 200
    seed: Seed = 0
