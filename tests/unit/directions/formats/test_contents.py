"""A whole file that holds something else than the vectors of its format."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persona_interp.directions.formats import (
    load_assistant_axis,
    load_easysteer,
    load_gguf,
    load_persona_vectors,
    load_steering_vectors,
    save_gguf,
)
from persona_interp.errors import AlignmentError, ArtefactError
from persona_interp.types import Hookpoint
from tests.small import direction
from tests.unit.directions.formats.conftest import NAME, SHAPE, text_of


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"direction.1": np.ones(4, dtype=np.float16)}, "direction.1 of foreign.gguf is F16 with 1 axes."),
        ({"direction.1": np.ones((2, 4), dtype=np.float32)}, "direction.1 of foreign.gguf is F32 with 2 axes."),
        ({"blk.1": np.ones(4, dtype=np.float32)}, "foreign.gguf has a tensor called 'blk.1'."),
        ({"direction.01": np.ones(4, dtype=np.float32)}, "foreign.gguf has a tensor called 'direction.01'."),
        ({"direction.1": np.array([1, np.nan, 0, 0], dtype=np.float32)}, "direction.1 of foreign.gguf has values that"),
        ({}, "foreign.gguf holds no vectors."),
    ],
)
def test_other_tensors_in_a_gguf(control_vector: Callable[..., Path], tensors: dict[str, np.ndarray], words: str):
    path = control_vector(tensors)
    call = lambda: load_gguf(path, SHAPE, trait="loud", convention="block_output")  # noqa: E731
    assert text_of(ArtefactError, call).startswith(words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.full((4, 4), 1e300, dtype=torch.float64), "has values that are too large for float32."),
        (torch.ones(4, 4, dtype=torch.bool), "holds bool values."),
        (torch.ones(4, 4, dtype=torch.int64), "holds int64 values."),
        (torch.ones(4, 4, dtype=torch.complex64), "holds complex64 values."),
        (torch.ones(4, 4).to_sparse(), "holds a sparse tensor, not a dense tensor."),
        (torch.ones(4), "has shape [4]."),
        (torch.ones(4, 4, 1), "has shape [4, 4, 1]."),
        (torch.full((4, 4), float("inf")), "has values that are not finite."),
        ([torch.ones(4)] * 4, "holds a list, not a dense tensor."),
        ("evil", "holds a str, not a dense tensor."),
        ({"axis": torch.ones(4, 4)}, "holds a dict, not a dense tensor."),
    ],
)
def test_other_content(saved: Callable[..., Path], content: Any, words: str):
    path = saved(content)
    assert text_of(ArtefactError, lambda: load_persona_vectors(path, SHAPE)).splitlines()[0] == f"{NAME} {words}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"axis": torch.ones(3, 4), "code": "x"}, "a.pt holds the keys axis, code."),
        ({"vector": torch.ones(3, 4), "type": 3, "role": "pirate"}, "a.pt has a role or a type that is no text."),
        ({"axis": torch.ones(3, 4), "metadata": torch.ones(2)}, "the metadata of a.pt holds more than"),
        ([1], "a.pt holds list."),
    ],
)
def test_other_keys_in_an_axis_file(saved: Callable[..., Path], content: Any, words: str):
    path = saved(content, "a.pt")
    assert text_of(ArtefactError, lambda: load_assistant_axis(path, SHAPE)).startswith(words)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (
            {3: torch.ones(4)},
            AlignmentError,
            "s.pt has layers 3..3; the blocks of tiny-a run 0..2.\n  Layer 3 exists only",
        ),
        ({-1: torch.ones(4)}, AlignmentError, "s.pt has layers -1..-1; the blocks"),
        ({"1": torch.ones(4)}, ArtefactError, "s.pt holds the keys '1'."),
        ({True: torch.ones(4)}, ArtefactError, "s.pt holds the keys True."),
        ({}, ArtefactError, "s.pt holds no vectors."),
        ({1: [1.0]}, ArtefactError, "layer 1 of s.pt holds a list"),
        (
            {"layer_activations": {1: torch.ones(4)}, "layer_type": "mlp"},
            ArtefactError,
            "s.pt holds vectors of layer_type 'mlp'.",
        ),
    ],
)
def test_other_layers_in_a_steering_vector(saved: Callable[..., Path], content: Any, error: Any, words: str):
    path = saved(content, "s.pt")
    assert text_of(error, lambda: load_steering_vectors(path, SHAPE, trait="loud")).startswith(words)


SPEC = {"source": "a.gguf", "scale": 1.0, "apply": {"phases": ["generation"]}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ([], "a.json is not a SteeringSpec."),
        ({"vectors": [SPEC], "run": "me"}, "a.json is not a SteeringSpec."),
        ({"vectors": [SPEC, SPEC]}, "a.json holds 2 vectors."),
        ({"vectors": [{"data": {}, "apply": {}}]}, "the vector of a.json has the keys apply, data."),
        ({"vectors": [SPEC | {"algorithm": "erase"}]}, "a.json uses the algorithm 'erase'."),
        ({"vectors": [SPEC | {"scale": "2"}]}, "a.json is not a SteeringSpec that can be used: scale must be"),
        ({"vectors": [SPEC | {"layers": [1.5]}]}, "a.json is not a SteeringSpec that can be used: layers must be"),
        ({"vectors": [SPEC | {"normalize": 1}]}, "a.json is not a SteeringSpec that can be used: normalize must be"),
        ({"vectors": [SPEC | {"apply": {}}]}, "a.json is not a SteeringSpec that can be used: apply must name"),
        *(
            ({"vectors": [SPEC | {"source": source}]}, f"a.json names the vector file {source!r}.")
            for source in ("../a.gguf", "/etc/passwd", "deep/a.gguf", "..", "", "c:a.gguf", "x\\a.gguf", 3, None)
        ),
    ],
)
def test_other_steering_specs(tmp_path: Path, spec: Any, words: str):
    save_gguf(direction(torch.ones(1, 4), hookpoints=(Hookpoint(1),)), tmp_path / "a.gguf")
    (tmp_path / "a.json").write_text(json.dumps(spec))
    assert text_of(ArtefactError, lambda: load_easysteer(tmp_path / "a.json", SHAPE)).startswith(words)


def test_a_spec_for_a_layer_without_a_vector(tmp_path: Path):
    save_gguf(direction(torch.ones(1, 4), hookpoints=(Hookpoint(1),)), tmp_path / "a.gguf")
    (tmp_path / "a.json").write_text(json.dumps({"vectors": [SPEC | {"layers": [1, 2]}]}))
    text = text_of(AlignmentError, lambda: load_easysteer(tmp_path / "a.json", SHAPE))
    assert text.splitlines()[0] == "a.json steers at layer 2, where a.gguf has no vector."
