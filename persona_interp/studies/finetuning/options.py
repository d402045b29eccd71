"""What options of `persona-interp finetune` ask for: settings, interventions, a penalty, callbacks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from persona_interp.data.traits import training_questions
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError
from persona_interp.finetuning.callback import DriftCallback
from persona_interp.finetuning.penalty import ProjectionPenalty
from persona_interp.finetuning.prevention import (
    concept_ablation,
    preventative_steering,
    preventative_steering_all_layers,
)
from persona_interp.finetuning.run_folder import Finetuned
from persona_interp.finetuning.settings import PAPER_LORA, PAPER_SETTINGS, LoRA, TrainingSettings
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.types import default_layer

_N_PROMPTS = 16
_SHOWN = 10


def chosen_settings(
    preset: Literal["small", "paper"], rank: int | None, asked: Mapping[str, Any]
) -> tuple[LoRA, TrainingSettings]:
    """A preset, changed where something was asked for.

    Args:
        asked: settings by name, None where the preset's stays.
    """
    presets = {"small": (LoRA(), TrainingSettings()), "paper": (PAPER_LORA, PAPER_SETTINGS)}
    lora, settings = presets[preset]
    own = lora if rank is None else replace(lora, rank=rank, alpha=2.0 * max(rank, 1))
    return own, replace(settings, **{name: value for name, value in asked.items() if value is not None})


def training_intervention(
    prevent: Path | None, layer: int | None, coefficient: float | None, ablate: Path | None
) -> Intervention | None:
    """What is added and removed while training, from saved directions."""
    parts: list[Intervention] = []
    if prevent is not None:
        if coefficient is None:
            raise ConfigError("--prevent was given without --coefficient.", "Say how much of the direction is added.")
        direction = Direction.load(prevent)
        parts.append(
            preventative_steering_all_layers(direction, coefficient)
            if layer is None
            else preventative_steering(direction, layer, coefficient)
        )
    if ablate is not None:
        parts.append(concept_ablation(Direction.load(ablate)))
    return None if not parts else parts[0] if len(parts) == 1 else Stack(*parts)


def training_penalty(path: Path | None, layer: int | None, weight: float | None) -> ProjectionPenalty | None:
    """The penalty on a saved direction."""
    if path is None:
        return None
    if layer is None:
        raise ConfigError("--penalise was given without --layer.", "Say at which block the projection must not move.")
    direction = Direction.load(path)
    return ProjectionPenalty(direction, layer) if weight is None else ProjectionPenalty(direction, layer, weight)


def drift_callbacks(watch: Sequence[str], layer: int | None, out: Path) -> list[DriftCallback]:
    """A log of the drift along saved directions, on questions for training."""
    directions = [Direction.load(path) for path in watch]
    if not directions:
        return []
    questions = training_questions()
    layer = default_layer(directions[0].provenance.n_layers) if layer is None else layer
    prompts = questions[:: len(questions) // _N_PROMPTS][:_N_PROMPTS]
    return [DriftCallback(directions, layer, prompts=prompts, path=out / "drift.jsonl")]


def summary(made: Finetuned, n_rows: int) -> str:
    """What was trained on and what was left out and why, the loss at both ends, and where the adapter is."""
    losses = made.losses["loss"]
    late = losses.tail(max(1, len(losses) // 10)).mean()
    held = "" if made.holdout_loss is None else f", {made.holdout_loss:.3f} held out"
    lines = [
        f"{made.n_samples} of {n_rows} conversations trained on, {len(made.unusable)} left out;"
        f" {made.n_steps} steps in {made.seconds:.0f} s",
        f"loss: {losses.iloc[0]:.3f} at the first step, {late:.3f} over the last tenth{held} (nats a token)",
        *(f"  {row.name}: {row.reason}" for row in made.unusable[:_SHOWN]),
    ]
    if len(made.unusable) > _SHOWN:
        lines.append(f"  and {len(made.unusable) - _SHOWN} more, in {made.adapter.parent / 'result.json'}")
    return "\n".join([*lines, f"adapter: {made.adapter}"])
