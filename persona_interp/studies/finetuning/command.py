"""`persona-interp finetune`: a low-rank adapter trained on conversations, watched, or kept from taking up a trait."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_interp.studies.options import DEFAULT_MODEL, Model, Out, Seed, alone_in_out, refuse_idle

if TYPE_CHECKING:
    from persona_interp.finetuning.callback import DriftCallback
    from persona_interp.finetuning.penalty import ProjectionPenalty
    from persona_interp.finetuning.run_folder import Finetuned
    from persona_interp.finetuning.settings import LoRA, TrainingSettings
    from persona_interp.interventions.protocol import Intervention

_N_PROMPTS = 16
_SHOWN = 10


@alone_in_out
def finetune(
    data: Annotated[Path, typer.Argument(help="JSONL of conversations.")],
    out: Out,
    model: Model = DEFAULT_MODEL,
    preset: Annotated[
        str, typer.Option(help="small, or paper: the persona-vectors settings, for 7B models.")
    ] = "small",
    learning_rate: Annotated[float | None, typer.Option(help="Default: of the preset, as for what follows.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Times each sample is trained on.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a forward pass.")] = None,
    rank: Annotated[int | None, typer.Option(help="Of the adapter; its alpha is twice that.")] = None,
    holdout: Annotated[float | None, typer.Option(help="Share of the samples that is not trained on.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or auto.")] = None,
    seed: Seed = 0,
    watch: Annotated[str, typer.Option(help="Saved directions, separated by commas, whose drift is logged.")] = "",
    watch_layer: Annotated[int | None, typer.Option(help="0-based block; default: nearest to depth 0.6.")] = None,
    prevent: Annotated[Path | None, typer.Option(help="Saved direction added while training, not afterwards.")] = None,
    layer: Annotated[
        int | None, typer.Option(help="0-based block of --prevent (default: all, by increments) and --penalise.")
    ] = None,
    coefficient: Annotated[
        float | None, typer.Option(help="Of --prevent: in mean residual norms at one layer, in raw vectors at all.")
    ] = None,
    ablate: Annotated[Path | None, typer.Option(help="Saved direction removed at every layer while training.")] = None,
    penalise: Annotated[Path | None, typer.Option(help="Saved direction whose projection must not move.")] = None,
    weight: Annotated[float | None, typer.Option(help="Of --penalise; default 1000.")] = None,
    prevent_prompt: Annotated[
        str | None, typer.Option(help="System prompt that asks for the trait while training.")
    ] = None,
) -> None:
    """An adapter trained on the answers of conversations, in OUT/adapter; the same command goes on after a stop."""
    from dataclasses import replace

    from persona_interp.data.conversations import read_conversations
    from persona_interp.finetuning.prevention import preventative_prompting
    from persona_interp.finetuning.train import finetune as train

    refuse_idle(coefficient, "--coefficient", prevent is not None, "--prevent")
    refuse_idle(layer, "--layer", prevent is not None or penalise is not None, "--prevent or --penalise")
    refuse_idle(weight, "--weight", penalise is not None, "--penalise")
    refuse_idle(watch_layer, "--watch-layer", bool(watch), "--watch")
    lora, settings = _settings(preset, learning_rate, epochs, batch_size, rank, holdout, dtype, seed)
    given = read_conversations(data)
    if prevent_prompt is not None:
        prompted = preventative_prompting(given.conversations, prevent_prompt)
        given = replace(given, conversations=tuple(prompted))
    made = train(
        model,
        given,
        out=out,
        lora=lora,
        settings=settings,
        intervention=_intervention(prevent, layer, coefficient, ablate),
        penalty=_penalty(penalise, layer, weight),
        callbacks=_callbacks(watch, watch_layer, out),
    )
    typer.echo(summary(made, len(given.conversations) + len(given.unusable)))
    if watch:
        typer.echo(f"drift: {out / 'drift.jsonl'}")


def summary(made: "Finetuned", n_rows: int) -> str:
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


def _settings(
    preset: str,
    learning_rate: float | None,
    epochs: float | None,
    batch_size: int | None,
    rank: int | None,
    holdout: float | None,
    dtype: str | None,
    seed: int,
) -> "tuple[LoRA, TrainingSettings]":
    from dataclasses import replace

    from persona_interp.errors import ConfigError
    from persona_interp.finetuning.settings import PAPER_LORA, PAPER_SETTINGS, LoRA, TrainingSettings

    presets = {"small": (LoRA(), TrainingSettings()), "paper": (PAPER_LORA, PAPER_SETTINGS)}
    if preset not in presets:
        raise ConfigError(f"no preset is called {preset!r}.", f"Presets: {', '.join(presets)}.")
    lora, settings = presets[preset]
    asked = {
        "learning_rate": learning_rate,
        "n_epochs": epochs,
        "batch_size": batch_size,
        "holdout": holdout,
        "dtype": dtype,
    }
    changed = {name: value for name, value in asked.items() if value is not None}
    own = lora if rank is None else replace(lora, rank=rank, alpha=2.0 * max(rank, 1))
    return own, replace(settings, seed=seed, **changed)


def _intervention(
    prevent: Path | None, layer: int | None, coefficient: float | None, ablate: Path | None
) -> "Intervention | None":
    from persona_interp.directions.direction import Direction
    from persona_interp.errors import ConfigError
    from persona_interp.finetuning.prevention import (
        concept_ablation,
        preventative_steering,
        preventative_steering_all_layers,
    )
    from persona_interp.interventions.protocol import Stack

    parts = []
    if prevent is not None:
        if coefficient is None:
            raise ConfigError("--prevent was given without --coefficient.", "Say how much of the direction is added.")
        direction = Direction.load(prevent)
        if layer is None:
            parts.append(preventative_steering_all_layers(direction, coefficient))
        else:
            parts.append(preventative_steering(direction, layer, coefficient))
    if ablate is not None:
        parts.append(concept_ablation(Direction.load(ablate)))
    return None if not parts else parts[0] if len(parts) == 1 else Stack(*parts)


def _penalty(path: Path | None, layer: int | None, weight: float | None) -> "ProjectionPenalty | None":
    from persona_interp.directions.direction import Direction
    from persona_interp.errors import ConfigError
    from persona_interp.finetuning.penalty import ProjectionPenalty

    if path is None:
        return None
    if layer is None:
        raise ConfigError("--penalise was given without --layer.", "Say at which block the projection must not move.")
    direction = Direction.load(path)
    return ProjectionPenalty(direction, layer) if weight is None else ProjectionPenalty(direction, layer, weight)


def _callbacks(watch: str, layer: int | None, out: Path) -> "list[DriftCallback]":
    from persona_interp.data.traits import training_questions
    from persona_interp.directions.direction import Direction
    from persona_interp.finetuning.callback import DriftCallback
    from persona_interp.types import default_layer

    directions = [Direction.load(Path(part.strip())) for part in watch.split(",") if part.strip()]
    if not directions:
        return []
    questions = training_questions()
    layer = default_layer(directions[0].provenance.n_layers) if layer is None else layer
    prompts = questions[:: len(questions) // _N_PROMPTS][:_N_PROMPTS]
    return [DriftCallback(directions, layer, prompts=prompts, path=out / "drift.jsonl")]
