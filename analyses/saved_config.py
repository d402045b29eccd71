"""The settings that saved results were made with, as their `provenance.json` has them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from persona_interp.errors import ConfigError
from persona_interp.io import read_json

Config = TypeVar("Config")


def saved_provenance(folder: Path, *parts: str) -> Any:
    """What `provenance.json` of a folder says under these keys, one inside the other.

    Raises:
        ConfigError: the file is not there, or has no such key.
    """
    path = folder / "provenance.json"
    found = read_json(path) if path.is_file() else None
    for part in parts:
        if not isinstance(found, dict) or part not in found:
            raise ConfigError(
                f"{path} does not say {' / '.join(parts)}, with which the saved tables were made.",
                "Make the study's tables again with its script, which writes that file.",
            )
        found = found[part]
    return found


def saved_config(folder: Path, like: Config) -> Config:
    """The settings in `provenance.json` of a folder as a dataclass of the same kind as `like`.

    Args:
        like: any settings of the study's script; only the kinds of its parts are used, none of its values.

    Raises:
        ConfigError: the file is not there, or does not have exactly the settings that the dataclass has.
    """
    return _of_kind(saved_provenance(folder, "config"), like, folder / "provenance.json")


def _of_kind(saved: Any, like: Any, path: Path) -> Any:
    if not is_dataclass(like) or isinstance(like, type):
        return tuple(saved) if isinstance(like, tuple) else saved
    names = {field.name for field in fields(like)}
    given = set(saved) if isinstance(saved, Mapping) else set()
    if given != names:
        raise ConfigError(
            f"{path} has other settings than {type(like).__qualname__}: missing {sorted(names - given)},"
            f" unknown {sorted(given - names)}.",
            "Make the study's tables again with its script.",
        )
    return replace(like, **{name: _of_kind(saved[name], getattr(like, name), path) for name in names})
