"""Options of a command in a TOML file: what was given or was a default, which can be given again."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import typer

Value: TypeAlias = str | bool | int | float | Path | list["Value"] | tuple["Value", ...]

_LONGEST = 2**20


def read_options(path: Path) -> dict[str, object]:
    """The table of a TOML file.

    Raises:
        BadParameter: it is not there, or is not TOML.
    """
    from persona_interp.errors import ArtefactError
    from persona_interp.files import read_bytes

    try:
        return tomllib.loads(read_bytes(path, most=_LONGEST).decode())
    except ArtefactError as error:
        raise typer.BadParameter(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{path} cannot be read as TOML: {str(error)[:200] or type(error).__name__}") from None


def write_options(path: Path, command: str, options: Mapping[str, Value]) -> None:
    """A TOML file with one line an option; atomic."""
    from persona_interp.io import atomic_write_bytes

    lines = [f"{json.dumps(name) if not _bare(name) else name} = {toml(value)}" for name, value in options.items()]
    atomic_write_bytes(path, "\n".join([f"# persona-interp {command} --config {path.name}", *lines, ""]).encode())


def toml(value: Value) -> str:
    """A value as TOML writes it: texts as JSON does, whose escapes TOML shares but for DEL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(part) for part in value)}]"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _bare(name: str) -> bool:
    return name.replace("-", "").replace("_", "").isalnum() and name.isascii()
