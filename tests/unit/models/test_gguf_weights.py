"""Weights of GGUF files written one by one: the bytes that transformers' own loader gives, for every kind of block."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import dequantize
from gguf.constants import GGML_QUANT_SIZES
from safetensors.torch import load_file
from safetensors.torch import save as save_safetensors
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.integrations.gguf.dequant import GGML_BLOCK

from persona_interp.errors import ArtefactError, ModelError
from persona_interp.models import conversion, gguf_weights
from persona_interp.models.load import load_model
from tests.gguf_files import ARCHITECTURES, D_MODEL, blocks, write_gguf


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def whole(gguf: Path, folder: Path) -> dict[str, bytes]:
    """What transformers makes of a file by itself, in files: its loader, a model of its settings, its tokenizer."""
    folder.mkdir()
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    plain = AutoModelForCausalLM.from_config(type(loaded.config).from_dict(settings), dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "conversion.json"}


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_conversion_is_what_transformers_loads_file_by_file(
    architecture: str, tied: bool, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alone").mkdir()
    gguf = write_gguf(tmp_path / "alone" / "model.gguf", architecture, tied=tied)
    monkeypatch.setattr(gguf_weights, "_VALUES_AT_ONCE", 1000 * D_MODEL // 7)  # rows that do not come out even
    monkeypatch.setattr(conversion, "_load_whole", None)  # not what is asked
    made = conversion.gguf_folder(gguf)
    assert contents(made) == whole(gguf, tmp_path / "whole")
    assert made.parent == cache / "models"
    conversion.check_folder(made)


@pytest.mark.parametrize("backend", ["transformer_lens", "nnsight"])
def test_a_converted_file_loads_and_its_reads_agree(backend: str, tmp_path: Path, cache: Path) -> None:
    gguf = write_gguf(tmp_path / "model.gguf", "qwen2", tied=False)
    model = load_model(gguf, backend, device="cpu")  # pyright: ignore (a backend)
    assert (model.n_layers, model.d_model, model.provenance.dtype) == (2, D_MODEL, "float32")
    assert len(list((cache / "models").iterdir())) == 1


def test_experts_are_put_together_by_transformers(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "alone").mkdir()
    gguf = write_gguf(tmp_path / "alone" / "model.gguf", "qwen2moe", tied=False)
    made = conversion.gguf_folder(gguf)
    assert contents(made) == whole(gguf, tmp_path / "whole")
    assert cache in made.parents


def test_a_weight_that_is_not_in_the_file_is_named(tmp_path: Path, cache: Path) -> None:
    gguf = write_gguf(tmp_path / "model.gguf", "llama", without="blk.1.ffn_up.weight")
    with pytest.raises(ModelError) as caught:
        conversion.gguf_folder(gguf)
    assert str(caught.value) == (
        "cannot read the GGUF file model.gguf: 1 weights are not in it, model.layers.1.mlp.up_proj.weight first.\n"
        "  The file may be truncated or damaged. Get it again."
    )
    assert list((cache / "models").iterdir()) == []


def test_a_disk_that_is_too_small_is_named_before_anything_is_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = write_gguf(tmp_path / "model.gguf", "llama")
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda _: type("", (), {"free": 1_000_000}))
    with pytest.raises(ArtefactError, match=r"model\.gguf in float32 takes 0\.0 GB, and 0\.0 GB are free") as caught:
        conversion.gguf_folder(gguf)
    assert "Nothing was kept. Free space, or set PERSONA_INTERP_CACHE to another folder." in str(caught.value)
    assert list((cache / "models").iterdir()) == []


def test_the_file_is_the_one_that_safetensors_writes(tmp_path: Path) -> None:
    shapes = {"a": (3, 5), "b.c": (2,), "ü": (1, 1, 4)}
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    data = b"".join(tensor.numpy().tobytes() for tensor in tensors.values())
    assert gguf_weights._head(shapes) + data == save_safetensors(tensors, metadata={"format": "pt"})
    (tmp_path / "a.safetensors").write_bytes(gguf_weights._head(shapes) + data)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load_file(tmp_path / "a.safetensors").items())
    assert json.loads((gguf_weights._head({}))[8:]) == {"__metadata__": {"format": "pt"}}


@pytest.mark.parametrize(
    "kind", sorted({*map(Kind, GGML_BLOCK), Kind.Q5_0, Kind.Q5_1, Kind.BF16, Kind.F16, Kind.F32}), ids=lambda k: k.name
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # blocks of random bytes overflow, as both say
def test_every_kind_of_block_is_read_as_the_gguf_package_reads_it(kind: Kind) -> None:
    values, _ = GGML_QUANT_SIZES[kind]
    width = max(values, 4) * 3
    data = blocks(np.random.default_rng(int(kind)), (5, width), kind)
    plain = {Kind.F32: np.float32, Kind.F16: np.float16}.get(kind)
    expected = dequantize(data if plain is None else data.view(plain), kind)
    found = gguf_weights._dequantised(data.reshape(-1), int(kind), width)
    assert found.dtype == np.float32 and found.shape == (5, width)
    assert np.array_equal(found, expected, equal_nan=True)
