"""Where a data set lies: the files of a path in order, a split that `datasets` saved, or a data set of the hub."""

import errno
import os
import reprlib
import stat
from dataclasses import dataclass
from pathlib import Path

from persona_interp.data.hub import HubSource, hub_source
from persona_interp.errors import ArtefactError
from persona_interp.io import read_record

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
COMPRESSIONS = (".gz", ".zst")
EXPECTED = f"{', '.join(KINDS)}, each perhaps with {' or '.join(COMPRESSIONS)}"
_NOT_DATA = frozenset(("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"))
"""Descriptions that stand beside data files."""
_SPLITS, _SAVED = "dataset_dict.json", "state.json"
_LONGEST = 300


@dataclass(frozen=True)
class Files:
    """The files of a data set in order."""

    paths: tuple[Path, ...]


def resolved(source: str | Path) -> Files | HubSource:
    """The files of a source in order, or the data set of the hub that it names.

    Raises:
        ArtefactError: there is no such file or split, it cannot be looked at, or it is of another kind.
    """
    name, path = str(source), Path(source)
    mode = _mode(path)
    if mode is None:
        return _split_or_hub(name)
    if stat.S_ISDIR(mode):
        return _folder(path, None)
    if not stat.S_ISREG(mode):
        raise ArtefactError(
            f"{shown(name)} is {_special(mode)}, not a file: it was not opened.",
            "What it gives cannot be read twice, so a job could not go on. Write it to a file first.",
        )
    if not suffix_of(path):
        raise ArtefactError(f"{shown(name)} is not read as a data set.", f"Expected a name in {EXPECTED}.")
    return Files((path,))


def suffix_of(path: Path) -> str:
    """Which of the kinds a file's name ends in, without its compression; empty for another kind."""
    name = path.name.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return next((kind for kind in KINDS if name.endswith(kind)), "")


def shown(source: str | Path) -> str:
    """A source as a message names it: bounded, and on one line."""
    name = str(source)
    plain = name.isprintable() and len(name) <= _LONGEST
    return name if plain else f"{reprlib.repr(name[:_LONGEST])} ({len(name)} characters)"


def _mode(path: Path) -> int | None:
    """What kind of thing is at a path; None where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            raise ArtefactError(f"{shown(path)} is a link to {shown(path.readlink())}, which is not there.") from error
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        loop = error.errno == errno.ELOOP
        reason = "its symbolic links lead in a circle" if loop else error.strerror or str(error)
        raise ArtefactError(f"could not read {shown(path)}: {reason}.", "Give the path of the data itself.") from error


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _split_or_hub(name: str) -> Files | HubSource:
    before, colon, split = name.rpartition(":")
    if colon and before and Path(before).is_dir():
        return _folder(Path(before), split)
    hub = hub_source(name)
    if hub is None or name.lower().endswith((*KINDS, *COMPRESSIONS)):
        raise ArtefactError(
            f"{shown(name)} does not exist.",
            f"Expected a file ({EXPECTED}), a folder of such files,"
            " or a data set of the hub: org/name or org/name:split.",
        )
    return hub


def _folder(path: Path, split: str | None) -> Files:
    if (path / _SPLITS).is_file():
        return Files(_saved(_chosen(path, split)))
    if split is not None:
        raise ArtefactError(
            f"{shown(path)} has no splits, so none is called {shown(split)}.", "Give the folder, or a file in it."
        )
    if (path / _SAVED).is_file() and any(path.glob("*.arrow")):
        return Files(_saved(path))
    try:
        there = sorted(path.iterdir())
    except OSError as error:
        raise ArtefactError(f"could not read {shown(path)}: {error.strerror or error}.") from error
    files = tuple(p for p in there if _is_data(p) and p.is_file())
    if not files:
        near = [p.name for p in there][:8]
        raise ArtefactError(
            f"{shown(path)} holds no data set: no file there ends in {EXPECTED}.",
            f"There: {shown(', '.join(near)) or 'nothing'}. Folders inside it are not looked into.",
        )
    return Files(files)


def _is_data(path: Path) -> bool:
    return bool(suffix_of(path)) and not path.name.startswith(".") and path.name not in _NOT_DATA


def _chosen(path: Path, split: str | None) -> Path:
    names = [str(name) for name in read_record(path / _SPLITS, {"splits": list})["splits"]]
    if split is None and len(names) == 1:
        return path / names[0]
    if split not in names:
        reason = "no split was named" if split is None else f"it has no split {shown(split)!r}"
        raise ArtefactError(
            f"could not choose from the data set {shown(path)}: {reason}.",
            f"Splits: {shown(', '.join(names)) or 'none'}."
            + (f" Name one: {shown(path)}:{names[0]}." if names else ""),
        )
    return path / str(split)


def _saved(path: Path) -> tuple[Path, ...]:
    """The files of a folder that `datasets` wrote, in the order of its rows."""
    listed = read_record(path / _SAVED, {"_data_files": list})["_data_files"]
    names = [entry.get("filename") for entry in listed if isinstance(entry, dict)]
    if not names or not all(isinstance(name, str) and os.sep not in name for name in names):
        raise ArtefactError(f"{shown(path / _SAVED)} names no data file.", "Save the data set again.")
    return tuple(path / str(name) for name in names)
