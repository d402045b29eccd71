"""A wrong convention, another model, a damaged or a hostile file: each is caught, none is guessed at."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from persona_interp.directions.direction import check_direction, rebind_direction
from persona_interp.directions.formats import (
    FOREIGN_FORMATS,
    ModelShape,
    load_assistant_axis,
    load_easysteer,
    load_foreign,
    load_gguf,
    load_persona_vectors,
    load_steering_vectors,
    save_assistant_axis,
    save_easysteer,
    save_foreign,
    save_gguf,
    save_persona_vectors,
    save_steering_vectors,
)
from persona_interp.errors import (
    AlignmentError,
    ArtefactError,
    ConfigError,
    HookpointError,
    IncompatibleDirectionError,
    PersonaInterpError,
)
from persona_interp.types import Hookpoint
from tests.small import StubModel, direction, provenance

SHAPE = ModelShape("tiny-a", 3, 4)
NAME = "loud_response_avg_diff.pt"


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(content: Any, name: str = NAME) -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def control_vector(tmp_path: Path) -> Callable[..., Path]:
    """A GGUF as another tool might write it."""

    def write(tensors: dict[str, np.ndarray], *, architecture: str = "controlvector", **texts: str) -> Path:
        path = tmp_path / "foreign.gguf"
        writer = GGUFWriter(path, architecture)
        for key, text in texts.items():
            writer.add_string(key.replace("__", "."), text)
        for name, values in tensors.items():
            writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def rows(*numbers: int, width: int = 4) -> dict[str, np.ndarray]:
    return {f"direction.{n}": np.full(width, n + 1.0, dtype=np.float32) for n in numbers}


def text_of(error: type[PersonaInterpError], call: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_the_two_pt_conventions_are_told_apart_by_their_rows(saved: Callable[..., Path]):
    blocks, hidden = saved(torch.ones(3, 4)), saved(torch.ones(4, 4), "axis.pt")
    assert text_of(AlignmentError, lambda: load_persona_vectors(blocks, SHAPE)) == (
        f"{NAME} has 3 rows; tiny-a has 3 layers, so a persona-vectors file has 4 (row L is hidden_states[L]).\n"
        '  Without an embedding row it may be "assistant-axis" (row i is the output of block i): try that format.'
    )
    assert text_of(AlignmentError, lambda: load_assistant_axis(hidden, SHAPE)) == (
        "axis.pt has 4 rows; tiny-a has 3 layers, so an assistant-axis file has 3 (row i is the output of block i).\n"
        '  With one row more it may be "persona-vectors" (row L is hidden_states[L]): try that format.'
    )


@pytest.mark.parametrize("n_rows", [1, 2, 5, 9])
def test_other_numbers_of_rows_are_another_model(saved: Callable[..., Path], n_rows: int):
    path = saved(torch.ones(n_rows, 4))
    for load in (load_persona_vectors, load_assistant_axis):
        text = text_of(AlignmentError, lambda load=load: load(path, SHAPE))
        assert text.splitlines()[0].startswith(f"{NAME} has {n_rows} rows; tiny-a has 3 layers")
        assert text.splitlines()[-1] == "  Name the model that the file was made with."


def test_another_width_names_both(saved: Callable[..., Path], control_vector: Callable[..., Path]):
    expected = "holds vectors of d_model 5; tiny-a has 4.\n  Name the model that they were made with."
    calls = {
        NAME: lambda: load_persona_vectors(saved(torch.ones(4, 5)), SHAPE),
        "a.pt": lambda: load_assistant_axis(saved({"axis": torch.ones(3, 5)}, "a.pt"), SHAPE),
        "layer 1 of s.pt": lambda: load_steering_vectors(saved({1: torch.ones(5)}, "s.pt"), SHAPE, trait="loud"),
        "direction.1 of foreign.gguf": lambda: load_gguf(control_vector(rows(1, width=5)), SHAPE),
    }
    for name, call in calls.items():
        assert text_of(IncompatibleDirectionError, call) == f"{name} {expected}"


def test_a_gguf_that_does_not_say_what_it_counts_must_be_told(control_vector: Callable[..., Path]):
    path = control_vector(rows(1, 2))
    assert text_of(ConfigError, lambda: load_gguf(path, SHAPE, trait="loud")) == (
        "foreign.gguf does not say what its layer numbers count (1..2 came, tiny-a has 3 layers, and both ways fit).\n"
        "  block_output: direction.N is added to the output of block N (llama.cpp's loader, repeng).\n"
        "  hidden_state: direction.N was read at hidden_states[N], the output of block N-1"
        " (llama.cpp's cvector-generator).\n"
        "  Ask whoever wrote the file, then name it: convention=... (--convention)."
    )
    by_block = load_gguf(path, SHAPE, trait="loud", convention="block_output")
    by_state = load_gguf(path, SHAPE, trait="loud", convention="hidden_state")
    assert by_block.hookpoints == (Hookpoint(1), Hookpoint(2))
    assert by_state.hookpoints == (Hookpoint(0), Hookpoint(1))
    assert torch.equal(by_block.at(1), by_state.at(0))


@pytest.mark.parametrize("convention", [None, "block_output"])
def test_a_number_that_is_no_block_proves_the_other_convention(control_vector: Callable[..., Path], convention: Any):
    path = control_vector(rows(1, 2, 3))
    text = text_of(AlignmentError, lambda: load_gguf(path, SHAPE, trait="loud", convention=convention))
    assert text.splitlines()[0] == (
        "foreign.gguf has direction.3; the blocks of tiny-a run 0..2, so its numbers cannot be block outputs."
    )
    found = load_gguf(path, SHAPE, trait="loud", convention="hidden_state")
    assert found.hookpoints == (Hookpoint(0), Hookpoint(1))  # the last one is after the final norm
    with pytest.raises(HookpointError):
        found.at(2)


def test_a_number_beyond_every_convention_is_another_model(control_vector: Callable[..., Path]):
    path = control_vector(rows(1, 4))
    for convention in ("block_output", "hidden_state"):
        call = lambda convention=convention: load_gguf(path, SHAPE, trait="loud", convention=convention)  # noqa: E731
        assert text_of(AlignmentError, call) == (
            "foreign.gguf has layers 1..4; the blocks of tiny-a run 0..2.\n  The file belongs to another model."
        )


def test_a_file_that_says_its_convention_is_believed_over_the_caller(tmp_path: Path):
    save_gguf(direction(torch.ones(2, 4), hookpoints=(Hookpoint(1), Hookpoint(2))), tmp_path / "a.gguf")
    text = text_of(AlignmentError, lambda: load_gguf(tmp_path / "a.gguf", SHAPE, convention="hidden_state"))
    assert text.splitlines()[0] == (
        "a.gguf says that its layers are numbered as block_output; hidden_state was asked for."
    )


def test_layer_0_is_refused_in_a_gguf_with_the_reason(tmp_path: Path):
    some = direction(torch.randn(3, 4))
    for save, name in ((save_gguf, "a.gguf"), (save_easysteer, "a.json")):
        assert text_of(AlignmentError, lambda save=save, name=name: save(some, tmp_path / name)) == (
            "loud has a vector at the output of block 0, which would be direction.0 of a GGUF control vector.\n"
            "  llama.cpp has no slot for layer 0 and refuses a file with direction.0.\n"
            "  Leave that vector out: drop_layer_0=True (--drop-layer-0). The others are written as they are."
        )
    assert not list(tmp_path.iterdir())
    save_gguf(some, tmp_path / "a.gguf", drop_layer_0=True)
    assert load_gguf(tmp_path / "a.gguf", SHAPE).hookpoints == (Hookpoint(1), Hookpoint(2))


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"direction.1": np.ones(4, dtype=np.float16)}, "direction.1 of foreign.gguf is F16 with 1 axes."),
        ({"direction.1": np.ones((2, 4), dtype=np.float32)}, "direction.1 of foreign.gguf is F32 with 2 axes."),
        ({"blk.1": np.ones(4, dtype=np.float32)}, "foreign.gguf has a tensor called 'blk.1'."),
        ({"direction.01": np.ones(4, dtype=np.float32)}, "foreign.gguf has a tensor called 'direction.01'."),
        ({"direction.1": np.array([1, np.nan, 0, 0], dtype=np.float32)}, "direction.1 of foreign.gguf has values that"),
        ({}, "foreign.gguf holds no vectors."),
    ],
)
def test_other_tensors_in_a_gguf(control_vector: Callable[..., Path], tensors: dict[str, np.ndarray], words: str):
    path = control_vector(tensors)
    call = lambda: load_gguf(path, SHAPE, trait="loud", convention="block_output")  # noqa: E731
    assert text_of(ArtefactError, call).startswith(words)


def test_the_weights_of_a_model_are_no_direction(control_vector: Callable[..., Path]):
    path = control_vector(rows(1), architecture="llama")
    assert text_of(ArtefactError, lambda: load_gguf(path, SHAPE)).startswith(
        "foreign.gguf has the architecture 'llama'."
    )


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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.ones(4, 4, dtype=torch.float64), "holds float64 values."),
        (torch.ones(4, 4, dtype=torch.int64), "holds int64 values."),
        (torch.ones(4, 4, dtype=torch.complex64), "holds complex64 values."),
        (torch.ones(4, 4).to_sparse(), "holds Tensor, not a dense tensor."),
        (torch.ones(4), "has shape [4]."),
        (torch.ones(4, 4, 1), "has shape [4, 4, 1]."),
        (torch.full((4, 4), float("inf")), "has values that are not finite."),
        ([torch.ones(4)] * 4, "holds list, not a dense tensor."),
        ("evil", "holds str, not a dense tensor."),
        ({"axis": torch.ones(4, 4)}, "holds dict, not a dense tensor."),
    ],
)
def test_other_content(saved: Callable[..., Path], content: Any, words: str):
    path = saved(content)
    assert text_of(ArtefactError, lambda: load_persona_vectors(path, SHAPE)).splitlines()[0] == f"{NAME} {words}"


def test_a_small_file_cannot_ask_for_all_the_memory(saved: Callable[..., Path]):
    path = saved(torch.zeros(1).expand(2**40, 4))  # 16 TiB if it were copied; 1.5 kB on disk
    assert path.stat().st_size < 5_000
    for load in (load_persona_vectors, load_assistant_axis):
        with pytest.raises(AlignmentError, match=f"has {2**40} rows"):
            load(path, SHAPE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"axis": torch.ones(3, 4), "code": "x"}, "a.pt holds the keys axis, code."),
        ({"vector": torch.ones(3, 4), "type": 3, "role": "pirate"}, "a.pt has a role or a type that is no text."),
        ({"axis": torch.ones(3, 4), "metadata": torch.ones(2)}, "the metadata of a.pt holds more than"),
        ([1], "a.pt holds list."),
    ],
)
def test_other_keys_in_an_axis_file(saved: Callable[..., Path], content: Any, words: str):
    path = saved(content, "a.pt")
    assert text_of(ArtefactError, lambda: load_assistant_axis(path, SHAPE)).startswith(words)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (
            {3: torch.ones(4)},
            AlignmentError,
            "s.pt has layers 3..3; the blocks of tiny-a run 0..2.\n  Layer 3 exists only",
        ),
        ({-1: torch.ones(4)}, AlignmentError, "s.pt has layers -1..-1; the blocks"),
        ({"1": torch.ones(4)}, ArtefactError, "s.pt holds the keys '1'."),
        ({True: torch.ones(4)}, ArtefactError, "s.pt holds the keys True."),
        ({}, ArtefactError, "s.pt holds no vectors."),
        ({1: [1.0]}, ArtefactError, "layer 1 of s.pt holds list"),
        (
            {"layer_activations": {1: torch.ones(4)}, "layer_type": "mlp"},
            ArtefactError,
            "s.pt holds vectors of layer_type 'mlp'.",
        ),
    ],
)
def test_other_layers_in_a_steering_vector(saved: Callable[..., Path], content: Any, error: Any, words: str):
    path = saved(content, "s.pt")
    assert text_of(error, lambda: load_steering_vectors(path, SHAPE, trait="loud")).startswith(words)


SPEC = {"source": "a.gguf", "scale": 1.0, "apply": {"phases": ["generation"]}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ([], "a.json is not a SteeringSpec."),
        ({"vectors": [SPEC], "run": "me"}, "a.json is not a SteeringSpec."),
        ({"vectors": [SPEC, SPEC]}, "a.json holds 2 vectors."),
        ({"vectors": [{"data": {}, "apply": {}}]}, "the vector of a.json has the keys apply, data."),
        ({"vectors": [SPEC | {"algorithm": "erase"}]}, "a.json uses the algorithm 'erase'."),
        ({"vectors": [SPEC | {"scale": "2"}]}, "a.json is not a SteeringSpec that can be used: scale must be"),
        ({"vectors": [SPEC | {"layers": [1.5]}]}, "a.json is not a SteeringSpec that can be used: layers must be"),
        ({"vectors": [SPEC | {"normalize": 1}]}, "a.json is not a SteeringSpec that can be used: normalize must be"),
        ({"vectors": [SPEC | {"apply": {}}]}, "a.json is not a SteeringSpec that can be used: apply must name"),
        *(
            ({"vectors": [SPEC | {"source": source}]}, f"a.json names the vector file {source!r}.")
            for source in ("../a.gguf", "/etc/passwd", "deep/a.gguf", "..", "", "c:a.gguf", "x\\a.gguf", 3, None)
        ),
    ],
)
def test_other_steering_specs(tmp_path: Path, spec: Any, words: str):
    save_gguf(direction(torch.ones(1, 4), hookpoints=(Hookpoint(1),)), tmp_path / "a.gguf")
    (tmp_path / "a.json").write_text(json.dumps(spec))
    assert text_of(ArtefactError, lambda: load_easysteer(tmp_path / "a.json", SHAPE)).startswith(words)


def test_a_spec_for_a_layer_without_a_vector(tmp_path: Path):
    save_gguf(direction(torch.ones(1, 4), hookpoints=(Hookpoint(1),)), tmp_path / "a.gguf")
    (tmp_path / "a.json").write_text(json.dumps({"vectors": [SPEC | {"layers": [1, 2]}]}))
    text = text_of(AlignmentError, lambda: load_easysteer(tmp_path / "a.json", SHAPE))
    assert text.splitlines()[0] == "a.json steers at layer 2, where a.gguf has no vector."


def test_a_spec_does_not_overwrite_the_manifest_of_a_direction(tmp_path: Path):
    some = direction(torch.ones(1, 4), hookpoints=(Hookpoint(1),))
    some.save(tmp_path / "a.safetensors")
    before = (tmp_path / "a.json").read_bytes()
    with pytest.raises(ArtefactError, match="is the manifest of the direction"):
        save_easysteer(some, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == before


def test_what_a_format_cannot_hold_is_not_written(tmp_path: Path):
    elsewhere = direction(torch.ones(1, 4), hookpoints=(Hookpoint(1, "mlp_out"),))
    for save in (save_persona_vectors, save_gguf, save_steering_vectors, save_assistant_axis):
        with pytest.raises(AlignmentError, match="mlp_out at layer 1"):
            save(elsewhere, tmp_path / "a")
    turned = -direction(torch.ones(3, 4))
    for save in (save_persona_vectors, save_steering_vectors):
        with pytest.raises(AlignmentError, match="points toward 'not loud'"):
            save(turned, tmp_path / "a")
    with pytest.raises(
        AlignmentError, match="file points toward the default Assistant, and loud points toward 'not loud'"
    ):
        save_assistant_axis(turned, tmp_path / "a", layout="axis")
    with pytest.raises(AlignmentError, match="has no row for loud at the output of the last block"):
        save_persona_vectors(direction(torch.ones(3, 4)), tmp_path / "a")
    with pytest.raises(AlignmentError, match="has no vector for row 0, 3 of a persona-vectors file"):
        save_persona_vectors(direction(torch.ones(2, 4)), tmp_path / "a")
    with pytest.raises(AlignmentError, match="has no vector for the output of block 2"):
        save_assistant_axis(direction(torch.ones(2, 4)), tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_what_must_be_named(saved: Callable[..., Path]):
    path = saved(torch.ones(4, 4), "vector.pt")
    assert text_of(ConfigError, lambda: load_persona_vectors(path, SHAPE)) == (
        "vector.pt does not say which trait it holds.\n  Name it: trait=... (--trait NAME)."
    )
    assert load_persona_vectors(path, SHAPE, trait="loud").trait == "loud"
    with pytest.raises(ConfigError, match=r"are numbered in one way only; 'hidden_state' came"):
        load_foreign(path, "persona-vectors", SHAPE, trait="loud", convention="hidden_state")
    with pytest.raises(ConfigError, match=r"no model has 0 layers of width 4"):
        ModelShape("none", 0, 4)


def test_an_unbound_direction_is_refused_until_it_is_bound(saved: Callable[..., Path]):
    model = StubModel()
    unbound = load_persona_vectors(saved(torch.ones(4, 4)), SHAPE)
    text = text_of(IncompatibleDirectionError, lambda: check_direction(unbound, model))
    assert text.splitlines()[0].endswith(
        "belongs to tiny-a (3 layers, d_model 4, weights unknown), not to tiny-a (3 layers, d_model 4, weights aaaa)."
    )
    check_direction(rebind_direction(unbound, model), model)
    check_direction(load_persona_vectors(saved(torch.ones(4, 4)), model), model)
    with pytest.raises(AlignmentError):
        load_persona_vectors(saved(torch.ones(4, 4)), StubModel(**vars_of(n_layers=4)))


def vars_of(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in provenance(**changes).to_dict().items() if key in changes}
