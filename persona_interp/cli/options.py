"""The application object, and the options that several commands share."""

import math
from pathlib import Path
from typing import Annotated

import typer

from persona_interp.errors import ConfigError

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


def parse_numbers(text: str, kind: type, name: str) -> list:
    """Finite numbers from a comma-separated text.

    Raises:
        ConfigError: a part is no such number.
    """
    expected = f"{name} must be {'whole ' if kind is int else ''}numbers separated by commas; {text!r} came."
    try:
        numbers = [kind(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(expected) from error
    if not all(map(math.isfinite, numbers)):
        raise ConfigError(expected)
    return numbers
