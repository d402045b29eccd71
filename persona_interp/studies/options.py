"""The application object, and the options that several commands share."""

import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import typer

from persona_interp.ending import writes_a_folder
from persona_interp.errors import ConfigError

if TYPE_CHECKING:
    from persona_interp.studies.persona.config import RunConfig

P = ParamSpec("P")
R = TypeVar("R")

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
Layers = Annotated[str, typer.Option(help="Layers to steer at, separated by commas; default by depth.")]
Coefficients = Annotated[str, typer.Option(help="In units of the mean residual norm.")]
Questions = Annotated[int, typer.Option(help="Extraction questions a trait.")]
EvalQuestions = Annotated[int, typer.Option(help="Evaluation questions a trait.")]
EvalSamples = Annotated[int, typer.Option(help="Steered answers a question.")]
AnswerTokens = Annotated[int, typer.Option(help="Tokens of a contrastive answer.")]
Filter = Annotated[str, typer.Option("--filter", help="paired, independent or none.")]

DEFAULT_MODEL = "smollm2-135m-instruct"
DEFAULT_COEFFICIENTS = "-0.3,-0.15,0.15,0.3"


def alone_in_out(command: Callable[P, R]) -> Callable[P, R]:
    """The command with its folder `out` locked while it runs, where it was given one."""

    @wraps(command)
    def locking(*arguments: P.args, **options: P.kwargs) -> R:
        from persona_interp.lock import alone_in

        if options.get("out") is not None:
            writes_a_folder()
        return alone_in("out")(command)(*arguments, **options)

    return locking


def main_job_config(
    traits: tuple[str, ...],
    *,
    model: str,
    backend: str,
    dtype: str,
    layers: str,
    coefficients: str,
    n_questions: int,
    n_eval_questions: int,
    n_eval_samples: int,
    max_new_tokens: int,
    keep: str,
    seed: int,
) -> "RunConfig":
    """The main job as `run` and `traits new` ask for it, which share these options.

    Raises:
        ConfigError: an option is out of range.
    """
    from persona_interp.studies.persona.config import RunConfig

    return RunConfig(
        model=model,
        traits=traits,
        backend=backend,  # pyright: ignore (checked by RunConfig)
        dtype=dtype,
        layers=tuple(parse_numbers(layers, int, "layers")),
        coefficients=tuple(parse_numbers(coefficients, float, "coefficients")),
        n_questions=n_questions,
        n_held_out_questions=n_eval_questions,
        n_eval_questions=n_eval_questions,
        n_eval_samples=n_eval_samples,
        n_selection_questions=min(10, n_questions),
        max_new_tokens=max_new_tokens,
        filter=keep,  # pyright: ignore (checked by RunConfig)
        seed=seed,
    )


def parse_numbers(text: str, kind: type, name: str) -> list:
    """Finite numbers from a comma-separated text.

    Raises:
        ConfigError: a part is no such number.
    """
    expected = f"{name} must be {'whole ' if kind is int else ''}numbers separated by commas, got {text!r}."
    try:
        numbers = [kind(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(expected) from error
    if not all(map(math.isfinite, numbers)):
        raise ConfigError(expected)
    return numbers


def refuse_idle(value: object, option: str, used: bool, where: str) -> None:
    """Refuse an option that was given where it would do nothing.

    Raises:
        ConfigError: names the option and what it needs.
    """
    if value is not None and not used:
        raise ConfigError(
            f"{option} was given without {where}, where it would do nothing.", f"Give {where}, or leave it out."
        )
