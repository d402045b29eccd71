"""What a format cannot hold is not written."""

from pathlib import Path

import pytest
import torch

from persona_interp.directions.formats import (
    load_gguf,
    save_assistant_axis,
    save_easysteer,
    save_gguf,
    save_persona_vectors,
    save_steering_vectors,
)
from persona_interp.errors import AlignmentError, ArtefactError
from persona_interp.types import Hookpoint
from tests.small import direction
from tests.unit.directions.formats.conftest import SHAPE, text_of


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
