"""`persona-interp psychadapter [train, generate, measure]`: virtual tokens from trait scores, and what they do."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome, alone_in_out, parse_z
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

OpenedDtype = Annotated[options.DtypeName | None, typer.Option(help="Default: float32, with LoRA as trained.")]
MEASURED = ["embedding", "lexical"]


@alone_in_out
def train(
    out: options.Out,
    data: Data = None,
    estimated: Annotated[
        bool, typer.Option("--estimated", help="Texts that the model writes, Big Five scores.")
    ] = False,
    n_texts: Annotated[
        int | None, typer.Option(help="Texts, at most; default: by --effort (1000 with --estimated).", min=1)
    ] = None,
    effort: options.EffortOption = "standard",
    judge: Annotated[
        Literal["embedding", "likelihood"], typer.Option(help="Whose scores are estimated.")
    ] = "embedding",
    model: options.Model = options.DEFAULT_MODEL,
    lora: Annotated[
        bool, typer.Option("--lora", help="Also a LoRA on the base, as the published code has it.")
    ] = False,
    preset: Annotated[Literal["small", "paper"], typer.Option(help="paper: the published settings.")] = "small",
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: of the preset, as below.", min=0, max=100)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Times each text is trained on; default: by --effort.", min=1)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts a forward pass.", min=1)] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of a text; longer ones are cut.", min=1)] = None,
    holdout: Annotated[
        float | None, typer.Option(help="Share of the texts that is not trained on.", min=0, max=1)
    ] = None,
    dtype: Annotated[options.DtypeName | None, typer.Option(help="Default: of the preset.")] = None,
    seed: options.Seed = 0,
) -> Outcome:
    """An adapter of texts with trait scores, in OUT; the same command goes on after a stop."""
    from persona_interp.studies.psychadapter.effort import ESTIMATED, TRAINING
    from persona_interp.studies.psychadapter.train import train_psychadapter
    from persona_interp.studies.sizes import cut_lines, sizes_of

    default = ESTIMATED[effort] if estimated else None
    sizes = sizes_of(TRAINING, effort, {"n_texts": n_texts or default, "n_epochs": epochs})
    n_texts, n_epochs = sizes.values["n_texts"], sizes.values["n_epochs"]
    asked = {"learning_rate": learning_rate, "n_epochs": n_epochs, "batch_size": batch_size, "max_tokens": max_tokens}
    settings, published = training_settings(preset, {**asked, "holdout": holdout, "dtype": dtype, "seed": seed})
    given = training_texts(data, estimated, n_texts, judge, model, out, seed, settings.n_epochs)
    made = train_psychadapter(model, given, out=out, settings=settings, lora=published if lora else None)
    loss = made.losses["loss"]
    late = loss.tail(max(1, len(loss) // 10)).mean()
    kind = "estimated" if given.estimated else "given"
    text = (
        f"{made.n_texts} texts with {kind} scores of {', '.join(given.traits)}; {made.n_steps} steps in"
        f" {made.seconds:.0f} s; {made.n_cut} texts cut\n"
        f"loss (nats a token): {loss.iloc[0]:.3f} at the first step, {late:.3f} over the last tenth"
        + ("" if made.holdout_loss is None else f"; held out {made.holdout_loss:.3f}, base alone {made.base_loss:.3f}")
        + f"\nparameters: {made.parameters.psychadapter:,} of the adapter, {made.parameters.lora:,} of LoRA,"
        f" {made.parameters.share:.3%} of the base's\nadapter: {out}"
    )
    found: dict[str, object] = {
        "adapter": out,
        "traits": given.traits,
        "n_texts": made.n_texts,
        "n_steps": made.n_steps,
    }
    losses = {
        "n_texts": made.n_texts,
        "last_loss": float(late),
        "holdout_loss": made.holdout_loss,
        "base_loss": made.base_loss,
    }
    return Outcome([text, *cut_lines(sizes, _whole(preset, estimated))], {**found, **losses}, out)


def _whole(preset: Literal["small", "paper"], estimated: bool) -> dict[str, int | None]:
    """The standard sizes of a training run, with the epochs of its preset."""
    from persona_interp.studies.psychadapter.effort import ESTIMATED

    n_epochs = training_settings(preset, {})[0].n_epochs
    return {"n_texts": ESTIMATED["standard"] if estimated else None, "n_epochs": n_epochs}


def generate(
    adapter: AdapterPath,
    prompt: Annotated[list[str], typer.Option("--prompt", "-p", help="Text to continue. May be repeated.")],
    z: Annotated[str, typer.Option(help="TRAIT=STANDARD DEVIATIONS, separated by commas; others are at 0.")] = "",
    max_new_tokens: options.AnswerTokens = options.ANSWER_TOKENS,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0, max=100)] = 0.7,
    top_k: Annotated[int, typer.Option(help="0: all.", min=0)] = 10,
    top_p: Annotated[float, typer.Option(help="1: all.", min=0, max=1)] = 0.9,
    backend: options.Backend = "transformer_lens",
    dtype: OpenedDtype = None,
    seed: options.Seed = 0,
) -> Outcome:
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
    rows = [{"prompt": text, "text": written, "z": wanted} for text, written in zip(prompt, made.texts, strict=True)]
    return Outcome([f"{row['prompt']}{row['text']}" for row in rows], rows)


@alone_in_out
def measure(
    adapter: AdapterPath,
    data: Annotated[Path, typer.Argument(help="Texts with the adapter's scores, as for `train`.")],
    out: options.Out,
    judge: Annotated[list[str], typer.Option(help=f"Of {', '.join(JUDGES)}. {options.SEVERAL}")] = MEASURED,
    vector: Annotated[
        list[str],
        typer.Option("--vector", "-v", help=f"Saved directions that induced ones are compared with. {options.SEVERAL}"),
    ] = options.NONE,
    effort: options.EffortOption = "standard",
    n_texts: Annotated[int | None, typer.Option(help="Held-out texts; default: by --effort.", min=1)] = None,
    n_openings: Annotated[int | None, typer.Option(help="Texts a trait value; default: by --effort.", min=1)] = None,
    max_new_tokens: options.SizedTokens = None,
    by_trait: Annotated[bool, typer.Option("--by-trait", help="Also shuffle the scores of each trait alone.")] = False,
    backend: options.Backend = "transformer_lens",
    dtype: OpenedDtype = None,
    seed: options.Seed = 0,
) -> Outcome:
    """Held-out loss, expression over trait values, off-target effects, induced directions, cost: effects in OUT."""
    from persona_interp.directions.direction import check_direction
    from persona_interp.studies.psychadapter.effort import MEASURING
    from persona_interp.studies.psychadapter.measures import AdapterMeasures
    from persona_interp.studies.psychadapter.run import measure_psychadapter
    from persona_interp.studies.sizes import sizes_of

    asked = {"n_texts": n_texts, "n_openings": n_openings, "max_new_tokens": max_new_tokens}
    sizes = sizes_of(MEASURING, effort, asked)
    texts, judges = read_texts(data), options.names(judge, "judge", JUDGES)
    references = read_references(options.names(vector, "vector"))
    own, loaded, n_lora = open_adapter(adapter, backend, dtype)
    for direction in references.values():
        check_direction(direction, loaded)
    given, said = held_out_texts(texts, own)
    tables = measure_psychadapter(
        loaded,
        own,
        given,
        judges=make_judges(judges, loaded),
        out=out,
        measures=AdapterMeasures(**sizes.values, by_trait=by_trait, seed=seed),
        sizes=sizes,
        references=references,
        path=adapter_file(adapter),
        n_lora_parameters=n_lora,
    )
    keep_losses(adapter, out)
    return Outcome([said, *summary(tables), f"effects: {out / 'effects.parquet'}"], {"texts": said}, out, reported=True)
