"""Headers of GGUF files: every claim is compared with the bytes that are there."""

import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from persona_interp.errors import ArtefactError
from persona_interp.gguf_header import check_gguf


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def array(item: int, n: int, content: bytes = b"") -> bytes:
    return struct.pack("<IQ", item, n) + content


def tensor(name: str, axes: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, kind, offset)


def header(*, keys: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), version: int = 3, **counts: int) -> bytes:
    n_tensors, n_keys = counts.get("n_tensors", len(tensors)), counts.get("n_keys", len(keys))
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys) + b"".join((*keys, *tensors))


def with_values(head: bytes, n_bytes: int = 16) -> bytes:
    return head + bytes(-len(head) % 32 + n_bytes)


GOOD = with_values(
    header(
        keys=(
            key("general.architecture", 8, text("llama")),
            key("tokens", 9, array(8, 2, text("a") + text("b"))),
            key("scores", 9, array(6, 3, bytes(12))),
        ),
        tensors=(tensor("direction.1"),),
    )
)
HOSTILE = {
    b"": "it has 0 bytes",
    b"PK\3\4" + bytes(40): r"begins with b'PK\\x03\\x04', not with b'GGUF'",
    header(version=1): "its version is 1, expected 2 or 3",
    header(version=99) + bytes(99): "its version is 99",
    header(n_keys=2**63): "9,223,372,036,854,775,808 keys cannot be in a file of 24 bytes",
    header(n_tensors=2**40): "1,099,511,627,776 tensors cannot be",
    header(keys=(key("a", 9, array(0, 2**40)),)): "the array 'a' must have 1,099,511,627,776 entries",
    header(keys=(key("a", 9, array(8, 2**64 - 1)),)): "the array 'a' must have 18,446,744,073,709,551,615 entries",
    header(keys=(key("a", 9, array(9, 1)),)): "the array 'a' holds values of the kind 9",
    header(keys=(key("a", 77, b""),)) + bytes(9): "'a' is of the kind 77",
    header(keys=(key("a", 8, struct.pack("<Q", 2**50)),)): "'a' must have 1,125,899,906,842,624 bytes, and 0 are left",
    header(keys=(struct.pack("<Q", 2**63) + bytes(9),)): "a key must have 9,223,372,036,854,775,808 bytes",
    header(keys=(struct.pack("<Q", 2) + b"\xff\xfe" + bytes(9),)): "a key is no text in UTF-8",
    header(keys=(key("a", 0, b"1"), key("a", 0, b"1"))): "it has the key 'a' twice",
    header(keys=(key("general.alignment", 4, struct.pack("<I", 3)),)): "its alignment is 3, expected a power of two",
    header(keys=(key("general.alignment", 8, text("32")),)): "general.alignment is no whole number",
    with_values(header(tensors=(tensor("a"), tensor("a")))): "it has the tensor 'a' twice",
    with_values(header(tensors=(tensor(""),))): "a tensor has no name",
    with_values(header(tensors=(tensor("a", axes=(2**40,)),))): "'a' must end at byte 4,398,046,511,",
    with_values(header(tensors=(tensor("a", axes=(2**63, 2**63)),))): "which is behind the end",
    with_values(header(tensors=(tensor("a", offset=2**62),))): "which is behind the end",
    with_values(header(tensors=(tensor("a", offset=7),))): "begins at 7, not at a multiple of 32",
    with_values(header(tensors=(tensor("a", kind=999),))): "'a' is of the type 999, which is not known",
    with_values(header(tensors=(tensor("a", axes=(5,), kind=8),))): "rows of 5 numbers, expected a multiple of 32",
    header(tensors=(text("a") + struct.pack("<I", 2**31) + bytes(60),)): "has 2,147,483,648 axes, expected 1 to 4",
}


def test_a_whole_file(tmp_path: Path):
    path = tmp_path / "a.gguf"
    path.write_bytes(GOOD)
    check_gguf(path)
    with pytest.raises(ArtefactError, match="the array 'scores' must have 3 entries"):
        check_gguf(path, most_entries=4)


@pytest.mark.parametrize("big_endian", [False, True])
def test_what_the_gguf_package_writes(tmp_path: Path, big_endian: bool):
    from gguf import GGUFEndian, GGUFWriter

    path = tmp_path / "a.gguf"
    writer = GGUFWriter(path, "llama", endianess=GGUFEndian.BIG if big_endian else GGUFEndian.LITTLE)
    writer.add_array("tokens", ["a", "b"])
    writer.add_tensor("weight", np.ones((2, 32), dtype=np.float32))
    writer.add_tensor("other", np.ones((3,), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    check_gguf(path)


@pytest.mark.parametrize("data", HOSTILE, ids=list(HOSTILE.values()))
def test_claims_that_the_file_does_not_hold(tmp_path: Path, data: bytes):
    path = tmp_path / "a.gguf"
    path.write_bytes(data)
    before = time.monotonic()
    with pytest.raises(ArtefactError, match=rf"a\.gguf is not a whole GGUF file: .*{HOSTILE[data]}"):
        check_gguf(path)
    assert time.monotonic() - before < 1


def test_every_cut_of_a_whole_file(tmp_path: Path):
    path = tmp_path / "a.gguf"
    for length in range(len(GOOD)):
        path.write_bytes(GOOD[:length])
        with pytest.raises(ArtefactError, match="is not a whole GGUF file"):
            check_gguf(path)


def test_what_is_no_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.gguf")
    for path, said in {
        tmp_path / "none.gguf": "does not exist",
        tmp_path: "is a folder",
        tmp_path / "pipe.gguf": "is a pipe",
        Path("/dev/zero"): "is a device",
    }.items():
        with pytest.raises(ArtefactError, match=said):
            check_gguf(path)
