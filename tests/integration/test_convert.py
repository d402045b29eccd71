"""`persona-interp convert`: our vector to every format and back, and what is refused on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from persona_interp.cli import app
from persona_interp.directions.direction import Direction
from persona_interp.directions.formats import FOREIGN_FORMATS
from persona_interp.errors import AlignmentError, ConfigError, IncompatibleDirectionError, PersonaInterpError
from persona_interp.types import Hookpoint, Provenance

NAMED = ("--model-name", "tiny", "--n-layers", "3", "--width", "32")


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    owner = Provenance("tiny", "aaaa", "nnsight", "float32", 3, 32, "persona_vector", 1, pooling="response_mean")
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    places = tuple(map(Hookpoint, range(3)))
    some = Direction(vectors, places, "assistant", "persona_vector", "assistant", owner)
    some.save(tmp_path / "ours.safetensors")
    return tmp_path / "ours.safetensors"


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def refusal(error: type[PersonaInterpError]) -> Callable[..., str]:
    def refused(*arguments: object) -> str:
        with pytest.raises(error) as caught:
            run(*arguments)
        return str(caught.value)

    return refused


@pytest.mark.parametrize("name", FOREIGN_FORMATS)
def test_there_and_back(ours: Path, tmp_path: Path, name: str):
    there, back = tmp_path / ("there.json" if name == "easysteer" else "there.bin"), tmp_path / "back.safetensors"
    writing = {"gguf": ["--drop-layer-0"], "easysteer": ["--drop-layer-0"], "persona-vectors": ["--incomplete"]}
    run(ours, there, "--from", "native", "--to", name, *writing.get(name, []))
    reading = [] if name == "assistant-axis" else ["--trait", "assistant"]
    said = run(there, back, "--from", name, "--to", "native", *NAMED, *reading)
    assert "of tiny (unbound: rebind_direction before steering)" in said.replace("\n", " ")
    before, after = Direction.load(ours), Direction.load(back)
    assert after.method == f"imported: {name}"
    assert all(torch.equal(after.at(h), before.at(h)) for h in after.hookpoints)
    assert Hookpoint(1) in after.hookpoints


def test_with_the_model_itself_the_direction_is_bound(ours: Path, model_folder: Path, tmp_path: Path):
    run(ours, tmp_path / "a.pt", "--from", "native", "--to", "steering-vectors")
    options = ("--from", "steering-vectors", "--to", "native", "--model", model_folder, "--trait", "assistant")
    said = run(tmp_path / "a.pt", tmp_path / "b.safetensors", *options)
    assert Direction.load(tmp_path / "b.safetensors").provenance.weights in said.replace("\n", "")
    with pytest.raises(IncompatibleDirectionError, match="belongs to tiny"):
        run(ours, tmp_path / "c.pt", "--from", "native", "--to", "steering-vectors", "--model", model_folder)


def test_between_two_foreign_formats(ours: Path, tmp_path: Path):
    run(ours, tmp_path / "a.gguf", "--from", "native", "--to", "gguf", "--convention", "hidden_state")
    run(tmp_path / "a.gguf", tmp_path / "b.pt", "--from", "gguf", "--to", "steering-vectors", *NAMED)
    assert sorted(torch.load(tmp_path / "b.pt", weights_only=True)) == [0, 1]


def test_what_is_refused(ours: Path, tmp_path: Path):
    there = tmp_path / "there.pt"
    refused = refusal(ConfigError)
    onnx = CliRunner().invoke(app, ["convert", str(ours), str(there), "--from", "native", "--to", "onnx"])
    assert onnx.exit_code == 2 and "'onnx' is not one of" in onnx.output
    to_axis = ("--from", "native", "--to", "assistant-axis")
    assert "--convention is for GGUF files" in refused(ours, there, *to_axis, "--convention", "block_output")
    assert "a native direction must be a .safetensors file, got there.pt" in refused(
        ours, there, "--from", "native", "--to", "native"
    )
    assert refused(ours, there, *to_axis, "--last-row", "normed") == (
        "--last-row is for persona-vectors files; native to assistant-axis has no use for it.\n  Leave it out."
    )
    assert "--drop-layer-0 is for writing gguf and easysteer" in refused(ours, there, *to_axis, "--drop-layer-0")
    assert "--incomplete is for writing persona-vectors" in refused(ours, there, *to_axis, "--incomplete")
    assert "--trait is for files that do not name" in refused(ours, there, *to_axis, "--trait", "x")
    assert "--width are for files that do not name their model" in refused(ours, there, *to_axis, *NAMED)
    clash = refused(ours, ours.with_suffix(".json"), "--from", "native", "--to", "easysteer")
    assert "would be read and written at once" in clash
    run(ours, there, *to_axis)
    back = (there, tmp_path / "back.safetensors", "--from", "assistant-axis", "--to", "native")
    assert "none was named" in refused(*back)
    assert "Give one." in refused(*back, *NAMED, "--model", "tiny")
    other = ("--model-name", "tiny", "--n-layers", "2", "--width", "32")
    assert 'it may be "persona-vectors"' in refusal(AlignmentError)(*back, *other)
    assert "no slot for layer 0" in refusal(AlignmentError)(ours, there, "--from", "native", "--to", "gguf")
    assert not (tmp_path / "back.safetensors").exists()
