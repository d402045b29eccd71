"""Files as other tools, accidents and bad intent make them."""

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from torch import Tensor

from persona_interp.directions.formats import ModelShape, save_gguf
from persona_interp.io import sha256_bytes
from persona_interp.measurements.frame import COLUMNS, Measurements
from tests.integration.inputs.row import Given
from tests.small import activations, direction

SHAPE = ModelShape("tiny-a", 3, 4)
NESTED = b"[" * 100_000 + b"]" * 100_000
DIGITS = b'{"name": ' + b"1" * 5000 + b"}"
INVENTORY = {"items": [{"text": "worry", "scale": "n", "key": 1}, {"text": "rest", "scale": "n", "key": -1}]}
Make = Callable[[Path], Path]
Changes = Mapping[Any, Any]


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def huge(path: Path) -> Path:
    """Three gigabytes that take no space."""
    with path.open("wb") as handle:
        handle.truncate(3 * 2**30)
    return path


def altered(data: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """JSON with another value at a place."""
    if not place:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[place[0]] = altered(data[place[0]] if len(place) > 1 else None, place[1:], value)  # pyright: ignore
    return copy


def described(path: Path, data: bytes, changes: Changes | None = None) -> Path:
    """A file of these bytes, and a manifest altered in some places with the right hash, as other tools write them."""
    path.write_bytes(data)
    manifest = json.loads(path.with_suffix(".json").read_text())
    for place, value in (changes or {}).items():
        manifest = altered(manifest, place, value)
    path.with_suffix(".json").write_text(json.dumps({**manifest, "sha256": sha256_bytes(data)}))
    return path


def vector(tmp: Path, *, changes: Changes | None = None, **tensors: Tensor) -> Path:
    """A saved direction whose manifest or tensors were altered."""
    path = tmp / "loud.safetensors"
    direction(torch.ones(3, 4), norms=torch.ones(3)).save(path)
    return described(path, save({"vectors": torch.ones(3, 4), "residual_norms": torch.ones(3)} | tensors), changes)


def pooled(tmp: Path, *, changes: Changes | None = None, **tensors: Tensor) -> Path:
    """Saved activations whose manifest or tensors were altered."""
    path = tmp / "a.safetensors"
    activations(torch.ones(2, 3, 4)).save(path)
    return described(path, save({"values": torch.ones(2, 3, 4)} | tensors), changes)


def measured(tmp: Path, **columns: Any) -> Path:
    """Saved measurements with other columns and the right hash."""
    path = tmp / "m.parquet"
    row = {name: 1 if name in ("layer", "coefficient", "kl", "value") else "x" for name in COLUMNS}
    found = Measurements.from_rows([row, row])
    found.save(path, {})
    return described(path, parquet(found.frame.assign(**columns)))


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def torch_file(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def zip_bomb(path: Path) -> Path:
    """A .pt file of 50 kB that unpacks to 50 MB."""
    torch_file(path, torch.ones(3, 4))
    with zipfile.ZipFile(path) as whole:
        records = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in records.items():
            packed.writestr(name, bytes(50 * 2**20) if name.endswith("data/0") else data)
    return path


def gguf(*keys: bytes, n_keys: int | None = None, n_tensors: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, len(keys) if n_keys is None else n_keys) + b"".join(keys)


def gguf_array(kind: int, n: int) -> bytes:
    return struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, kind, n)


def spec(tmp: Path, **changes: Any) -> Path:
    """A SteeringSpec with its vectors beside it."""
    save_gguf(direction(torch.ones(3, 4)), tmp / "v.gguf", drop_layer_0=True)
    whole = {"source": "v.gguf", "layers": [1], "scale": 1.0, "apply": {"phases": ["generation"]}}
    return put(tmp / "s.json", json.dumps({"vectors": [whole | changes]}))


def half(dtype: torch.dtype) -> Tensor:
    return torch.full((3, 4), 0.5, dtype=dtype)


def two_columns_of_one_name() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), buffer)
    return buffer.getvalue()


def many_rows() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array(np.zeros(30_000_000, dtype=np.bool_))}), buffer, compression="zstd")
    return buffer.getvalue()


def in_place(make: Callable[[Path], Any], name: str) -> Callable[[Given], Any]:
    return lambda g: make(g.tmp / name)


LONG, TRUTHS = "a" * 5_000_000, torch.ones(3, 4) > 0


def long_gguf(path: Path) -> Path:
    return put(path, gguf(gguf_array(0, 2**40)))


def truths(path: Path) -> Path:
    return torch_file(path, torch.ones(4, 4) > 0)


def nul_styles(path: Path) -> Path:
    return put(path, "text,style\na\0,b\n")
