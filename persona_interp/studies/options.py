"""Options that several commands share, how they are read, and what a command returns."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TypeVar

import typer

from persona_interp.ending import writes_to
from persona_interp.errors import ArtefactError, ConfigError

if TYPE_CHECKING:
    from persona_interp.directions.direction import Direction

P = ParamSpec("P")
R = TypeVar("R")

SEVERAL = "Repeat it, or join by commas."
MOST = 1_000_000
"""The largest count that an option takes."""
ANSWER_TOKENS = 48
"""Tokens of an answer, by default, in every command."""

Model = Annotated[str, typer.Option("--model", "-m", help="Packaged model, hub id, folder or .gguf file.")]
Backend = Annotated[Literal["transformer_lens", "nnsight"], typer.Option(help="What opens the model's layers.")]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
Dtype = Annotated[DtypeName, typer.Option(help="auto: bfloat16 where the machine is fast at it.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for results.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0)]
Layer = Annotated[int, typer.Option(help="0-based block.", min=0)]
TemplateOptions = Annotated[
    list[str],
    typer.Option("--template-option", help="NAME=JSON for the chat template, as enable_thinking=false."),
]
Layers = Annotated[list[str], typer.Option("--layer", help=f"0-based blocks; default by depth. {SEVERAL}")]
Coefficients = Annotated[
    list[str], typer.Option("--coefficient", help=f"In units of the mean residual norm. {SEVERAL}")
]
KL = Annotated[
    list[str],
    typer.Option(
        "--kl", help=f"In place of --coefficient: mean KL from the unsteered model in nats, both signs. {SEVERAL}"
    ),
]
Vectors = Annotated[list[str], typer.Option("--vector", "-v", help=f"A saved direction (.safetensors). {SEVERAL}")]
Effort = Literal["quick", "standard", "paper"]
EffortOption = Annotated[
    Effort, typer.Option("--effort", help="Sizes: quick for a look, standard, or those of the papers.")
]
Questions = Annotated[int, typer.Option(help="Extraction questions a trait.", min=1)]
Samples = Annotated[int, typer.Option(help="Contrastive answers a prompt.", min=1)]
SizedQuestions = Annotated[int | None, typer.Option(help="Extraction questions a trait; default: by --effort.", min=1)]
EvalQuestions = Annotated[int | None, typer.Option(help="Evaluation questions a trait; default: by --effort.", min=1)]
EvalSamples = Annotated[int | None, typer.Option(help="Steered answers a question; default: by --effort.", min=1)]
SizedSamples = Annotated[int | None, typer.Option(help="Contrastive answers a prompt; default: by --effort.", min=1)]
SizedTokens = Annotated[int | None, typer.Option(help="Tokens of an answer, at most; default: by --effort.", min=1)]
AnswerTokens = Annotated[int, typer.Option(help="Tokens of an answer, at most.", min=1)]
Filter = Annotated[
    Literal["paired", "independent", "none"], typer.Option("--filter", help="Which contrastive answers count.")
]

DEFAULT_MODEL = "smollm2-135m-instruct"
NONE: list[str] = []


@dataclass(frozen=True)
class Outcome:
    """What a command made.

    Args:
        shown: texts and tables of `rich`, in the order in which they are printed.
        data: the same for `--json`: mappings, lists, texts and numbers.
        out: the folder or file it was written to, if any; the options are kept there too.
        reported: whether the report of `out` is to be written.
    """

    shown: Sequence[object]
    data: Mapping[str, Any] | Sequence[Any]
    out: Path | None = None
    reported: bool = field(default=False)

    def say(self) -> None:
        """Print what is shown."""
        from rich.console import Console

        for part in self.shown:
            if isinstance(part, str):
                typer.echo(part)
            else:
                Console(markup=False).print(part, soft_wrap=False)


def config_path(out: Path, command: str) -> Path:
    """Where the options of a command are kept: in its folder of results, or beside its file."""
    return out / f"config.{command}.toml" if out.is_dir() else out.with_name(f"{out.name}.{command}.toml")


def check_table(out: Path | None) -> None:
    """Refuse a name that is not a table's, before anything is computed.

    Raises:
        ConfigError: it ends in neither .csv nor .parquet.
    """
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"a table cannot be written as {out.name!r}.", "The name must end in .csv or .parquet.")


def alone_in_out(command: Callable[P, R]) -> Callable[P, R]:
    """The command with its folder `out` locked while it runs, where it was given one."""

    @wraps(command)
    def locking(*arguments: P.args, **options: P.kwargs) -> R:
        from persona_interp.lock import alone_in

        if isinstance(out := options.get("out"), Path):
            writes_to(out)
        return alone_in("out")(command)(*arguments, **options)

    return locking


def names(values: Sequence[str], option: str, choices: Sequence[str] = ()) -> tuple[str, ...]:
    """Names or paths that were repeated or joined by commas, each once; a path that is there is taken whole.

    Raises:
        ConfigError: one is empty, comes twice, or is not among the choices.
    """
    found = tuple(part.strip() for value in values for part in _split(value))
    if not all(found):
        raise ConfigError(f"--{option} has an empty value, in {','.join(values)[:80]!r}.", "Leave it or the comma out.")
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise ConfigError(f"--{option} names {twice[0]!r} twice.")
    if choices and (strange := [name for name in found if name not in choices]):
        raise ConfigError(f"--{option} must be among {', '.join(choices)}, got {strange[0]!r}.")
    return found


def _split(value: str) -> list[str]:
    try:
        whole = "," not in value or Path(value).exists()
    except OSError:  # too long for a name
        whole = False
    return [value] if whole else value.split(",")


def numbers(values: Sequence[str], option: str, kind: type = float) -> tuple:
    """Finite numbers that were repeated or joined by commas.

    Raises:
        ConfigError: a part is no such number.
    """
    text = ",".join(values)
    expected = f"--{option} must be {'whole ' if kind is int else ''}numbers, joined by commas, got {text[:80]!r}."
    try:
        found = tuple(kind(part) for part in text.split(",")) if values else ()
    except ValueError as error:
        raise ConfigError(expected) from error
    if not all(math.isfinite(number) and abs(number) < 2**63 for number in found):
        raise ConfigError(expected)
    return found


def kl_targets(values: Sequence[str], coefficients: Sequence[str], default: Sequence[str]) -> tuple[float, ...]:
    """The targets of --kl, none where it was not given.

    Raises:
        ConfigError: one is not above 0, or coefficients were given too.
    """
    found = numbers(values, "kl")
    if found and list(coefficients) != list(default):
        raise ConfigError("got both --kl and --coefficient.", "Give one of them.")
    if wrong := [target for target in found if target <= 0]:
        raise ConfigError(f"--kl must be above 0, got {wrong[0]:g}.", "Each target is taken at both signs.")
    return found


def template_options(values: Sequence[str]) -> dict[str, Any]:
    """Values for variables of the chat template, from `NAME=JSON`.

    Raises:
        ConfigError: one is not of that form, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for name, sign, text in (value.partition("=") for value in values):
        try:
            value = json.loads(text) if sign and name not in found else math.nan
        except (ValueError, RecursionError):
            value = math.nan
        if not name or value != value:
            raise ConfigError(
                f"--template-option cannot be read from {f'{name}{sign}{text}'[:80]!r}.",
                "Write --template-option enable_thinking=false: a name of its own, and a value as JSON.",
            )
        found[name] = value
    return found


def directions(values: Sequence[str], option: str = "vector") -> list["Direction"]:
    """Saved directions; which model they are of is checked when it is there.

    Raises:
        ArtefactError: a file is missing or damaged.
    """
    from persona_interp.directions.direction import Direction

    return [Direction.load(path) for path in names(values, option)]


def existing(path: Path, option: str) -> Path:
    """The path of a file or folder, before anything else is done.

    Raises:
        ArtefactError: nothing is there, or nothing that can be read.
    """
    try:
        path.stat()
    except OSError as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise ArtefactError(f"{option} {path} {why}.", "Check the path.") from error
    return path


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
