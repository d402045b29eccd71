"""Hashes of files and of weights: what they see, and that they are computed once."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from persona_interp.errors import ModelError
from persona_interp.models import file_hashes, identity
from persona_interp.models.file_hashes import hash_of_files, kept_sha256
from persona_interp.models.identity import fingerprint
from persona_interp.models.load import load_model
from persona_interp.models.plain import load_source
from persona_interp.models.sources import local_files_hash
from tests.contract.tiny import save_tiny

N_TRIES = 100


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was hashed: names of files, and `weights` for those of a model in memory; the cache is a new one."""
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hashes, "LEAST_KEPT", 1)
    monkeypatch.setattr(identity, "LEAST_KEPT", 1)
    done: list[str] = []
    of_file, of_weights = file_hashes.sha256_file, identity.fingerprint
    monkeypatch.setattr(file_hashes, "sha256_file", lambda path: [done.append(path.name), of_file(path)][1])
    monkeypatch.setattr(identity, "fingerprint", lambda model: [done.append("weights"), of_weights(model)][1])
    yield done


def aged(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file as seen an hour later: what it was written with cannot be dated back."""
    later = time.time() + 3600
    monkeypatch.setattr(file_hashes.time, "time", lambda: later)
    return path


@pytest.mark.usefixtures("hashed")
def test_one_changed_bit_in_a_million_weights_is_found_in_the_file(tmp_path: Path) -> None:
    """Bits of the last places too, which bfloat16 does not have."""
    path, draw = tmp_path / "weights.bin", torch.Generator().manual_seed(0)
    data = bytearray(torch.randn(1_000_000, generator=draw).numpy().tobytes())
    path.write_bytes(data)
    before, found = kept_sha256(path), 0
    for bit in torch.randint(8 * len(data), (N_TRIES,), generator=draw).tolist():
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        found += kept_sha256(path) != before
        data[bit // 8] ^= 1 << bit % 8
    assert found == N_TRIES
    path.write_bytes(data)
    assert kept_sha256(path) == before


def test_one_changed_weight_in_a_million_is_found_in_memory() -> None:
    """A change that bfloat16 can hold: two parts in a hundred of the weight."""
    draw = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(1000, 1000, bias=False)
    before, weights, found = fingerprint(model), model.weight.data, 0
    for place in torch.randint(1_000_000, (N_TRIES,), generator=draw).tolist():
        row, column = divmod(place, 1000)
        kept = weights[row, column].clone()
        weights[row, column] = kept * 1.02
        found += fingerprint(model) != before
        weights[row, column] = kept
    assert found == N_TRIES
    assert fingerprint(model) == before


def test_packed_weights_and_saved_buffers_are_hashed_and_others_are_not() -> None:
    model = torch.nn.Module()
    model.register_buffer("packed", torch.arange(2**20, dtype=torch.int32))
    model.register_buffer("bias", torch.zeros(4))
    model.register_buffer("frequencies", torch.zeros(4), persistent=False)
    seen = [fingerprint(model)]
    model.get_buffer("frequencies").fill_(1)
    assert fingerprint(model) == seen[0]
    model.get_buffer("packed")[2**20 - 1] += 1  # equal in bfloat16
    seen.append(fingerprint(model))
    model.get_buffer("bias")[2] = 1
    assert len({*seen, fingerprint(model)}) == 3


def test_a_second_hash_is_not_computed_and_a_changed_file_is(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    first = kept_sha256(path)
    assert kept_sha256(path) == first and len(hashed) == 2, "a file of this second may still be written to"
    aged(path, monkeypatch)
    assert [kept_sha256(path) for _ in range(3)] == [first] * 3
    assert len(hashed) == 3
    found = path.stat()
    time.sleep(0.05)  # the clock of a file system may tick a hundred times a second
    path.write_bytes(b"two")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))  # the size and the date are what they were
    assert kept_sha256(path) != first
    time.sleep(0.05)
    path.write_bytes(b"longer")
    assert kept_sha256(path) != first and len(hashed) == 5


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}', "swapped", "\x00"])
def test_a_damaged_entry_is_none(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = aged(tmp_path / "a.bin", monkeypatch)
    path.write_bytes(b"one")
    first = kept_sha256(path)
    (entry,) = (tmp_path / "cache" / "hashes").rglob("*.json")
    kept = json.loads(entry.read_text())
    entry.write_text(json.dumps({**kept, "value": "0" * 64}) if damage == "swapped" else damage)
    assert kept_sha256(path) == first and len(hashed) == 2
    assert json.loads(entry.read_text()) == kept
    assert [file.name for file in entry.parent.iterdir()] == [entry.name]


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = aged(tmp_path / "a.bin", monkeypatch)
    path.write_bytes(b"one")
    (tmp_path / "cache").write_text("a file")
    assert kept_sha256(path) == kept_sha256(path) and len(hashed) == 2


def test_a_second_load_hashes_nothing_and_gives_the_same(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    save_tiny("llama", folder)
    aged(folder, monkeypatch)
    first = load_model(folder, "nnsight", device="cpu").provenance
    settings, tokens = ["config.json", "generation_config.json"], ["tokenizer.json", "tokenizer_config.json"]
    assert sorted(hashed) == [*settings, "model.safetensors", *tokens, "weights"]
    assert load_model(folder, "nnsight", device="cpu").provenance == first and len(hashed) == 6
    half = load_model(folder, "nnsight", device="cpu", dtype="bfloat16").provenance
    assert (half.weights, half.files) == (first.weights, first.files) and hashed[6:] == ["weights"]


def test_a_folder_that_is_rewritten_while_it_loads_keeps_no_fingerprint_of_the_other_weights(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights in memory are the old ones, the hash is of the new files."""
    folder = tmp_path / "model"
    save_tiny("llama", folder)
    old = load_file(folder / "model.safetensors")
    new = {name: weight * 2 for name, weight in old.items()}

    def load(*, rewrite: bool) -> str:
        def step(*arguments: Any, **options: Any) -> Any:
            loaded = load_source(*arguments, **options)
            if rewrite:
                save_file(new, folder / "model.safetensors", metadata={"format": "pt"})
            return loaded

        time.sleep(0.3)
        monkeypatch.setattr("persona_interp.models.load.load_source", step)
        return load_model(folder, "nnsight", device="cpu").provenance.weights

    monkeypatch.setattr(file_hashes, "_SETTLED_S", 0.1)
    of_old = load(rewrite=True)
    of_new = load(rewrite=False)
    assert of_new != of_old
    assert load(rewrite=False) == of_new and hashed.count("weights") == 2, "the settled one is kept"
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(rewrite=True) == of_old, "nor is the kept one of the new files taken for that of the old weights"


@pytest.mark.parametrize(
    "index",
    ["{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}', '{"weight_map": {"a": ["b"]}}', "\xff"],
)
@pytest.mark.parametrize("read", [local_files_hash, load_model])
def test_a_damaged_index_is_named(tmp_path: Path, read: Callable[[Path], object], index: str) -> None:
    save_tiny("llama", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(index, encoding="latin-1")
    with pytest.raises(ModelError, match="does not say which files hold the weights: it is damaged") as caught:
        read(tmp_path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "name",
    ["tokenizer.model", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"]
    + ["generation_config.json", "chat_template.jinja", "tokenizer.json"],
)
def test_every_file_that_decides_tokens_counts(tmp_path: Path, name: str) -> None:
    save_tiny("llama", tmp_path)
    before = local_files_hash(tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text() + " " if path.exists() else "new")
    assert local_files_hash(tmp_path) != before


@pytest.mark.usefixtures("hashed")
def test_copies_that_bfloat16_cannot_tell_apart_have_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_tiny("llama", folder)
    first = load_model(folder, "nnsight", device="cpu").provenance
    weights = load_file(folder / "model.safetensors")
    name = min(weights)
    weights[name].view(-1)[3] *= 1 + 2**-20
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    second = load_model(folder, "nnsight", device="cpu").provenance
    assert second.weights == first.weights and second.files != first.files
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"rms_norm_eps": 1e-3}))
    assert load_model(folder, "nnsight", device="cpu").provenance.files not in (first.files, second.files)


@pytest.mark.usefixtures("hashed")
def test_finetuned_quantised_and_resized_copies_have_other_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    plain = LlamaForCausalLM(LlamaConfig(vocab_size=64, **shape))
    seen = {}

    def add(name: str, model: LlamaForCausalLM) -> None:
        model.save_pretrained(tmp_path / name)
        loaded = LlamaForCausalLM.from_pretrained(tmp_path / name)
        seen[name] = hash_of_files(file_hashes.model_files(loaded)), fingerprint(loaded)

    add("plain", plain)
    plain.model.embed_tokens.weight.data[:, 1:] += 0.1
    add("all columns of the embedding but one", plain)
    plain.model.embed_tokens.weight.data[:, 1:] -= 0.1
    down, change = (
        plain.get_parameter("model.layers.0.mlp.down_proj.weight").data,
        0.01 * torch.randn(16, 2) @ torch.randn(2, 32),
    )
    down += change
    add("low rank", plain)
    down -= change
    for name, weight in plain.named_parameters():
        scale = weight.data.abs().max() / 127
        weight.data = (weight.data / scale).round() * scale if "mlp" in name else weight.data
    add("quantised", plain)
    plain.resize_token_embeddings(65)
    add("resized", plain)
    assert len({files for files, _ in seen.values()}) == len({weights for _, weights in seen.values()}) == 5


def test_a_model_that_was_not_loaded_has_no_files() -> None:
    model = LlamaForCausalLM(LlamaConfig(vocab_size=8, hidden_size=32, intermediate_size=4, num_hidden_layers=1))
    assert hash_of_files(file_hashes.model_files(model)) is None
