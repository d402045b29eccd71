"""A folder that cannot be written and a disk that is full: nothing half-made stays behind."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_interp.directions.direction import Direction
from persona_interp.errors import ArtefactError
from persona_interp.models import conversion
from tests.integration.bad_input.conftest import extract


def test_a_folder_that_cannot_be_written_is_named(
    refused: Callable[..., str], model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    error = refused(*extract(trait_files[0], tmp_path / "taken", model_folder))
    assert error.startswith("ArtefactError: could not write ")
    assert str(tmp_path / "taken") in error


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more can be flushed to disk."""

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_no_vector_behind(vector: Path, tmp_path: Path) -> None:
    direction = Direction.load(vector)
    with pytest.raises(ArtefactError) as caught:
        direction.save(tmp_path / "v.safetensors")
    assert str(caught.value).startswith(f"could not write {tmp_path / 'v.safetensors'} (")
    assert "No space left on device.\n  Nothing was written there.\n  Free space" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def pretend_conversion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A GGUF file whose conversion takes no time; returns its path."""
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))

    def write(_: Path, folder: Path, __: str) -> dict[str, str]:
        (folder / "config.json").write_text("{}")
        return {}

    monkeypatch.setattr(conversion, "_write_plain", write)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF and so on")
    return path


@pytest.mark.usefixtures("full_disk")
def test_a_disk_full_at_the_end_of_a_conversion_leaves_nothing(pretend_conversion: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="could not write .*conversion.json .*: No space left on device"):
        conversion.gguf_folder(pretend_conversion)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_disk_full_while_a_gguf_file_is_copied_leaves_nothing_and_the_next_load_converts(
    pretend_conversion: Path, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "symlink_to", full)  # as on a file system without links, where the file is copied
        patched.setattr(shutil, "copyfileobj", full)
        with pytest.raises(ArtefactError, match="could not write .*: No space left on device") as caught:
            conversion.gguf_folder(pretend_conversion)
    assert "Nothing was kept. Free space, or set PERSONA_INTERP_CACHE to another folder." in str(caught.value)
    assert list((tmp_path / "cache" / "models").iterdir()) == []
    folder = conversion.gguf_folder(pretend_conversion)
    assert conversion.gguf_folder(pretend_conversion) == folder
    (folder / "config.json").write_text('{"altered": true}')
    with pytest.raises(ArtefactError, match="was altered after conversion.\n  Delete the folder"):
        conversion.gguf_folder(pretend_conversion)
