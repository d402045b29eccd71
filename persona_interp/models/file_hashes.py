"""The bytes that a model was loaded from: which files they are, and their hashes, which are computed once."""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from platformdirs import user_cache_path
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file

from persona_interp.errors import ArtefactError, ModelError
from persona_interp.files import MIB, expanded, read_bytes
from persona_interp.io import sha256_bytes, sha256_file, sha256_json, write_json

logger = logging.getLogger(__name__)

LEAST_KEPT = 2**20
"""Bytes of a file whose hash is kept; smaller ones are hashed in a moment."""
_SETTLED_S = 2.0
"""Age from which a file counts as no longer being written: file systems date changes by up to two seconds."""
_WEIGHTS = (
    ("model.safetensors.index.json", "model.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model.bin"),
)
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_BESIDE = ("config.json", "generation_config.json", *_TOKENIZER)
"""Files that decide what equal weights compute: the architecture's settings, tokens, and where answers end."""


def cache_folder() -> Path:
    """Where this package keeps what it computed: `$PERSONA_INTERP_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("PERSONA_INTERP_CACHE")
    return expanded(chosen) if chosen else user_cache_path("persona_interp")


def model_files(model: PreTrainedModel) -> dict[str, Path]:
    """The files that a model of transformers was loaded from, by name: weights, settings and tokenizer.

    Empty for a model that was not loaded from files.
    """
    source = str(getattr(model, "name_or_path", "") or "")
    folder = Path(source) if source and Path(source).is_dir() else _snapshot(source, model)
    return {} if folder is None else files_in(folder)


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a model in its folder, by name.

    Raises:
        ModelError: the index of its weights is damaged.
    """
    names = [*weight_files(folder), *_BESIDE]
    return {name: folder / name for name in names if (folder / name).is_file()}


def tokenizer_files(folder: Path) -> dict[str, Path]:
    """The files of a tokenizer in a folder, by name; none where there is no vocabulary."""
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        return {}
    return {name: folder / name for name in _TOKENIZER if (folder / name).is_file()}


def hash_of_files(files: Mapping[str, Path]) -> str | None:
    """SHA-256 over the names and all bytes of files, 16 hexadecimal digits; None where there is no file."""
    digests = {name: kept_sha256(path) for name, path in sorted(files.items())}
    return sha256_json(digests)[:16] if digests else None


def unchanged_since(files: Mapping[str, Path], then: float) -> bool:
    """Whether no file was changed after a time, in seconds since 1970, or within the two seconds before it."""
    return all(_changed(_state(path)) < then - _SETTLED_S for path in files.values())


def kept_sha256(path: Path) -> str:
    """Hex SHA-256 of a file, from the cache while the file's size and times of change are what they were.

    A file that is younger than two seconds is hashed and not kept, since it may change again unseen.
    """
    path = path.resolve()
    before = _state(path)
    if before["size"] < LEAST_KEPT:
        return sha256_file(path)
    started = time.time()

    def settled() -> bool:
        return _state(path) == before and _changed(before) < started - _SETTLED_S

    return kept(f"files/{sha256_bytes(str(path).encode())}", before, lambda: sha256_file(path), settled)


def kept(name: str, key: Mapping[str, object], compute: Callable[[], str], settled: Callable[[], bool]) -> str:
    """A text from the cache where it was kept under this very key, else computed, and kept if it is `settled` then.

    A damaged entry counts as none, and a cache that cannot be written to only costs the time.
    """
    path = cache_folder() / "hashes" / f"{name}.json"
    try:
        entry = json.loads(read_bytes(path, most=MIB))
        if entry["key"] == dict(key) and entry["check"] == _check(key, entry["value"]):
            return entry["value"]
    except (ArtefactError, ValueError, KeyError, TypeError, RecursionError):
        pass
    value = compute()
    if settled():
        try:
            write_json(path, {"key": dict(key), "value": value, "check": _check(key, value)})
        except ArtefactError as error:
            logger.debug("the hash was not kept: %s", error)
    return value


def _check(key: Mapping[str, object], value: str) -> str:
    """What tells an entry from one that was damaged or edited by accident."""
    return sha256_json([dict(key), value])[:16]


def _state(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}


def _changed(state: Mapping[str, int]) -> float:
    """When a file was last changed, in seconds since 1970."""
    return max(state["mtime_ns"], state["ctime_ns"]) / 1e9


def weight_files(folder: Path) -> list[str]:
    """The files of weights that transformers reads: safetensors before pickles, whole before parts."""
    for index, whole in _WEIGHTS:
        if (folder / whole).is_file():
            return [whole]
        if (folder / index).is_file():
            return [index, *_parts(folder / index)]
    return []


def _parts(index: Path) -> list[str]:
    try:
        return sorted({os.fspath(part) for part in json.loads(index.read_bytes())["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{index} does not say which files hold the weights: it is damaged.", "Get or save the model again."
        ) from error


def _snapshot(source: str, model: PreTrainedModel) -> Path | None:
    """The folder of the hub's cache that a model came from."""
    if not source:
        return None
    try:
        found = cached_file(
            source, "config.json", revision=getattr(model.config, "_commit_hash", None), local_files_only=True
        )
    except OSError:
        return None
    return None if found is None else Path(found).parent
