"""`SAETraining`: what is trained, on how much, and how."""

from dataclasses import dataclass
from typing import Any, Literal

from persona_interp.arguments import checked
from persona_interp.bounds import Amount, Count, LearningRate, Positive, Seed, ShareBelow1, Size
from persona_interp.errors import ConfigError
from persona_interp.types import Hookpoint

Architecture = Literal["batchtopk", "topk", "gated", "jumprelu"]


@checked
@dataclass(frozen=True)
class SAETraining:
    """Settings of a training; the defaults are for a small model and a few hundred thousand tokens.

    Args:
        k: latents that fire on a token: in the mean of a batch (`batchtopk`), on every token (`topk`), as a target
            (`jumprelu`). A `gated` dictionary has no such number, and is as sparse as `sparsity` makes it.
        sparsity: weight of the sparsity loss of `gated` (L1) and `jumprelu` (squared distance from k).
        n_tokens: that it is trained on; texts are passed over again until they are reached.
        warm_up, decay: shares of the steps over which the learning rate rises and falls.
        dead_after: tokens without firing after which a latent counts as dead and is trained on what is left over.
        buffer_tokens: activations that are shuffled together.
        checkpoint_tokens: how often the state is kept.
    """

    hookpoint: Hookpoint
    architecture: Architecture = "batchtopk"
    n_latents: Count = 2048
    k: Size = 32
    n_tokens: int = 200_000
    batch_tokens: Size = 256
    learning_rate: LearningRate = 1e-3
    sparsity: Positive = 1.0
    warm_up: ShareBelow1 = 0.05
    decay: ShareBelow1 = 0.3
    dead_after: Amount = 20_000.0
    buffer_tokens: Count = 16_384
    checkpoint_tokens: Count = 50_000
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            ConfigError: more latents at once than there are, a buffer smaller than a batch, or no step.
        """
        if self.k > self.n_latents:
            raise ConfigError(f"k must be at most the number of latents, {self.n_latents}, got {self.k}.")
        if self.buffer_tokens < 2 * self.batch_tokens:
            raise ConfigError(
                f"buffer_tokens must be at least two batches of {self.batch_tokens}, got {self.buffer_tokens}."
            )
        if self.n_tokens < self.batch_tokens:
            raise ConfigError(f"n_tokens must be at least a batch of {self.batch_tokens}, got {self.n_tokens}.")

    @property
    def n_steps(self) -> int:
        """Steps of the optimiser."""
        return self.n_tokens // self.batch_tokens


def training_sae(settings: SAETraining, d_in: int, device: str, metadata: Any) -> Any:
    """An untrained dictionary of SAELens, its first weights decided by the seed."""
    import torch
    from sae_lens import (
        BatchTopKTrainingSAE,
        BatchTopKTrainingSAEConfig,
        GatedTrainingSAE,
        GatedTrainingSAEConfig,
        JumpReLUTrainingSAE,
        JumpReLUTrainingSAEConfig,
        TopKTrainingSAE,
        TopKTrainingSAEConfig,
    )

    shared: dict[str, Any] = {
        "d_in": d_in,
        "d_sae": settings.n_latents,
        "dtype": "float32",
        "device": device,
        "normalize_activations": "expected_average_only_in",
        "metadata": metadata,
    }
    warm = int(settings.warm_up * settings.n_steps)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        if settings.architecture == "batchtopk":
            return BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**shared, k=float(settings.k)))
        if settings.architecture == "topk":
            return TopKTrainingSAE(TopKTrainingSAEConfig(**shared, k=settings.k))
        if settings.architecture == "gated":
            config = GatedTrainingSAEConfig(**shared, l1_coefficient=settings.sparsity, l1_warm_up_steps=warm)
            return GatedTrainingSAE(config)
        return JumpReLUTrainingSAE(
            JumpReLUTrainingSAEConfig(
                **shared,
                jumprelu_sparsity_loss_mode="quadratic",
                target_l0=float(settings.k),
                l0_coefficient=settings.sparsity,
                l0_warm_up_steps=warm,
            )
        )
