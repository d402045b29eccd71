"""`persona-interp finetune`: a low-rank adapter trained on conversations, watched, or kept from taking up a trait."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome, refuse_idle


@options.alone_in_out
def finetune(
    data: Annotated[
        str, typer.Argument(help="Conversations: JSON, CSV or Parquet, a folder of such, or a data set of the hub.")
    ],
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    preset: Annotated[
        Literal["small", "paper"], typer.Option(help="paper: the persona-vectors settings, for 7B models.")
    ] = "small",
    effort: options.EffortOption = "standard",
    n_samples: Annotated[int | None, typer.Option(help="Conversations, at most; default: by --effort.", min=1)] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Times each sample is trained on; default: by --effort.", min=0, max=1e6)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: of the preset, as for what follows.", min=0, max=100)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a forward pass.", min=1)] = None,
    rank: Annotated[int | None, typer.Option(help="Of the adapter; its alpha is twice that.", min=1)] = None,
    holdout: Annotated[
        float | None, typer.Option(help="Share of the samples that is not trained on.", min=0, max=1)
    ] = None,
    dtype: Annotated[options.DtypeName | None, typer.Option(help="Default: of the preset.")] = None,
    seed: options.Seed = 0,
    watch: Annotated[
        list[str], typer.Option(help=f"Directions whose drift is logged. {options.SEVERAL}")
    ] = options.NONE,
    watch_layer: Annotated[
        int | None, typer.Option(help="0-based block; default: nearest to depth 0.6.", min=0)
    ] = None,
    prevent: Annotated[Path | None, typer.Option(help="Saved direction added while training, not afterwards.")] = None,
    layer: Annotated[
        int | None, typer.Option(help="0-based block of --prevent (default: all, by increments) and --penalise.", min=0)
    ] = None,
    coefficient: Annotated[
        float | None, typer.Option(help="Of --prevent: in mean residual norms at one layer, in raw vectors at all.")
    ] = None,
    ablate: Annotated[Path | None, typer.Option(help="Saved direction removed at every layer while training.")] = None,
    penalise: Annotated[Path | None, typer.Option(help="Saved direction whose projection must not move.")] = None,
    weight: Annotated[float | None, typer.Option(help="Of --penalise; default 1000.", min=0)] = None,
    prevent_prompt: Annotated[
        str | None, typer.Option(help="System prompt that asks for the trait while training.")
    ] = None,
) -> Outcome:
    """An adapter trained on the answers of conversations, in OUT/adapter; the same command goes on after a stop."""
    from dataclasses import replace

    from persona_interp.data.conversations import read_conversations
    from persona_interp.finetuning.prevention import preventative_prompting
    from persona_interp.finetuning.train import finetune as train
    from persona_interp.studies.finetuning import options as asked_for
    from persona_interp.studies.finetuning.effort import EFFORTS, SaysPlan, some_of
    from persona_interp.studies.sizes import cut_lines, sizes_of

    refuse_idle(coefficient, "--coefficient", prevent is not None, "--prevent")
    refuse_idle(layer, "--layer", prevent is not None or penalise is not None, "--prevent or --penalise")
    refuse_idle(weight, "--weight", penalise is not None, "--penalise")
    refuse_idle(watch_layer, "--watch-layer", bool(watch), "--watch")
    sizes = sizes_of(EFFORTS, effort, {"n_samples": n_samples, "n_epochs": epochs})
    asked = {"learning_rate": learning_rate, "n_epochs": sizes.values["n_epochs"], "batch_size": batch_size}
    asked |= {"holdout": holdout, "dtype": dtype, "seed": seed}
    lora, settings = asked_for.chosen_settings(preset, rank, asked)
    given = read_conversations(data)
    n_rows = len(given.conversations) + len(given.unusable)
    given = replace(given, conversations=some_of(given.conversations, sizes.values["n_samples"], seed=seed))
    if prevent_prompt is not None:
        prompted = preventative_prompting(given.conversations, prevent_prompt)
        given = replace(given, conversations=tuple(prompted))
    made = train(
        model,
        given,
        out=out,
        lora=lora,
        settings=settings,
        intervention=asked_for.training_intervention(prevent, layer, coefficient, ablate),
        penalty=asked_for.training_penalty(penalise, layer, weight),
        callbacks=[SaysPlan(), *asked_for.drift_callbacks(options.names(watch, "watch"), watch_layer, out)],
    )
    whole = {"n_samples": None, "n_epochs": asked_for.chosen_settings(preset, None, {})[1].n_epochs}
    lines = [asked_for.summary(made, n_rows), *cut_lines(sizes, whole)]
    found: dict[str, object] = {"adapter": made.adapter, "n_samples": made.n_samples, "n_left_out": len(made.unusable)}
    found |= {"n_steps": made.n_steps, "stopped": made.stopped, "losses": made.losses["loss"].tolist()}
    if watch:
        lines.append(f"drift: {out / 'drift.jsonl'}")
    return Outcome(lines, {**found, "holdout_loss": made.holdout_loss}, out)
