"""Options that several commands share, and how they are read."""

import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from persona_interp.ending import writes_to
from persona_interp.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")

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

        if isinstance(out := options.get("out"), Path):
            writes_to(out)
        return alone_in("out")(command)(*arguments, **options)

    return locking


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


def parse_z(text: str) -> dict[str, float]:
    """A trait vector from `extraversion=3,neuroticism=-2`.

    Raises:
        ConfigError: a part is not a name with a finite number, or a name comes twice.
    """
    found: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",") if part.strip()):
        name, sign, number = (piece.strip() for piece in part.partition("="))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not sign or not math.isfinite(value) or name in found:
            raise ConfigError(f"no trait value can be read from {part!r}.", "Write --z extraversion=3,neuroticism=-2.")
        found[name] = value
    return found
