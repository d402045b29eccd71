"""What is saved comes back, what was altered is refused, and names stay in their folder."""

import hashlib
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persona_interp import io
from persona_interp.errors import ArtefactError, DataError
from persona_interp.io import path_part

KIND = "direction"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "evil.safetensors"
    io.save_tensors(path, {"vectors": torch.arange(6.0).reshape(2, 3)}, kind=KIND, manifest={"trait": "evil"})
    return path


def test_tensors_and_manifest_come_back(saved: Path):
    tensors, manifest = io.load_tensors(saved, kind=KIND)
    assert list(tensors) == ["vectors"]
    assert torch.equal(tensors["vectors"], torch.arange(6.0).reshape(2, 3))
    assert (manifest["kind"], manifest["trait"], manifest["manifest_version"]) == (KIND, "evil", io.MANIFEST_VERSION)
    assert names_in(saved.parent) == ["evil.json", "evil.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_every_bit_of_every_dtype_survives(tmp_path: Path, dtype: torch.dtype):
    tensor = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    io.save_tensors(tmp_path / "a.safetensors", {"a": tensor}, kind=KIND, manifest={})
    loaded = io.load_tensors(tmp_path / "a.safetensors", kind=KIND)[0]["a"]
    assert loaded.dtype == dtype
    assert torch.equal(loaded, tensor)


def test_views_and_tensors_with_gradients_can_be_saved(tmp_path: Path):
    tensor = torch.randn(4, 3, requires_grad=True)
    io.save_tensors(tmp_path / "a.safetensors", {"a": tensor.T, "b": tensor[::2]}, kind=KIND, manifest={})
    loaded, _ = io.load_tensors(tmp_path / "a.safetensors", kind=KIND)
    assert torch.equal(loaded["a"], tensor.detach().T)
    assert torch.equal(loaded["b"], tensor.detach()[::2])
    assert not loaded["a"].requires_grad


def test_equal_content_is_equal_bytes(tmp_path: Path):
    io.write_json(tmp_path / "a.json", {"b": 1, "a": [2, "é"]})
    io.write_json(tmp_path / "b.json", {"a": [2, "é"], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(data=json_values)
def test_any_json_comes_back(tmp_path: Path, data):
    io.write_json(tmp_path / "data.json", data)
    assert io.read_json(tmp_path / "data.json") == data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_any_altered_byte_is_noticed(saved: Path, position: int, flip: int):
    before = saved.read_bytes()
    altered = bytearray(before)
    altered[position % len(altered)] ^= flip
    saved.write_bytes(altered)
    with pytest.raises(ArtefactError, match="does not match its manifest"):
        io.load_tensors(saved, kind=KIND)
    saved.write_bytes(before)


def test_the_error_for_altered_bytes_has_both_hashes(saved: Path):
    expected = hashlib.sha256(saved.read_bytes()).hexdigest()
    saved.write_bytes(saved.read_bytes() + b"x")
    got = hashlib.sha256(saved.read_bytes()).hexdigest()
    with pytest.raises(ArtefactError) as error:
        io.load_tensors(saved, kind=KIND)
    assert str(error.value) == (
        f"{saved} does not match its manifest: expected SHA-256 {expected[:12]}…, got {got[:12]}….\n"
        "  The file or its manifest was truncated or altered after saving."
        " Restore both the file and its manifest, or delete both and make them again."
    )


@pytest.mark.parametrize("kept", [0, 1, 8, 60])
def test_a_truncated_file_is_refused(saved: Path, kept: int):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ArtefactError, match="does not match its manifest"):
        io.load_tensors(saved, kind=KIND)


@pytest.mark.parametrize("data", [b"", b"{", b'{"kind": "direc', b'{"kind": "\xff"}'])
def test_a_truncated_manifest_is_refused(saved: Path, data: bytes):
    manifest = saved.with_suffix(".json")
    manifest.write_bytes(data)
    with pytest.raises(ArtefactError) as error:
        io.load_tensors(saved, kind=KIND)
    assert f"{manifest} is not valid JSON" in str(error.value)
    assert "Restore both the file and its manifest" in str(error.value)


@pytest.mark.parametrize("missing", ["evil.safetensors", "evil.json"])
def test_a_missing_half_is_named_with_what_is_there(saved: Path, missing: str):
    (saved.parent / missing).unlink()
    (other,) = names_in(saved.parent)
    with pytest.raises(ArtefactError) as error:
        io.load_tensors(saved, kind=KIND)
    assert str(error.value) == f"{saved.parent / missing} does not exist.\n  In {saved.parent}: {other}."


def test_a_missing_folder_is_said_to_hold_nothing(tmp_path: Path):
    path = tmp_path / "nowhere" / "evil.safetensors"
    with pytest.raises(ArtefactError) as error:
        io.read_bytes(path)
    assert str(error.value) == f"{path} does not exist.\n  In {path.parent}: nothing."


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path):
    with pytest.raises(ArtefactError, match="is a folder"):
        io.read_bytes(tmp_path)


def test_another_kind_is_refused(saved: Path):
    with pytest.raises(ArtefactError) as error:
        io.load_tensors(saved, kind="activations")
    assert str(error.value) == f"{saved.with_suffix('.json')} describes 'direction'.\n  Expected 'activations'."


def test_a_manifest_that_is_not_an_object_is_refused(saved: Path):
    saved.with_suffix(".json").write_text("[1, 2]")
    with pytest.raises(ArtefactError, match="holds a list"):
        io.load_tensors(saved, kind=KIND)


BROKEN = {
    "nested too deep": b"[" * 100_000 + b"]" * 100_000,
    "Exceeds the limit": b"1" * 10_000,
    "can't decode byte": b'{"a": "\xff"}',
    "Expecting value": b"",
}


@pytest.mark.parametrize("reason", BROKEN)
def test_json_that_cannot_be_read_is_named(reason: str, tmp_path: Path):
    path = tmp_path / "result.json"
    path.write_bytes(BROKEN[reason])
    with pytest.raises(ArtefactError, match=reason) as error:
        io.read_json(path)
    assert str(error.value).startswith(f"{path} is not valid JSON: ")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ([1], "{path} holds a list.\n  Expected an object.\n  Delete it."),
        (3, "{path} holds a whole number, 3.\n  Expected an object.\n  Delete it."),
        ({}, "{path} has no n.\n  Expected a whole number; it has nothing.\n  Delete it."),
        ({"n": True, "x": 1}, "{path}: n is true or false, True.\n  Expected a whole number.\n  Delete it."),
        ({"n": "2", "x": 1}, "{path}: n is a text, '2'.\n  Expected a whole number.\n  Delete it."),
        ({"n": 2, "x": []}, "{path}: x is a list.\n  Expected a number or null.\n  Delete it."),
        ({"n": 2, "x": 1, "o": 1}, "{path}: o is a whole number, 1.\n  Expected a text.\n  Delete it."),
    ],
)
def test_a_record_of_another_kind_is_named(there: object, said: str, tmp_path: Path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(there))
    with pytest.raises(ArtefactError) as error:
        io.read_record(path, {"n": int, "x": (float, type(None))}, optional={"o": str}, remedy="Delete it.")
    assert str(error.value) == said.format(path=path)


@pytest.mark.parametrize("there", [{"n": 2, "x": 1}, {"n": 2, "x": None, "o": "a"}, {"n": 0, "x": 0.5, "more": []}])
def test_a_record_comes_back(there: dict[str, object], tmp_path: Path):
    io.write_json(tmp_path / "result.json", there)
    assert io.read_record(tmp_path / "result.json", {"n": int, "x": (float, type(None))}, optional={"o": str}) == there


def test_a_manifest_without_a_hash_is_refused(saved: Path):
    saved.with_suffix(".json").write_text(json.dumps({"kind": KIND}))
    with pytest.raises(ArtefactError, match=r"evil\.json has no sha256"):
        io.load_tensors(saved, kind=KIND)


def test_a_file_with_the_right_hash_that_is_not_safetensors_is_refused(saved: Path):
    header = b'{"vectors": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
    data = struct.pack("<Q", len(header)) + header
    saved.write_bytes(data)
    io.write_json(saved.with_suffix(".json"), {"kind": KIND, "sha256": io.sha256_bytes(data)})
    with pytest.raises(ArtefactError, match="is not a whole safetensors file"):
        io.load_tensors(saved, kind=KIND)


def test_hashes_agree_with_each_other_and_with_the_standard(tmp_path: Path):
    data = b"abc" * 100_000
    (tmp_path / "a.bin").write_bytes(data)
    assert io.sha256_file(tmp_path / "a.bin") == io.sha256_bytes(data) == hashlib.sha256(data).hexdigest()


def test_the_hash_of_json_ignores_the_order_of_keys_only():
    assert io.sha256_json({"a": 1, "b": 2}) == io.sha256_json({"b": 2, "a": 1})
    assert io.sha256_json([1, 2]) != io.sha256_json([2, 1])


@given(st.text(max_size=200))
def test_a_name_that_is_let_through_stays_in_its_folder(name):
    try:
        part = path_part(name, "trait")
    except DataError as error:
        assert "cannot be the name of a trait" in str(error)
        return
    folder = Path("/some/folder")
    assert (folder / f"{part}.csv").parent == folder
    assert Path(os.path.normpath(folder / part)).parent == folder


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "../../x",
        "/x",
        "a/b",
        "a\\b",
        "c:x",
        ".hidden",
        "-o",
        "a\n",
        "x" * 81,
        "é" * 41,
        "nul",
        "CON.csv",
        "x.",
        "a\u0085",
        "a\u202e",
    ],
)
def test_names_that_leave_a_folder_are_refused(name):
    with pytest.raises(DataError, match="cannot be the name of a style"):
        path_part(name, "style")


@pytest.mark.parametrize("name", ["ext_z", "Neuroticism", "très poli", "a b", "x.y", "x" * 80])
def test_ordinary_names_are_let_through(name):
    assert path_part(name, "style") == name
