"""A file that is numbered otherwise or belongs to another model: told apart where it can be, guessed nowhere."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persona_interp.directions.direction import check_direction, rebind_direction
from persona_interp.directions.formats import (
    ModelShape,
    load_assistant_axis,
    load_foreign,
    load_gguf,
    load_persona_vectors,
    load_steering_vectors,
    save_gguf,
)
from persona_interp.directions.formats.gguf import Convention
from persona_interp.errors import AlignmentError, ArtefactError, ConfigError, HookpointError, IncompatibleDirectionError
from persona_interp.types import Hookpoint
from tests.small import StubModel, direction, provenance
from tests.unit.directions.formats.conftest import NAME, SHAPE, text_of


def rows(*numbers: int, width: int = 4) -> dict[str, np.ndarray]:
    return {f"direction.{n}": np.full(width, n + 1.0, dtype=np.float32) for n in numbers}


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
        "foreign.gguf does not say what its layer numbers count (1..2, tiny-a has 3 layers, and both ways fit).\n"
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
    conventions: list[Convention] = ["block_output", "hidden_state"]
    for convention in conventions:
        call = partial(load_gguf, path, SHAPE, trait="loud", convention=convention)
        assert text_of(AlignmentError, call) == (
            "foreign.gguf has layers 1..4; the blocks of tiny-a run 0..2.\n  The file belongs to another model."
        )


def test_a_file_that_says_its_convention_is_believed_over_the_caller(tmp_path: Path):
    save_gguf(direction(torch.ones(2, 4), hookpoints=(Hookpoint(1), Hookpoint(2))), tmp_path / "a.gguf")
    text = text_of(AlignmentError, lambda: load_gguf(tmp_path / "a.gguf", SHAPE, convention="hidden_state"))
    assert text.splitlines()[0] == (
        "a.gguf says that its layers are numbered as block_output, got convention=hidden_state."
    )


def test_the_weights_of_a_model_are_no_direction(control_vector: Callable[..., Path]):
    path = control_vector(rows(1), architecture="llama")
    assert text_of(ArtefactError, lambda: load_gguf(path, SHAPE)).startswith(
        "foreign.gguf has the architecture 'llama'."
    )


def test_what_must_be_named(saved: Callable[..., Path]):
    path = saved(torch.ones(4, 4), "vector.pt")
    assert text_of(ConfigError, lambda: load_persona_vectors(path, SHAPE)) == (
        "vector.pt does not say which trait it holds.\n  Name it: trait=... (--trait NAME)."
    )
    assert load_persona_vectors(path, SHAPE, trait="loud").trait == "loud"
    with pytest.raises(ConfigError, match=r"are numbered in one way only, got 'hidden_state'"):
        load_foreign(path, "persona-vectors", SHAPE, trait="loud", convention="hidden_state")
    with pytest.raises(ConfigError, match=r"n_layers must be 1 to 1000000, got 0"):
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
