"""Writes are whole or not at all, and say what to do where they fail."""

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from persona_interp import io
from persona_interp.errors import ArtefactError

KIND = "direction"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "evil.safetensors"
    io.save_tensors(path, {"vectors": torch.arange(6.0).reshape(2, 3)}, kind=KIND, manifest={"trait": "evil"})
    return path


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path):
    path = tmp_path / "new.bin"
    with pytest.raises(ArtefactError) as error:
        io.atomic_write_bytes(path, bytes(1234))
    assert str(error.value) == (
        f"could not write {path} (1,234 bytes): No space left on device.\n"
        "  Nothing was written there.\n"
        "  Free space, or choose another folder. Then run the same command again: it goes on where it stopped."
    )
    assert isinstance(error.value.__cause__, OSError)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "Free space, or choose another folder."),
        (errno.EDQUOT, "Free space of your quota, or choose another folder."),
        (errno.EACCES, "Change the permissions of the folder, or choose another folder."),
        (errno.EROFS, "Mount the file system so that it can be written to, or choose another folder."),
        (errno.EISDIR, "Move the folder of that name away, or choose another folder."),
        (errno.ENAMETOOLONG, "Give a shorter name or path, or choose another folder."),
        (errno.EIO, "Choose another folder."),
    ],
)
def test_what_to_do_follows_from_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str):
    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ArtefactError) as error:
        io.atomic_write_bytes(tmp_path / "new.bin", b"1")
    assert str(error.value).splitlines()[2].strip().startswith(advice)


def test_a_folder_in_the_way_and_a_name_too_long_are_named(tmp_path: Path):
    (tmp_path / "taken").mkdir()
    for path, advice in ((tmp_path / "taken", "Move the folder"), (tmp_path / ("a" * 300), "Give a shorter name")):
        with pytest.raises(ArtefactError, match=f"could not write .*\n.*\n  {advice}"):
            io.atomic_write_bytes(path, b"1")
    assert names_in(tmp_path) == ["taken"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        with pytest.raises(ArtefactError, match=f"could not write .*{name}: it is a pipe, which would be replaced"):
            io.atomic_write_bytes(tmp_path / name, b"1")
    assert names_in(tmp_path) == ["link", "pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_full_disk_keeps_the_old_files(saved: Path, request: pytest.FixtureRequest):
    request.getfixturevalue("full_disk")
    with pytest.raises(ArtefactError):
        io.save_tensors(saved, {"vectors": torch.zeros(2, 3)}, kind=KIND, manifest={})
    assert torch.equal(io.load_tensors(saved, kind=KIND)[0]["vectors"], torch.arange(6.0).reshape(2, 3))
    assert names_in(saved.parent) == ["evil.json", "evil.safetensors"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fsync(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        io.atomic_write_bytes(tmp_path / "new.bin", b"data")
    assert names_in(tmp_path) == []


def test_a_save_that_stops_before_its_manifest_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "evil.safetensors"

    def write_json(_path: Path, _data: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(io, "write_json", write_json)
    with pytest.raises(KeyboardInterrupt):
        io.save_tensors(path, {"vectors": torch.zeros(1)}, kind=KIND, manifest={})
    assert path.exists()
    with pytest.raises(ArtefactError, match="evil.json does not exist"):
        io.load_tensors(path, kind=KIND)


def test_the_bytes_are_on_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, seen = tmp_path / "new.bin", []

    def fsync(descriptor: int) -> None:
        seen.append((path.exists(), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    io.atomic_write_bytes(path, b"12345")
    assert seen == [(False, 5)]
    assert path.read_bytes() == b"12345"


def test_a_write_makes_its_folders_and_a_readable_file(tmp_path: Path):
    path = tmp_path / "a" / "b" / "c.bin"
    io.atomic_write_bytes(path, b"data")
    assert path.read_bytes() == b"data"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names_in(path.parent) == ["c.bin"]
