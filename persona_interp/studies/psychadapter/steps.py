"""The steps of a PsychAdapter run: the loss goes back to the virtual tokens, and on to a LoRA where there is one."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.errors import TrainingError
from persona_interp.finetuning.trainer import NotFiniteError, mixed_precision
from persona_interp.progress import track
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.psychadapter.samples import Base, TraitSamples, epoch_steps, n_predicted, text_loss
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.psychadapter.training_run import TrainingState, checkpoints


def train_steps(
    folder: Path,
    model: Base,
    adapter: PsychAdapter,
    samples: TraitSamples,
    settings: PsychAdapterSettings,
    progress: bool,
) -> list[dict[str, float | int]]:
    """The losses of all steps; the adapter and the model's LoRA hold what was learnt."""
    model.train(isinstance(model, PeftModel))
    named = {f"psychadapter.{key}": weight for key, weight in adapter.named_parameters()}
    low_rank = {key: weight for key, weight in model.named_parameters() if weight.requires_grad}
    rates = [settings.learning_rate] + [settings.lora_learning_rate] * bool(low_rank)
    groups = [{"params": list(some.values())} for some in (named, low_rank) if some]
    named |= low_rank
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=0.0)
    state = TrainingState(named, optimiser, [])
    state.resume(folder)
    steps = [(epoch, step) for epoch in range(settings.n_epochs) for step in epoch_steps(samples, settings, epoch)]
    left = range(state.n_done, len(steps))
    try:
        for k in track(left, f"psychadapter {folder.parent.name}", total=len(left), show=progress):
            epoch, step = steps[k]
            factor = min((k + 1) / (settings.warmup_steps + 1), 1.0) * (len(steps) - k) / len(steps)
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            with torch.random.fork_rng():
                torch.manual_seed(derived_seed(settings.seed, "dropout", k))  # dropout: the same numbers after a resume
                row = _step(model, adapter, samples, step, state, settings.max_grad_norm, k + 1)
            state.losses.append(
                {"step": k + 1, "epoch": epoch, **row, "learning_rate": settings.learning_rate * factor}
            )
            if (k + 1) % settings.checkpoint_every == 0 or k + 1 == len(steps):
                if not state.is_finite():
                    raise NotFiniteError(f"the adapter is not finite after step {k + 1}.")
                state.save(folder)
    except NotFiniteError as error:
        kept = checkpoints(folder)
        raise TrainingError(
            f"{error} Training of {folder.parent} stopped.",
            f"The last good checkpoint is kept: {kept[-1]}." if kept else "No checkpoint had been written yet.",
            "Lower the learning rate, or look at the data.",
        ) from error
    return state.losses


def _step(
    model: Base,
    adapter: PsychAdapter,
    samples: TraitSamples,
    step: list[list[int]],
    state: TrainingState,
    max_grad_norm: float,
    number: int,
) -> dict[str, float | int]:
    """One step of the optimiser on the mean loss over all tokens of its batches."""
    n_tokens = n_predicted(samples, [i for rows in step for i in rows])
    total = 0.0
    for rows in step:
        with precision(model):
            loss = text_loss(model, adapter, samples, rows) / n_tokens
        if not torch.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss.item()} at step {number}.")
        loss.backward()
        total += loss.item()
    norm = nn.utils.clip_grad_norm_(state.weights.values(), max_grad_norm)
    state.optimiser.step()
    state.optimiser.zero_grad()
    return {"loss": total, "grad_norm": float(norm), "n_tokens": n_tokens}


def precision(model: Base) -> AbstractContextManager[Any]:
    """LoRA adapters keep float32 weights; beside a bfloat16 model they are multiplied in bfloat16."""
    return mixed_precision(model) if isinstance(model, PeftModel) else nullcontext()
