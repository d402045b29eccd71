"""How to finetune: the adapter and the training settings, with those of the persona-vectors paper as a preset."""

from dataclasses import dataclass, replace

from persona_interp.errors import ConfigError

SEVEN_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear maps of attention and MLP in Llama, Qwen and Gemma."""


@dataclass(frozen=True)
class LoRA:
    """A low-rank adapter: W + scale B A, with scale alpha / sqrt(rank) where rank-stabilised, else alpha / rank.

    Args:
        modules: names of the linear maps that get one, or "all-linear", which fits every architecture.

    Source: Hu et al. 2021 (arXiv 2106.09685); rank stabilisation: Kalajdzievski 2023 (arXiv 2312.03732).
    """

    rank: int = 32
    alpha: float = 64.0
    dropout: float = 0.0
    rank_stabilised: bool = True
    modules: tuple[str, ...] | str = "all-linear"

    def __post_init__(self) -> None:
        """Refuse values that make no adapter."""
        if not (self.rank >= 1 and self.alpha > 0 and 0 <= self.dropout < 1):
            raise ConfigError(
                "rank must be at least 1, alpha positive and dropout in [0, 1),"
                f" got {self.rank}, {self.alpha} and {self.dropout}.",
            )


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

    learning_rate: float = 2e-4
    n_epochs: float = 1.0
    batch_size: int = 8
    accumulation: int = 1
    warmup_steps: int = 5
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    max_tokens: int = 1024
    holdout: float = 0.0
    checkpoint_every: int = 50
    gradient_checkpointing: bool = False
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot be trained with."""
        rules = {
            "learning_rate must be positive": self.learning_rate > 0,
            "n_epochs must be positive": self.n_epochs > 0,
            "batch_size and accumulation must be at least 1": min(self.batch_size, self.accumulation) >= 1,
            "warmup_steps must not be negative": self.warmup_steps >= 0,
            "max_tokens must be at least 2": self.max_tokens >= 2,
            "holdout must be in [0, 1)": 0 <= self.holdout < 1,
            "checkpoint_every must be at least 1": self.checkpoint_every >= 1,
            "dtype must be float32, bfloat16 or auto": self.dtype in ("float32", "bfloat16", "auto"),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ConfigError(f"cannot train with {self}.", f"{rule}.")


PAPER_LORA = LoRA(rank=32, alpha=64.0, dropout=0.0, rank_stabilised=True, modules=SEVEN_PROJECTIONS)
"""Adapter of the persona-vectors runs."""

PAPER_SETTINGS = replace(
    TrainingSettings(), learning_rate=1e-5, batch_size=2, accumulation=8, max_tokens=2048, holdout=0.1, dtype="bfloat16"
)
"""Settings of the persona-vectors runs on models of 7 to 8 billion weights: one epoch, 5 warm-up steps, weight decay
0.01, a tenth held out. Theirs use an 8-bit AdamW, here it is the plain one. A model fifty times smaller hardly moves at
this learning rate: the default is twenty times it."""
