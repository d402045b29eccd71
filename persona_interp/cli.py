"""`persona-interp`: the command line. Heavy imports wait until a command needs them."""

import logging
import math
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from persona_interp.errors import ConfigError, PersonaInterpError

app = typer.Typer(
    help="Extract, steer with and measure persona directions of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Option("--model", "-m", help="Packaged model, hub id, folder or .gguf file.")]
Backend = Annotated[str, typer.Option(help="transformer_lens or nnsight.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for results.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]

DEFAULT_MODEL = "smollm2-135m-instruct"
_INTERRUPTED = 130


def main() -> None:
    """Run a command; a caller's mistake is one paragraph on standard error, never a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "transformers", "root", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        code = app(standalone_mode=False)  # typer turns Ctrl-C into 130 and returns it; commands return None
    except PersonaInterpError as error:
        _fail(f"{type(error).__name__}: {error}", 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _fail(f"{error.format_message()} (see --help)", 2)  # pyright: ignore
    if code == _INTERRUPTED:
        _fail("interrupted. What was finished is kept: run the same command again to go on.", code)
    raise SystemExit(code)


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(text, err=True)
    raise SystemExit(code)


@app.command()
def run(
    out: Out,
    model: Model = DEFAULT_MODEL,
    traits: Annotated[str, typer.Option(help="Names or files, separated by commas.")] = "evil,optimistic,impolite",
    backend: Backend = "transformer_lens",
    dtype: Dtype = "auto",
    layers: Annotated[str, typer.Option(help="Layers to steer at, separated by commas; default by depth.")] = "",
    coefficients: Annotated[str, typer.Option(help="In units of the mean residual norm.")] = "-0.3,-0.15,0.15,0.3",
    n_questions: Annotated[int, typer.Option(help="Extraction questions a trait.")] = 20,
    n_instructions: Annotated[int, typer.Option(help="Pairs of system prompts a trait.")] = 5,
    n_samples: Annotated[int, typer.Option(help="Contrastive answers a prompt.")] = 1,
    n_eval_questions: Annotated[int, typer.Option(help="Evaluation questions a trait.")] = 20,
    n_eval_samples: Annotated[int, typer.Option(help="Steered answers a question.")] = 2,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of a contrastive answer.")] = 40,
    keep: Annotated[str, typer.Option("--filter", help="paired, independent or none.")] = "paired",
    judge_model: Annotated[str, typer.Option(help="Model of the likelihood judge; default: the unsteered one.")] = "",
    n_judge_pairs: Annotated[int, typer.Option(help="Prompt pairs of the likelihood judge.")] = 1,
    seed: Seed = 0,
) -> None:
    """The main job: vectors, steering, statistics, figures and report.html for every trait."""
    from persona_interp.main_job.config import RunConfig, split_names
    from persona_interp.main_job.run import run_main_job

    config = RunConfig(
        model=model,
        traits=split_names(traits),
        backend=backend,  # pyright: ignore (checked by RunConfig)
        dtype=dtype,
        layers=tuple(_numbers(layers, int, "layers")),
        coefficients=tuple(_numbers(coefficients, float, "coefficients")),
        n_questions=n_questions,
        n_instructions=n_instructions,
        n_held_out_questions=n_eval_questions,
        n_held_out_instructions=min(3, n_instructions),
        n_samples=n_samples,
        n_eval_questions=n_eval_questions,
        n_eval_samples=n_eval_samples,
        n_selection_questions=min(10, n_questions),
        max_new_tokens=max_new_tokens,
        filter=keep,  # pyright: ignore (checked by RunConfig)
        judge_model=judge_model,
        n_judge_pairs=n_judge_pairs,
        seed=seed,
    )
    typer.echo(str(run_main_job(config, out)))


@app.command()
def models() -> None:
    """The models that packages carry, and whether they are installed."""
    from rich.console import Console
    from rich.table import Column, Table

    from persona_interp.models.packaged import PACKAGED_MODELS, is_installed

    table = Table(Column("model", no_wrap=True), "architecture", "kind", "licence", "installed")
    for model in PACKAGED_MODELS.values():
        there = "yes" if is_installed(model) else model.install
        table.add_row(model.name, model.architecture, model.kind, model.licence, there)
    Console().print(table)


@app.command()
def traits(name: Annotated[str, typer.Argument(help="Show one trait, or a trait file, whole.")] = "") -> None:
    """The traits of the package; with a name, its prompts and questions."""
    import json

    from persona_interp.data.traits import list_traits, load_trait, trait_to_dict

    if name:
        typer.echo(json.dumps(trait_to_dict(load_trait(name)), indent=2, ensure_ascii=False))
        return
    for known in list_traits():
        typer.echo(f"{known:24}{load_trait(known).description}")


@app.command()
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


@app.command()
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

    strengths = sorted({0.0, *_numbers(coefficients, float, "coefficients")})
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


@app.command()
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

    samples = read_samples(source)
    loaded = load_model(model, backend, dtype=dtype)  # pyright: ignore (checked by load_model)
    directions = [Direction.load(path, loaded) for path in vectors]
    data = project_texts(loaded, samples, directions, layer).to_csv(index=False)
    if out is None:
        typer.echo(data, nl=False)
    else:
        atomic_write_bytes(out, data.encode())


def _numbers(text: str, kind: type, name: str) -> list:
    expected = f"{name} must be {'whole ' if kind is int else ''}numbers separated by commas; {text!r} came."
    try:
        numbers = [kind(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(expected) from error
    if not all(map(math.isfinite, numbers)):
        raise ConfigError(expected)
    return numbers
