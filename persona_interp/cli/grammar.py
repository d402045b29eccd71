"""What all commands have in common: shared options, old spellings, values that no option takes, and what is said.

An option has one spelling in every command, in the singular. One that takes several values is repeated, and its values
may also be joined by commas: `--layer 10 --layer 12` is `--layer 10,12`.
"""

import inspect
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from persona_interp.cli.toml import read_options, write_options
from persona_interp.errors import ConfigError
from persona_interp.studies.options import MOST, Outcome, config_path

OLD_SPELLINGS = {
    "traits": "trait",
    "layers": "layer",
    "coefficients": "coefficient",
    "vectors": "vector",
    "judges": "judge",
    "wordings": "wording",
    "orders": "order",
}
"""Spellings from before version 0.1.0, which are taken with a warning until 0.2."""
_OF_COMMANDS = {"convert": {"layers": "n-layers"}}
_SHARED = ("ctx", "config", "device", "quiet", "json")
_SECRET = ("api_key",)
_LONGEST = 100_000
_MOST = {"seed": 2**32 - 1, "n-tokens": 10**10}


def command(function: Callable[..., Outcome | None]) -> Callable[..., None]:
    """The command with the options that all share; values are checked before it runs, and its outcome is said after."""

    @wraps(function)
    def run(*, ctx: Any, config: Path | None, device: str | None, quiet: bool, json: bool, **own: Any) -> None:
        del config  # was taken while the command line was read
        names = _option_names(ctx)
        for name, value in own.items():
            _check(names.get(name, name), value)
        with _environment({"PERSONA_INTERP_DEVICE": device, "PERSONA_INTERP_QUIET": "1" if quiet else None}):
            outcome = function(**own)
        if outcome is None:
            return
        if outcome.out is not None:
            given = {names[name]: value for name, value in own.items() if name not in _SECRET and value is not None}
            words = ctx.command_path.split()[1:]
            write_options(config_path(outcome.out, "-".join(words)), " ".join(words), given)
        if json:
            typer.echo(_json(outcome.data))
        elif not quiet:
            outcome.say()

    own = inspect.signature(function).parameters.values()
    keywords = [part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in own]
    shared = [
        inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in _OPTIONS.items()
        ),
    ]
    run.__signature__ = inspect.Signature([*keywords, *shared])  # pyright: ignore
    run.__annotations__ = {part.name: part.annotation for part in [*keywords, *shared]}
    del run.__wrapped__
    return run


@contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """What every model and progress bar of a command follows, processes that it starts too."""
    before = dict(os.environ)
    logger = logging.getLogger("persona_interp")
    level = logger.level
    os.environ.update({name: value for name, value in changes.items() if value is not None})
    if changes["PERSONA_INTERP_QUIET"]:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in changes:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def spellings(words: str) -> dict[str, Any]:
    """Context settings with which a command takes the old spellings."""
    known = {**OLD_SPELLINGS, **_OF_COMMANDS.get(words, {})}
    return {"token_normalize_func": lambda name: known.get(name, name)}


def warn_of_old_spellings(arguments: list[str]) -> None:
    """One line on standard error for each option that is written as in an earlier version."""
    given = {part[2:].partition("=")[0] for part in arguments if part.startswith("--")}
    known = {**OLD_SPELLINGS, **_OF_COMMANDS.get(arguments[0] if arguments else "", {})}
    for old in sorted(given & known.keys()):
        new = known[old]
        typer.echo(f"warning: --{old} is now --{new}; the old spelling will be refused from version 0.2 on.", err=True)


def refuse_empty_paths(arguments: list[str]) -> None:
    """Refuse an output path that is empty, as an unset variable of the shell leaves it: it would be this folder.

    Raises:
        ConfigError: names the option.
    """
    for option, value in pairwise([*(part for one in arguments for part in _parts(one)), "-"]):
        if option in ("--out", "-o") and not value.strip():
            raise ConfigError(f"{option} is empty.", "Give a path, or --out . for this folder.")


def _parts(argument: str) -> list[str]:
    """An option and its value where one argument holds both."""
    return ["--out", argument[len("--out=") :]] if argument.startswith("--out=") else [argument]


def _take_config(ctx, path: Path | None) -> Path | None:
    """Take what a TOML file says for what is not given on the command line.

    Raises:
        BadParameter: it cannot be read, or names an option that the command does not have.
    """
    if path is None:
        return None
    known = {option: name for name, option in _option_names(ctx).items()}
    found: dict[str, Any] = {}
    several = {part.name for part in ctx.command.params if getattr(part, "multiple", False) or part.nargs == -1}
    flags = {part.name for part in ctx.command.params if getattr(part, "is_flag", False)}
    spelled: dict[str, str] = {}
    for key, value in read_options(path).items():
        option = key.replace("_", "-")
        option = OLD_SPELLINGS.get(option, option)
        if option in spelled:
            raise typer.BadParameter(f"{path} says {option} twice, as {spelled[option]!r} and as {key!r}.")
        spelled[option] = key
        if option not in known:
            raise typer.BadParameter(f"{path} names {key!r}, which is none of: {', '.join(sorted(known))}.")
        name = known[option]
        parts = value if isinstance(value, list) else [value]
        if any(isinstance(part, Mapping | list) for part in parts):
            raise typer.BadParameter(f"{path}: {key} must be a text, a number, true, false, or a list of these.")
        if name not in flags and any(isinstance(part, bool) for part in parts):
            raise typer.BadParameter(f"{path}: {key} takes a value, not true or false.")
        texts = [_as_given(part) for part in parts]
        if name not in several and len(texts) != 1:
            raise typer.BadParameter(f"{path}: {key} must be one value, got a list of {len(texts)}.")
        found[name] = texts if name in several else texts[0]
    ctx.default_map = found
    return path


def _as_given(value: object) -> object:
    """A value as the command line would have it."""
    return value if isinstance(value, bool) else str(value)


def _option_names(ctx: Any) -> dict[str, str]:
    """The spelling of every option and argument of a command, without dashes, by the name of its parameter."""
    names = {}
    for part in ctx.command.params:
        long = [option[2:] for option in part.opts if option.startswith("--")]
        if part.name not in ("help", "config", None):
            names[part.name] = long[0] if long else part.name
    return names


def _check(option: str, value: object) -> None:
    """Refuse what no option takes: numbers without end or past 64 bits, texts that cannot be written, or huge ones.

    Raises:
        BadParameter: names the option.
    """
    if isinstance(value, list | tuple):
        for part in value:
            _check(option, part)
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"--{option} must be a finite number, got {value}.")
    most = _MOST.get(option, MOST)
    if isinstance(value, int) and abs(value) > most:
        shown = value if value.bit_length() < 64 else f"a number of {value.bit_length()} bits"
        raise typer.BadParameter(f"--{option} must be at most {most}, got {shown}.")
    if isinstance(value, str | Path):
        text = str(value)
        if len(text) > _LONGEST:
            raise typer.BadParameter(f"--{option} must be at most {_LONGEST:,} characters, got {len(text):,}.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise typer.BadParameter(f"--{option} must be UTF-8, got {ascii(text)[:80]}.") from None
        if "\0" in text:
            raise typer.BadParameter(f"--{option} must not hold a NUL character.")


def _json(data: object) -> str:
    """One JSON value; numbers without a value are null."""
    return json.dumps(_plain(data), ensure_ascii=False, allow_nan=False)


def _plain(data: Any) -> object:
    if hasattr(data, "tolist"):  # a number or an array of numpy
        data = data.tolist()
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(part) for part in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if data is None or isinstance(data, bool | int | float | str) else str(data)


_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "config": (
        Annotated[
            Path | None,
            typer.Option(
                is_eager=True, callback=_take_config, help="TOML file of options; those given here go before it."
            ),
        ],
        None,
    ),
    "device": (
        Annotated[
            str | None,
            typer.Option(help="cpu, cuda, cuda:1 or mps; default: PERSONA_INTERP_DEVICE, else a GPU if any."),
        ],
        None,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but errors is said.")], False),
    "json": (Annotated[bool, typer.Option("--json", help="The result as one JSON value on standard output.")], False),
}
