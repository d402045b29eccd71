"""How to finetune: the adapter and the training settings, with those of the persona-vectors paper as a preset."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from persona_interp.arguments import checked
from persona_interp.bounds import (
    Amount,
    Bounds,
    Count,
    CountOrNone,
    LearningRate,
    Limit,
    Positive,
    Seed,
    ShareBelow1,
    Size,
)

Tokens = Annotated[int, Bounds(2, 10**6)]
"""Of a sample that is trained on: one to predict from and one to predict."""

TrainingDtype = Literal["float32", "bfloat16", "auto"]
"""Of frozen weights; "auto" is what the model was saved in."""

SEVEN_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear maps of attention and MLP in Llama, Qwen and Gemma."""


@checked
@dataclass(frozen=True)
class LoRA:
    """A low-rank adapter: W + scale B A, with scale alpha / sqrt(rank) where rank-stabilised, else alpha / rank.

    Args:
        modules: names of the linear maps that get one, or "all-linear", which fits every architecture.

    Source: Hu et al. 2021 (arXiv 2106.09685); rank stabilisation: Kalajdzievski 2023 (arXiv 2312.03732).
    """

    rank: Size = 32
    alpha: Positive = 64.0
    dropout: ShareBelow1 = 0.0
    rank_stabilised: bool = True
    modules: tuple[str, ...] | str = "all-linear"


@checked
@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a finetuning run; the defaults suit models of a few hundred million weights.

    Args:
        batch_size: samples in a forward pass; `accumulation` of them make a step.
        warmup_steps: linear warm-up, then linear decay to zero.
        max_tokens: longer samples are left out and counted, never cut. The model's context is a bound too.
        holdout: share of the samples that is not trained on; their loss is measured at the end.
        checkpoint_every: steps between checkpoints; an interrupted run goes on from the last.
        dtype: of the frozen weights; adapter weights and their optimiser stay float32.
    """

    learning_rate: LearningRate = 2e-4
    n_epochs: Positive = 1.0
    batch_size: Size = 8
    accumulation: Size = 1
    warmup_steps: CountOrNone = 5
    weight_decay: Amount = 0.01
    max_grad_norm: Limit = 1.0
    max_tokens: Tokens = 1024
    holdout: ShareBelow1 = 0.0
    checkpoint_every: Count = 50
    gradient_checkpointing: bool = False
    dtype: TrainingDtype = "float32"
    seed: Seed = 0


PAPER_LORA = LoRA(rank=32, alpha=64.0, dropout=0.0, rank_stabilised=True, modules=SEVEN_PROJECTIONS)
"""Adapter of the persona-vectors runs."""

PAPER_SETTINGS = replace(
    TrainingSettings(), learning_rate=1e-5, batch_size=2, accumulation=8, max_tokens=2048, holdout=0.1, dtype="bfloat16"
)
"""Settings of the persona-vectors runs on models of 7 to 8 billion weights: one epoch, 5 warm-up steps, weight decay
0.01, a tenth held out. Theirs use an 8-bit AdamW, here it is the plain one. A model fifty times smaller hardly moves at
this learning rate: the default is twenty times it."""
