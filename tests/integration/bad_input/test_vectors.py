"""A vector that is not of the model, or whose file is damaged or hostile."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from persona_interp import io
from persona_interp.directions.direction import Direction
from persona_interp.types import Hookpoint, Provenance
from tests.integration.bad_input.conftest import Uses, alter_manifest


def test_a_stream_that_does_not_exist_is_refused(refused: Callable[..., str], using: Uses, damaged: Path) -> None:
    alter_manifest(damaged, hookpoints=[{"layer": i, "stream": "resid_mid"} for i in range(3)])
    error = refused(*using(damaged))
    assert error.startswith(f"ArtefactError: {damaged}")
    assert "stream must be resid_pre, attn_out, mlp_out or resid_post, got 'resid_mid'" in error


def test_a_vector_of_another_model_is_refused_with_both_names(
    refused: Callable[..., str], using: Uses, vector: Path, model_folder: Path, other_model_folder: Path
) -> None:
    error = refused(*using(vector, model=other_model_folder))
    assert error.startswith("IncompatibleDirectionError: the direction cheerful (persona_vector) belongs to ")
    assert f"{model_folder} (3 layers, d_model 32, weights " in error
    assert f"not to {other_model_folder} (3 layers, d_model 32, weights " in error
    assert "Extract it again with this model" in error


def test_a_vector_of_another_width_is_refused(
    refused: Callable[..., str], using: Uses, vector: Path, model_folder: Path, tmp_path: Path
) -> None:
    own = Direction.load(vector)
    narrow = replace(own, vectors=own.vectors[:, :16])
    narrow.save(tmp_path / "narrow.safetensors")
    error = refused(*using(tmp_path / "narrow.safetensors"))
    assert "narrow.safetensors cannot be a direction of " in error and ": its width must be 32, got 16." in error
    assert "The file or its manifest was altered" in error
    foreign = Provenance("small", "0123456789abcdef", "transformer_lens", "float32", 2, 16, "persona_vector", 1)
    hookpoints = (Hookpoint(0), Hookpoint(1))
    Direction(own.vectors[:2, :16], hookpoints, "evil", "persona_vector", "evil", foreign).save(
        tmp_path / "b.safetensors"
    )
    error = refused(*using(tmp_path / "b.safetensors"))
    assert "belongs to small (2 layers, d_model 16, weights 0123456789abcdef)" in error
    assert f"not to {model_folder} (3 layers, d_model 32" in error


def test_a_truncated_or_altered_vector_is_refused(refused: Callable[..., str], using: Uses, damaged: Path) -> None:
    whole = damaged.read_bytes()
    for data in (whole[:-1], whole[:40], b"", whole[:-3] + b"\0\0\1"):
        damaged.write_bytes(data)
        error = refused(*using(damaged))
        assert error.startswith(f"ArtefactError: {damaged} does not match its manifest: expected SHA-256 ")
        assert (
            ", got " in error and "Restore both the file and its manifest, or delete both and make them again." in error
        )
    damaged.unlink()
    assert refused(*using(damaged)).startswith(f"ArtefactError: {damaged} does not exist.\n  In {damaged.parent}: ")


def test_a_truncated_or_altered_manifest_is_refused(refused: Callable[..., str], using: Uses, damaged: Path) -> None:
    manifest = damaged.with_suffix(".json")
    whole = manifest.read_text()
    manifest.write_text(whole[: len(whole) // 2])
    assert refused(*using(damaged)).startswith(f"ArtefactError: {manifest} is not valid JSON: ")
    for changes, words in (
        ({"kind": "activations"}, f"{manifest} describes 'activations'.\n  Expected 'direction'."),
        ({"sha256": "0" * 64}, f"{damaged} does not match its manifest: expected SHA-256 "),
        ({"hookpoints": None}, f"{damaged} with {manifest} does not describe a direction: 'hookpoints'."),
        ({"hookpoints": [3]}, f"{damaged} with {manifest} does not describe a direction: "),
        ({"provenance": {}}, f"{damaged} with {manifest} does not describe a direction: "),
        ({"provenance": None}, f"{damaged} with {manifest} does not describe a direction: 'provenance'."),
    ):
        manifest.write_text(whole)
        alter_manifest(damaged, **changes)
        assert refused(*using(damaged)).startswith(f"ArtefactError: {words}")
    manifest.unlink()
    assert refused(*using(damaged)).startswith(f"ArtefactError: {manifest} does not exist.")


def test_values_that_are_not_finite_are_refused(refused: Callable[..., str], using: Uses, damaged: Path) -> None:
    save_file({"vectors": torch.full((3, 32), torch.nan)}, damaged)
    alter_manifest(damaged, sha256=io.sha256_file(damaged))
    error = refused(*using(damaged))
    assert error == ("AlignmentError: the direction cheerful has values that are not finite, at resid_post at layer 0.")


class _Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pkl"])
def test_a_pickle_is_never_opened(refused: Callable[..., str], using: Uses, damaged: Path, suffix: str) -> None:
    trapped, path = damaged.with_name("unpickled"), damaged.with_suffix(suffix)
    path.write_bytes(pickle.dumps(_Trap(trapped)))
    alter_manifest(damaged, sha256=io.sha256_file(path))
    error = refused(*using(path))
    assert error.startswith(f"ArtefactError: {path} was not opened: a {suffix} file is a pickle, which can run code")
    assert "Expected the .safetensors file of a direction" in error
    assert not trapped.exists()


def test_a_pickle_under_another_name_is_not_opened_either(
    refused: Callable[..., str], using: Uses, damaged: Path
) -> None:
    trapped = damaged.with_name("unpickled")
    damaged.write_bytes(pickle.dumps(_Trap(trapped)))
    alter_manifest(damaged, sha256=io.sha256_file(damaged))
    assert refused(*using(damaged)).startswith(f"ArtefactError: {damaged} is not a whole safetensors file: ")
    assert not trapped.exists()
