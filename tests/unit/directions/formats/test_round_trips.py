"""What is written comes back bit for bit, from any direction that a format can hold."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.directions.formats import (
    FOREIGN_FORMATS,
    ModelShape,
    load_assistant_axis,
    load_easysteer,
    load_foreign,
    load_gguf,
    load_persona_vectors,
    load_steering_vectors,
    save_assistant_axis,
    save_easysteer,
    save_foreign,
    save_gguf,
    save_persona_vectors,
    save_steering_vectors,
)
from persona_interp.errors import AlignmentError
from persona_interp.types import Hookpoint
from tests.small import direction, provenance
from tests.unit.directions.formats.conftest import NAME

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def tables(draw: st.DrawFn, extra: int = 0) -> Tensor:
    """Rows of any finite values, negative zeros and subnormal numbers among them, none of them all zero."""
    n_layers, width = draw(st.integers(2, 6)), draw(st.integers(1, 7))
    values = draw(arrays(np.float32, (n_layers + extra, width), elements=FLOATS))
    values[:, 0] = draw(arrays(np.float32, n_layers + extra, elements=st.floats(1, 2.0**100, width=32)))
    return torch.from_numpy(values)


@st.composite
def sparse(draw: st.DrawFn) -> tuple[Tensor, list[int]]:
    """Rows of all blocks, and some blocks in any order."""
    rows = draw(tables())
    return rows, draw(st.lists(st.integers(1, len(rows) - 1), min_size=1, unique=True))


def native(rows: Tensor, layers: list[int] | None = None, **changes: Any) -> Direction:
    layers = list(range(len(rows))) if layers is None else layers
    owner = provenance(n_layers=len(rows), d_model=rows.shape[1])
    places = tuple(map(Hookpoint, layers))
    return direction(rows[layers], hookpoints=places, provenance=owner, **changes)


def shape(direction: Direction) -> ModelShape:
    return ModelShape("tiny-a", direction.provenance.n_layers, direction.provenance.d_model, "aaaa")


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype == torch.float32 and torch.equal(a.view(torch.int32), b.view(torch.int32))


def in_folder(check: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder))


quick = settings(max_examples=30, deadline=None)


@quick
@given(tables(extra=1), st.sampled_from(["normed", "residual"]), st.booleans())
def test_persona_vectors_files_come_back_whole(rows: Tensor, last_row: Any, zero_first: bool):
    def check(folder: Path) -> None:
        if zero_first:
            rows[0] = 0
        torch.save(rows, folder / NAME)
        owner = ModelShape("tiny-a", len(rows) - 1, rows.shape[1])
        found = load_persona_vectors(folder / NAME, owner, last_row=last_row)
        first = [] if zero_first else [Hookpoint(0, "resid_pre")]
        outputs = [Hookpoint(i) for i in range(len(rows) - 1 - (last_row == "normed"))]
        assert found.hookpoints == (*first, *outputs)
        assert (found.trait, found.positive_pole, found.provenance.pooling) == ("loud", "loud", "response_mean")
        for block in outputs:
            assert same_bits(found.at(block), rows[block.layer + 1])
        found.save(folder / "native.safetensors")
        again = Direction.load(folder / "native.safetensors")
        save_persona_vectors(again, folder / "back.pt")
        assert same_bits(torch.load(folder / "back.pt", weights_only=True), rows)

    in_folder(check)


@quick
@given(tables())
def test_our_directions_in_persona_vectors_keep_all_but_the_last_block(rows: Tensor):
    def check(folder: Path) -> None:
        some = native(rows)
        save_persona_vectors(some, folder / NAME, incomplete=True)
        written = torch.load(folder / NAME, weights_only=True)
        assert written.shape == (len(rows) + 1, rows.shape[1])
        assert not written[0].any() and not written[-1].any()
        found = load_persona_vectors(folder / NAME, shape(some))
        assert found.hookpoints == some.hookpoints[:-1]
        assert same_bits(found.vectors, rows[:-1])
        save_persona_vectors(some, folder / NAME, incomplete=True, last_row="residual")
        found = load_persona_vectors(folder / NAME, shape(some), last_row="residual")
        assert found.hookpoints == some.hookpoints
        assert same_bits(found.vectors, rows)

    in_folder(check)


@quick
@given(tables(), st.sampled_from(["axis", "bare", "role"]))
def test_assistant_axis(rows: Tensor, layout: Any):
    def check(folder: Path) -> None:
        pole = "pirate" if layout == "role" else "assistant"
        some = native(rows, trait=pole, positive_pole=pole)
        save_assistant_axis(some, folder / "a.pt", layout=layout)
        found = load_assistant_axis(folder / "a.pt", shape(some))
        assert (found.hookpoints, found.trait, found.positive_pole) == (some.hookpoints, pole, pole)
        assert same_bits(found.vectors, rows)
        save_assistant_axis(found, folder / "b.pt")  # in the layout that it came in
        a, b = (torch.load(folder / name, weights_only=True) for name in ("a.pt", "b.pt"))
        assert type(a) is type(b)
        if isinstance(a, dict):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[k], b[k]) if isinstance(a[k], Tensor) else a[k] == b[k] for k in a)

    in_folder(check)


@quick
@given(sparse(), st.sampled_from(["block_output", "hidden_state"]))
def test_gguf(drawn: tuple[Tensor, list[int]], convention: Any):
    some = native(*drawn)

    def check(folder: Path) -> None:
        save_gguf(some, folder / "a.gguf", convention=convention)
        found = load_gguf(folder / "a.gguf", shape(some))
        order = sorted(h.layer for h in some.hookpoints)
        if convention == "hidden_state" and order[-1] == some.provenance.n_layers - 1:
            order = order[:-1]  # number n_layers, which may have been read after the final norm: set aside
        assert found.hookpoints == tuple(map(Hookpoint, order))
        assert all(same_bits(found.at(layer), some.at(layer)) for layer in order)
        save_gguf(found, folder / "b.gguf", convention=convention)
        again = load_gguf(folder / "b.gguf", shape(some))
        assert same_bits(again.vectors, found.vectors)
        assert numbers(folder / "a.gguf") == numbers(folder / "b.gguf")

    def numbers(path: Path) -> dict[str, bytes]:
        return {tensor.name: tensor.data.tobytes() for tensor in GGUFReader(path).tensors}

    if convention == "block_output" or len(some.hookpoints) > 1:
        in_folder(check)


@quick
@given(sparse())
def test_steering_vectors(drawn: tuple[Tensor, list[int]]):
    some = native(*drawn)

    def check(folder: Path) -> None:
        save_steering_vectors(some, folder / "a.pt")
        content = torch.load(folder / "a.pt", weights_only=True)
        assert list(content) == [h.layer for h in some.hookpoints]
        torch.save({"layer_activations": content, "layer_type": "decoder_block"}, folder / "fields.pt")
        for name in ("a.pt", "fields.pt"):
            found = load_steering_vectors(folder / name, shape(some), trait="loud")
            assert (found.hookpoints, found.trait) == (some.hookpoints, "loud")
            assert same_bits(found.vectors, some.vectors)

    in_folder(check)


@quick
@given(sparse(), st.floats(-4, 4), st.booleans())
def test_easysteer(drawn: tuple[Tensor, list[int]], scale: float, named: bool):
    some = native(*drawn)

    def check(folder: Path) -> None:
        layers = [some.hookpoints[0].layer] if named else None
        save_easysteer(some, folder / "a.json", scale=scale, layers=layers, phases=("generation",))
        spec = json.loads((folder / "a.json").read_text())
        assert spec["vectors"][0]["source"] == "a.gguf"
        assert spec["vectors"][0]["apply"] == {"phases": ["generation"]}
        assert (spec["vectors"][0]["scale"], spec["vectors"][0]["layers"]) == (scale, layers)
        found = load_easysteer(folder / "a.json", shape(some))
        order = sorted(h.layer for h in some.hookpoints)
        assert found.hookpoints == tuple(map(Hookpoint, order))
        assert all(same_bits(found.at(layer), some.at(layer)) for layer in order)  # the scale is not in the vectors
        save_easysteer(found, folder / "b.json")
        again = json.loads((folder / "b.json").read_text())
        again["vectors"][0]["source"] = "a.gguf"
        assert again == spec

    in_folder(check)


def test_a_gguf_says_what_llama_cpp_and_repeng_ask_for(tmp_path: Path):
    save_gguf(native(torch.randn(4, 8)), tmp_path / "a.gguf", drop_layer_0=True, model_hint="llama")
    reader = GGUFReader(tmp_path / "a.gguf")
    said = {key: field.contents() for key, field in reader.fields.items()}
    assert said["general.architecture"] == "controlvector"
    assert said["controlvector.model_hint"] == "llama"
    assert said["controlvector.layer_count"] == 3
    assert reader.fields["controlvector.layer_count"].types[0].name == "UINT32"
    assert [(t.name, t.tensor_type.name, list(t.shape)) for t in reader.tensors] == [
        (f"direction.{n}", "F32", [8]) for n in (1, 2, 3)
    ]


def test_the_poles_of_a_gguf_survive(tmp_path: Path):
    save_gguf(-native(torch.randn(3, 4), [1, 2]), tmp_path / "a.gguf")
    found = load_gguf(tmp_path / "a.gguf", ModelShape("tiny-a", 3, 4))
    assert (found.trait, found.positive_pole) == ("loud", "not loud")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("format_name", ["persona-vectors", "assistant-axis", "steering-vectors"])
def test_half_precision_is_widened_and_said(tmp_path: Path, dtype: torch.dtype, format_name: Any):
    rows = torch.randn(4, 5).to(dtype)
    content = {"persona-vectors": rows, "assistant-axis": rows[:3], "steering-vectors": dict(enumerate(rows[:3]))}
    torch.save(content[format_name], tmp_path / "a.pt")
    found = load_foreign(tmp_path / "a.pt", format_name, ModelShape("tiny-a", 3, 5), trait="loud")
    assert found.vectors.dtype == torch.float32
    assert torch.equal(found.at(1), rows[2 if format_name == "persona-vectors" else 1].float())
    assert found.provenance.details["source_dtype"] == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("format_name", FOREIGN_FORMATS)
def test_the_two_doors_lead_to_every_format(tmp_path: Path, format_name: Any):
    some = native(torch.randn(3, 4), trait="assistant", positive_pole="assistant")
    path = tmp_path / ("a.json" if format_name == "easysteer" else "a.bin")
    save_foreign(some, path, format_name, drop_layer_0=True, incomplete=True)
    found = load_foreign(path, format_name, shape(some), trait="assistant")
    assert found.method == found.provenance.method == f"imported: {format_name}"
    assert found.provenance.weights == "aaaa"
    assert found.residual_norms is None
    assert len(found.provenance.details["source_sha256"]) == 64
    assert same_bits(found.at(1), some.at(1))


def test_a_changed_direction_cannot_take_its_last_row_along(tmp_path: Path):
    torch.save(torch.randn(4, 5), tmp_path / NAME)
    found = load_persona_vectors(tmp_path / NAME, ModelShape("tiny-a", 3, 5))
    doubled = replace(found, vectors=2 * found.vectors)
    with pytest.raises(AlignmentError) as caught:
        save_persona_vectors(doubled, tmp_path / "b.pt")
    assert str(caught.value).startswith(
        "the vectors of loud were changed after they came from their file, and its last row was not.\n"
    )
    save_persona_vectors(doubled, tmp_path / "b.pt", incomplete=True)
    written = torch.load(tmp_path / "b.pt", weights_only=True)
    assert torch.equal(written[:-1], doubled.vectors)
    assert not written[-1].any()
