"""Samples held out of training, and their loss."""

import math
from dataclasses import replace

import torch
from peft import PeftModel

from persona_interp.finetuning.samples import Collator, Samples
from persona_interp.finetuning.trainer import answer_loss, mixed_precision
from persona_interp.statistics.streams import stream


def split_holdout(samples: Samples, share: float, *, seed: int) -> tuple[Samples, Samples | None]:
    """Samples to train on and held-out ones, drawn by the seed, both in their order; None where none is held out."""
    n_held = math.floor(share * len(samples))
    if n_held == 0:
        return samples, None
    order = stream(seed, "held-out split").permutation(len(samples)).tolist()
    parts = (sorted(order[n_held:]), sorted(order[:n_held]))
    train, held = (replace(samples, samples=tuple(samples[i] for i in part)) for part in parts)
    return train, held


@torch.no_grad()
def mean_loss(model: PeftModel, samples: Samples, collator: Collator, batch_size: int) -> float:
    """Nats a token over the answers of samples, in evaluation mode and without edits."""
    model.eval()
    total, n_tokens = 0.0, 0
    for start in range(0, len(samples), batch_size):
        batch = collator([samples[i] for i in range(start, min(start + batch_size, len(samples)))])
        batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
        labels = batch.pop("labels")
        with mixed_precision(model):
            summed, n = answer_loss(model, labels, batch)
        total, n_tokens = total + float(summed), n_tokens + n
    return total / n_tokens
