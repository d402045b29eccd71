"""A judge and a reporter that count, planted drift, and a drift callback on the tiny model."""

from typing import Any

import torch
from transformers import TrainerCallback

from persona_interp.data.traits import Trait
from persona_interp.finetuning.callback import DriftCallback
from persona_interp.finetuning.probe import ExpressionProbe
from persona_interp.judges.protocol import Score
from tests.contract.tiny import Tiny
from tests.small import TRAIT
from tests.unit.finetuning.training import (
    PROMPTS,
    loud,
)


class CountingJudge:
    """Rates an answer by its length, counts what it is asked, and disturbs the random numbers as it does."""

    name = "length"
    description = "The length of the answer."

    def __init__(self, fails: bool = False) -> None:
        self.answers: list[list[str]] = []
        self._fails = fails

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Any, answers: Any) -> list[Score]:
        assert trait is TRAIT and len(questions) == len(answers)
        torch.rand(3)
        if self._fails:
            raise RuntimeError("the judge fails")
        self.answers.append(list(answers))
        return [Score(float("nan") if i == 0 else float(len(answer)), 0.0) for i, answer in enumerate(answers)]


class Reporter(TrainerCallback):
    """What TensorBoard would get: placed where a Trainer puts its own reporters."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, float]] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        self.seen.setdefault(state.global_step, {}).update(logs)


def expression(judge: CountingJudge, every: int = 3) -> ExpressionProbe:
    return ExpressionProbe(judge, TRAIT, TRAIT.eval_questions, max_new_tokens=5, every=every)


def drift(tiny: Tiny, layers: Any = (0, 2), **options: Any) -> DriftCallback:
    return DriftCallback(loud(tiny), layers, **{"prompts": PROMPTS, "every": 2, **options})


class Planted(TrainerCallback):
    """Moves what block 1 adds to the residual stream by so much of a unit vector, each step."""

    def __init__(self, unit: torch.Tensor, step: float) -> None:
        self.unit, self.step = unit, step

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        with torch.no_grad():
            model.transformer.h[1].mlp.c_proj.bias += self.step * self.unit
