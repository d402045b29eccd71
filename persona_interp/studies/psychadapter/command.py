"""`persona-interp psychadapter [train, generate, measure]`: virtual tokens from trait scores, and what they do."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.studies.options import DEFAULT_MODEL, Backend, Model, Out, Seed, alone_in_out, parse_z
from persona_interp.studies.psychadapter.inputs import (
    JUDGES,
    adapter_file,
    held_out_texts,
    keep_losses,
    make_judges,
    open_adapter,
    read_references,
    read_texts,
    summary,
    training_settings,
    training_texts,
)

Data = Annotated[
    Path | None,
    typer.Argument(
        help="CSV (message_id,message,SCORES), JSONL (text, scores), or the source distribution of vaderSentiment"
        " 3.3.2, whose rated snippets are read."
    ),
]
AdapterPath = Annotated[Path, typer.Argument(help="The OUT of `train`, or a saved adapter.")]

OpenedDtype = Annotated[
    str | None, typer.Option(help="float32, bfloat16, float16, or auto; default: float32, with LoRA as trained.")
]


@alone_in_out
def train(
    out: Out,
    data: Data = None,
    estimated: Annotated[
        bool, typer.Option("--estimated", help="Texts that the model writes, Big Five scores.")
    ] = False,
    n_texts: Annotated[int | None, typer.Option(help="Texts, at most; default: all, 1000 with --estimated.")] = None,
    judge: Annotated[str, typer.Option(help="Whose scores are estimated: embedding or likelihood.")] = "embedding",
    model: Model = DEFAULT_MODEL,
    lora: Annotated[
        bool, typer.Option("--lora", help="Also a LoRA on the base, as the published code has it.")
    ] = False,
    preset: Annotated[str, typer.Option(help="small, or paper: the published settings.")] = "small",
    learning_rate: Annotated[float | None, typer.Option(help="Default: of the preset, as for what follows.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times each text is trained on.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts a forward pass.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of a text; longer ones are cut.")] = None,
    holdout: Annotated[float | None, typer.Option(help="Share of the texts that is not trained on.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or auto.")] = None,
    seed: Seed = 0,
) -> None:
    """An adapter of texts with trait scores, in OUT; the same command goes on after a stop."""
    from persona_interp.studies.psychadapter.train import train_psychadapter

    asked = {"learning_rate": learning_rate, "n_epochs": epochs, "batch_size": batch_size, "max_tokens": max_tokens}
    settings, published = training_settings(preset, {**asked, "holdout": holdout, "dtype": dtype, "seed": seed})
    given = training_texts(data, estimated, n_texts, judge, model, out, seed)
    made = train_psychadapter(model, given, out=out, settings=settings, lora=published if lora else None)
    loss = made.losses["loss"]
    late = loss.tail(max(1, len(loss) // 10)).mean()
    kind = "estimated" if given.estimated else "given"
    typer.echo(
        f"{made.n_texts} texts with {kind} scores of {', '.join(given.traits)}; {made.n_steps} steps in"
        f" {made.seconds:.0f} s; {made.n_cut} texts cut\n"
        f"loss (nats a token): {loss.iloc[0]:.3f} at the first step, {late:.3f} over the last tenth"
        + ("" if made.holdout_loss is None else f"; held out {made.holdout_loss:.3f}, base alone {made.base_loss:.3f}")
        + f"\nparameters: {made.parameters.psychadapter:,} of the adapter, {made.parameters.lora:,} of LoRA,"
        f" {made.parameters.share:.3%} of the base's\nadapter: {out}"
    )


def generate(
    adapter: AdapterPath,
    prompt: Annotated[list[str], typer.Option("--prompt", "-p", help="Text to continue; may come several times.")],
    z: Annotated[str, typer.Option(help="TRAIT=STANDARD DEVIATIONS, separated by commas; others are at 0.")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of a continuation.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.7,
    top_k: Annotated[int, typer.Option(help="0: all.")] = 10,
    top_p: Annotated[float, typer.Option(help="1: all.")] = 0.9,
    backend: Backend = "transformer_lens",
    dtype: OpenedDtype = None,
    seed: Seed = 0,
) -> None:
    """Continuations of prompts by an author with these traits."""
    from persona_interp.interventions.prefix import TraitPrefix
    from persona_interp.models.protocol import Sampling
    from persona_interp.models.tokens import text_batch

    wanted = parse_z(z)
    own, loaded, _ = open_adapter(adapter, backend, dtype)
    sampling = Sampling(max_new_tokens, temperature, top_k=top_k or None, top_p=top_p, seed=seed)
    made = loaded.generate(
        text_batch(loaded.tokenizer, [f"{own.start or ''}{text}" for text in prompt]),
        sampling=sampling,
        prefix=TraitPrefix(own, wanted).prefix,
    )
    for text, written in zip(prompt, made.texts, strict=True):
        typer.echo(f"{text}{written}")


@alone_in_out
def measure(
    adapter: AdapterPath,
    data: Annotated[Path, typer.Argument(help="Texts with the adapter's scores, as for `train`.")],
    out: Out,
    judges: Annotated[str, typer.Option(help=f"Of {', '.join(JUDGES)}, separated by commas.")] = "embedding,lexical",
    vectors: Annotated[
        str, typer.Option(help="Saved directions, separated by commas, that induced ones are compared with.")
    ] = "",
    n_texts: Annotated[int, typer.Option(help="Held-out texts.")] = 200,
    n_openings: Annotated[int, typer.Option(help="Texts a trait value.")] = 16,
    max_new_tokens: Annotated[int, typer.Option(help="Of a generated text; the published 64.")] = 40,
    by_trait: Annotated[bool, typer.Option("--by-trait", help="Also shuffle the scores of each trait alone.")] = False,
    backend: Backend = "transformer_lens",
    dtype: OpenedDtype = None,
    seed: Seed = 0,
) -> Path:
    """Held-out loss, expression over trait values, off-target effects, induced directions, cost: effects in OUT."""
    from persona_interp.studies.psychadapter.run import AdapterMeasures, measure_psychadapter

    own, loaded, n_lora = open_adapter(adapter, backend, dtype)
    given, said = held_out_texts(read_texts(data), own)
    typer.echo(said)
    tables = measure_psychadapter(
        loaded,
        own,
        given,
        judges=make_judges(judges, loaded),
        out=out,
        measures=AdapterMeasures(
            n_texts=n_texts, n_openings=n_openings, max_new_tokens=max_new_tokens, by_trait=by_trait, seed=seed
        ),
        references=read_references(vectors, loaded),
        path=adapter_file(adapter),
        n_lora_parameters=n_lora,
    )
    keep_losses(adapter, out)
    typer.echo("\n".join(summary(tables)))
    typer.echo(f"effects: {out / 'effects.parquet'}")
    return out
