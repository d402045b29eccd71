"""How to train a PsychAdapter, with the published settings as a preset."""

from dataclasses import dataclass
from typing import Literal

from persona_interp.arguments import checked
from persona_interp.bounds import Amount, Count, CountOrNone, LearningRate, Limit, Seed, ShareBelow1, Size
from persona_interp.finetuning.settings import SEVEN_PROJECTIONS, LoRA, Tokens, TrainingDtype


@checked
@dataclass(frozen=True)
class PsychAdapterSettings:
    """Settings of a run; the defaults suit models of a few hundred million weights and some thousand short texts.

    Args:
        learning_rate: of the virtual tokens; that of a LoRA trained beside them is `lora_learning_rate`.
        batch_size: texts in a forward pass; `accumulation` of them make a step.
        warmup_steps: linear warm-up, then linear decay to zero.
        max_tokens: predicted tokens of a text, the end of text among them. The model's context is a bound too.
        too_long: "cut" keeps the first `max_tokens` tokens of a longer text, which then has no end, as published;
            "leave_out" drops the text. Both are counted.
        start: the text in front of every text, not trained on; None is the tokenizer's beginning of text, as published
            (its end of text where it has none).
        init_scale: what the initial weights and biases are multiplied by; 1 is torch's own initialisation, as
            published. It makes loud tokens: on SmolLM2-135M-Instruct and 48 news sentences the loss of 5.03 nats a
            token without an adapter rises to 6.37 with an untrained one, 5.28 at a scale of 0.1, and 5.25 at 0, since
            a zero token takes attention too. After 24 steps at a rate of 0.01 it is 5.57 from a scale of 1 and 4.86
            from 0.1; rates of 0.003 and 0.03 give 5.00 and 5.04 (0.1).
        holdout: share of the different texts that is not trained on; their loss is measured at the end.
        checkpoint_every: steps between checkpoints; an interrupted run goes on from the last.
        dtype: of the frozen weights; the adapter and its optimiser stay float32.
    """

    learning_rate: LearningRate = 1e-2
    lora_learning_rate: LearningRate = 2e-4
    n_epochs: Count = 3
    batch_size: Size = 16
    accumulation: Size = 1
    warmup_steps: CountOrNone = 0
    max_grad_norm: Limit = 1.0
    max_tokens: Tokens = 128
    too_long: Literal["cut", "leave_out"] = "cut"
    start: str | None = None
    init_scale: Amount = 0.1
    holdout: ShareBelow1 = 0.1
    checkpoint_every: Count = 50
    dtype: TrainingDtype = "float32"
    seed: Seed = 0


PAPER_PSYCHADAPTER = PsychAdapterSettings(
    learning_rate=5e-5,
    lora_learning_rate=5e-5,
    n_epochs=5,
    batch_size=32,
    accumulation=2,
    init_scale=1.0,
    holdout=0.0,
    dtype="bfloat16",
)
"""The published settings: 128 tokens, AdamW, no warm-up, no weight decay. Theirs train on a corpus of hundreds of
thousands of messages; a few thousand texts hardly move an adapter at this learning rate."""

PAPER_PSYCHADAPTER_LORA = LoRA(rank=8, alpha=32.0, dropout=0.1, rank_stabilised=False, modules=SEVEN_PROJECTIONS)
"""The adapter of the base that the published code trains beside the virtual tokens. With it, far more than 0.1 % of the
parameters are trained; without it the virtual tokens alone are."""

PAPER_PSYCHADAPTER_LORA_GPT2 = LoRA(rank=8, alpha=32.0, dropout=0.1, rank_stabilised=False, modules=("c_proj",))
"""The same for GPT-2, where the published code adapts output projections only."""
