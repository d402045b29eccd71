"""`persona-interp finetune`: a low-rank adapter trained on conversations, watched, or kept from taking up a trait."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.studies.options import DEFAULT_MODEL, Model, Out, Seed, alone_in_out, refuse_idle


@alone_in_out
def finetune(
    data: Annotated[
        str, typer.Argument(help="Conversations: JSON, CSV or Parquet, a folder of such, or a data set of the hub.")
    ],
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
    from persona_interp.studies.finetuning import options

    refuse_idle(coefficient, "--coefficient", prevent is not None, "--prevent")
    refuse_idle(layer, "--layer", prevent is not None or penalise is not None, "--prevent or --penalise")
    refuse_idle(weight, "--weight", penalise is not None, "--penalise")
    refuse_idle(watch_layer, "--watch-layer", bool(watch), "--watch")
    asked = {"learning_rate": learning_rate, "n_epochs": epochs, "batch_size": batch_size}
    asked |= {"holdout": holdout, "dtype": dtype, "seed": seed}
    lora, settings = options.chosen_settings(preset, rank, asked)
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
        intervention=options.training_intervention(prevent, layer, coefficient, ablate),
        penalty=options.training_penalty(penalise, layer, weight),
        callbacks=options.drift_callbacks(watch, watch_layer, out),
    )
    typer.echo(options.summary(made, len(given.conversations) + len(given.unusable)))
    if watch:
        typer.echo(f"drift: {out / 'drift.jsonl'}")
