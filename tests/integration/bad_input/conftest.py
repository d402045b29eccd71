"""Commands that must be refused, and files to damage."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Shell


@pytest.fixture
def refused(shell: Shell) -> Callable[..., str]:
    """The error of a command that must fail as a caller's mistake does."""

    def run(*arguments: object) -> str:
        done = shell(*arguments)
        assert "Traceback" not in done.err
        asked = done.error.startswith(("ConfigError", "Invalid value"))
        assert (done.code, done.out) == (2 if asked else 1, "")
        return done.error

    return run


@pytest.fixture
def damaged(vector: Path, tmp_path: Path) -> Path:
    """A copy of the vector and its manifest to damage."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(vector.with_suffix(suffix), tmp_path / f"copy{suffix}")
    return tmp_path / "copy.safetensors"


Uses = Callable[..., tuple[object, ...]]


@pytest.fixture(params=["steer", "project"])
def using(request: pytest.FixtureRequest, model_folder: Path) -> Uses:
    """The two commands that read a vector."""

    def arguments(vector: Path, *, model: Path = model_folder, layer: int = 1) -> tuple[object, ...]:
        options = ("--layer", layer, "--model", model, "--dtype", "float32")
        if request.param == "steer":
            return ("steer", vector, "--prompt", "Why run?", "--max-new-tokens", 3, *options)
        return ("project", "I am happy.", "--vector", vector, *options)

    return arguments


def extract(trait: object, out: Path, model: Path, *options: object) -> tuple[object, ...]:
    small = ("--n-questions", 2, "--max-new-tokens", 3, "--dtype", "float32", "--filter", "none")
    return ("extract", trait, "--out", out, "--model", model, *small, *options)


def alter_manifest(path: Path, **changes: object) -> None:
    manifest = path.with_suffix(".json")
    altered = json.loads(manifest.read_text()) | changes
    manifest.write_text(json.dumps({key: value for key, value in altered.items() if value is not None}))
