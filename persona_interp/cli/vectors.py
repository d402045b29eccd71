"""`persona-interp extract, steer, project`: making and using one vector."""

from pathlib import Path
from typing import Annotated

import typer

from persona_interp.studies.options import (
    DEFAULT_MODEL,
    Backend,
    Dtype,
    Model,
    Out,
    Seed,
    alone_in_out,
    parse_numbers,
)


@alone_in_out
def extract(
    trait: Annotated[str, typer.Argument(help="A trait of the package, or a file.")],
    out: Out,
    model: Model = DEFAULT_MODEL,
    backend: Backend = "transformer_lens",
    dtype: Dtype = "auto",
    n_questions: int = 20,
    n_samples: int = 1,
    max_new_tokens: int = 48,
    keep: Annotated[str, typer.Option("--filter", help="paired, independent or none.")] = "paired",
    seed: Seed = 0,
) -> None:
    """A trait's persona vector, saved as OUT/TRAIT.safetensors with its manifest."""
    from persona_interp.data.traits import load_trait
    from persona_interp.directions.persona import check_filter, persona_vector
    from persona_interp.judges.likelihood import LikelihoodJudge
    from persona_interp.models.load import load_model
    from persona_interp.rollouts.generate import generate_rollouts

    check_filter(keep)
    wanted = load_trait(trait)
    loaded = load_model(model, backend, dtype=dtype)  # pyright: ignore (checked by load_model)
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
    direction = persona_vector(rollouts, filter=keep)  # pyright: ignore (checked there)
    path = out / f"{wanted.name}.safetensors"
    direction.save(path)
    typer.echo(str(path))


def steer(
    vector: Annotated[Path, typer.Argument(help="A saved direction (.safetensors).")],
    prompt: Annotated[list[str], typer.Option("--prompt", "-p", help="A question; give several if you like.")],
    layer: Annotated[int, typer.Option(help="0-based block.")],
    coefficients: Annotated[str, typer.Option(help="In units of the mean residual norm.")] = "-0.3,0.3",
    model: Model = DEFAULT_MODEL,
    backend: Backend = "transformer_lens",
    dtype: Dtype = "auto",
    max_new_tokens: int = 48,
    temperature: float = 0.0,
    seed: Seed = 0,
) -> None:
    """Steered answers beside unsteered ones."""
    from rich.console import Console
    from rich.table import Table

    from persona_interp.directions.direction import Direction
    from persona_interp.interventions.residual import Add
    from persona_interp.interventions.text import generate_text
    from persona_interp.models.load import load_model
    from persona_interp.models.tokens import render_prompt

    strengths = sorted({0.0, *parse_numbers(coefficients, float, "coefficients")})
    loaded = load_model(model, backend, dtype=dtype)  # pyright: ignore (checked by load_model)
    direction = Direction.load(vector, loaded)
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
    table = Table("question", *(f"{direction.trait} {c:+g}" if c else "unsteered" for c in strengths), show_lines=True)
    for i, text in enumerate(prompt):
        table.add_row(text, *(column[i].strip() for column in columns))
    Console(markup=False).print(table)


def project(
    source: Annotated[str, typer.Argument(help="A text, or a .jsonl file with `text`, or `prompt` and `response`.")],
    vectors: Annotated[list[Path], typer.Option("--vector", "-v", help="A saved direction; give several if you like.")],
    layer: Annotated[int, typer.Option(help="0-based block.")],
    model: Model = DEFAULT_MODEL,
    backend: Backend = "transformer_lens",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="CSV file; default: standard output.")] = None,
) -> None:
    """Projection a.v/|v| of texts onto saved directions at a layer."""
    from persona_interp.directions.direction import Direction
    from persona_interp.io import atomic_write_bytes
    from persona_interp.measurements.projection import project_texts, read_samples
    from persona_interp.models.load import load_model
    from persona_interp.tables import table_bytes

    samples = read_samples(source)
    loaded = load_model(model, backend, dtype=dtype)  # pyright: ignore (checked by load_model)
    directions = [Direction.load(path, loaded) for path in vectors]
    data = table_bytes(project_texts(loaded, samples, directions, layer), ".csv")
    if out is None:
        typer.echo(data.decode(), nl=False)
    else:
        atomic_write_bytes(out, data)
