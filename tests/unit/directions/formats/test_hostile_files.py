"""Damaged and hostile files: none runs code, none takes the memory, none is half read."""

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.directions.formats import (
    FOREIGN_FORMATS,
    load_assistant_axis,
    load_foreign,
    load_gguf,
    load_persona_vectors,
    save_foreign,
)
from persona_interp.errors import AlignmentError, ArtefactError, PersonaInterpError
from tests.small import direction
from tests.unit.directions.formats.conftest import NAME, SHAPE, text_of


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("format_name", ["persona-vectors", "assistant-axis", "steering-vectors"])
@pytest.mark.parametrize("how", ["plain pickle", "torch.save", "beside a tensor"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, format_name: Any, how: str):
    fired, path = tmp_path / "fired", tmp_path / NAME
    if how == "plain pickle":
        path.write_bytes(pickle.dumps(Bomb(fired)))
    elif how == "torch.save":
        torch.save(Bomb(fired), path)
    else:
        torch.save({"axis": torch.ones(3, 4), "metadata": Bomb(fired)}, path)
    text = text_of(ArtefactError, lambda: load_foreign(path, format_name, SHAPE, trait="loud"))
    assert text.splitlines()[0] == (
        f"{NAME} was not loaded: it is damaged, or holds more than tensors and plain containers."
    )
    assert not fired.exists()
    if how == "plain pickle":  # the test can fail: the file does what it says where it is trusted
        pickle.loads(path.read_bytes())
        assert fired.exists()


@pytest.mark.parametrize("format_name", FOREIGN_FORMATS)
def test_truncated_and_scrambled_files(tmp_path: Path, format_name: Any):
    some = direction(torch.randn(3, 4), trait="assistant", positive_pole="assistant")
    path = tmp_path / ("a.json" if format_name == "easysteer" else "a.bin")
    save_foreign(some, path, format_name, drop_layer_0=True, incomplete=True)
    data = path if format_name != "easysteer" else path.with_suffix(".gguf")
    whole = data.read_bytes()
    for length in [0, 1, 3, 4, 8, 24, *range(30, len(whole) - 40, max(1, len(whole) // 40))]:
        data.write_bytes(whole[:length])
        with pytest.raises(ArtefactError):
            load_foreign(path, format_name, SHAPE, trait="loud")
    for place in range(0, len(whole), max(1, len(whole) // 60)):  # whatever it then holds: an error of ours, or vectors
        data.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found = load_foreign(path, format_name, SHAPE, trait="loud")
        except PersonaInterpError:
            continue
        assert found.vectors.isfinite().all()
    data.unlink()
    with pytest.raises(ArtefactError, match="does not exist"):
        load_foreign(path, format_name, SHAPE, trait="loud")


def test_a_gguf_of_arrays_within_arrays_is_no_endless_descent(tmp_path: Path):
    key, array = b"general.x", 9
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key + struct.pack("<I", array)
    path = tmp_path / "deep.gguf"
    path.write_bytes(head + struct.pack("<IQ", array, 1) * 5000)
    with pytest.raises(ArtefactError, match="deep.gguf is not a whole GGUF file"):
        load_gguf(path, SHAPE, trait="loud", convention="block_output")


def test_a_small_file_cannot_ask_for_all_the_memory(saved: Callable[..., Path]):
    path = saved(torch.zeros(1).expand(2**40, 4))  # 16 TiB if it were copied; 1.5 kB on disk
    assert path.stat().st_size < 5_000
    for load in (load_persona_vectors, load_assistant_axis):
        with pytest.raises(AlignmentError, match=f"has {2**40} rows"):
            load(path, SHAPE)
