"""`persona-interp extract, steer, project`: making and using one vector."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.studies import options
from persona_interp.studies.options import Outcome, alone_in_out

STEERED = ["-0.3", "0.3"]


@alone_in_out
def extract(
    trait: Annotated[str, typer.Argument(help="A trait of the package, or a file.")],
    out: options.Out,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    n_questions: options.Questions = 20,
    n_samples: options.Samples = 1,
    max_new_tokens: options.AnswerTokens = options.ANSWER_TOKENS,
    keep: options.Filter = "paired",
    seed: options.Seed = 0,
) -> Outcome:
    """A trait's persona vector, saved as OUT/TRAIT.safetensors with its manifest."""
    from persona_interp.data.traits import load_trait
    from persona_interp.directions.persona import persona_vector
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.models.load import load_model
    from persona_interp.rollouts.generate import contrastive_requests, generate_rollouts

    wanted = load_trait(trait)
    contrastive_requests(wanted, n_questions=n_questions)  # too many are refused before the model is loaded
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    rollouts = generate_rollouts(
        loaded,
        wanted,
        n_questions=n_questions,
        n_samples=n_samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        folder=out / "rollouts" / wanted.name,
    )
    if keep != "none":
        rollouts = LikelihoodJudge(loaded, n_pairs=2).score(rollouts, wanted)
    direction = persona_vector(rollouts, filter=keep)
    path = out / f"{wanted.name}.safetensors"
    direction.save(path)
    data = {"direction": path, "trait": wanted.name, "model": loaded.name, "n_layers": loaded.n_layers}
    return Outcome([str(path)], {**data, "d_model": loaded.d_model, "n_answers": len(rollouts)}, out)


def steer(
    vector: Annotated[Path, typer.Argument(help="A saved direction (.safetensors).")],
    prompt: Annotated[list[str], typer.Option("--prompt", "-p", help="A question. May be repeated.")],
    layer: options.Layer,
    coefficient: options.Coefficients = STEERED,
    kl: options.KL = options.NONE,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    max_new_tokens: options.AnswerTokens = options.ANSWER_TOKENS,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0, max=100)] = 0.0,
    seed: options.Seed = 0,
) -> Outcome:
    """Steered answers beside unsteered ones."""
    from rich.table import Table

    from persona_interp.directions.direction import Direction, check_direction
    from persona_interp.interventions.residual import Add
    from persona_interp.interventions.strength import KLTargets
    from persona_interp.interventions.text import generate_text
    from persona_interp.measurements.strengths import strength_table
    from persona_interp.models.load import load_model
    from persona_interp.models.tokens import render_prompt

    coefficients = options.numbers(coefficient, "coefficient")
    sizes = options.kl_targets(kl, coefficient, STEERED)
    targets = KLTargets((*(-size for size in sizes), *sizes)) if sizes else None
    direction = Direction.load(vector)
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    check_direction(direction, loaded)
    found = dict.fromkeys(coefficients, None)
    if targets is not None:
        table = strength_table(loaded, direction, targets, layers=[layer], seed=seed)
        found = dict(zip(table["coefficient"], table["kl"], strict=True))
    strengths = sorted({0.0, *found})
    prompts = [render_prompt(loaded.tokenizer, text) for text in prompt]
    columns = [
        generate_text(
            loaded,
            prompts,
            intervention=Add(direction, layer, strength),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )
        for strength in strengths
    ]
    heads = [_head(direction.trait, strength, found.get(strength)) for strength in strengths]
    shown = Table("question", *heads, show_lines=True)
    for i, text in enumerate(prompt):
        shown.add_row(text, *(column[i].strip() for column in columns))
    rows = [
        {"question": text, "trait": direction.trait, "layer": layer, "coefficient": strength, "answer": column[i]}
        | ({} if targets is None else {"kl": found.get(strength)})
        for strength, column in zip(strengths, columns, strict=True)
        for i, text in enumerate(prompt)
    ]
    return Outcome([shown], rows)


def _head(trait: str, coefficient: float, kl: float | None) -> str:
    """What stands above a column of answers."""
    if not coefficient:
        return "unsteered"
    return f"{trait} {coefficient:+g}" + ("" if kl is None else f" ({abs(kl):g} nats)")


def project(
    source: Annotated[str, typer.Argument(help="A text, or a data file with `text`, or `prompt` and `response`.")],
    vector: options.Vectors,
    layer: options.Layer,
    model: options.Model = options.DEFAULT_MODEL,
    backend: options.Backend = "transformer_lens",
    dtype: options.Dtype = "auto",
    template_option: options.TemplateOptions = options.NONE,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV or Parquet file; default: CSV on standard output.")
    ] = None,
) -> Outcome:
    """Projection a.v/|v| of texts onto saved directions at a layer."""
    from persona_interp.directions.direction import check_direction
    from persona_interp.measurements.projection import project_texts, read_samples
    from persona_interp.models.load import load_model
    from persona_interp.tables import table_bytes, write_table

    options.check_table(out)
    samples, directions = read_samples(source), options.directions(vector)
    loaded = load_model(model, backend, dtype=dtype, template_options=options.template_options(template_option))
    for direction in directions:
        check_direction(direction, loaded)
    frame = project_texts(loaded, samples, directions, layer)
    rows = frame.to_dict("records")
    if out is None:
        return Outcome([table_bytes(frame, ".csv").decode().removesuffix("\n")], rows)
    write_table(out, frame)
    return Outcome([], rows, out)
