"""Files as they were published, where they lie in the folder beside the checkout."""

from pathlib import Path

import pytest
import torch

from persona_interp.directions.direction import Direction
from persona_interp.directions.formats import (
    ModelShape,
    load_assistant_axis,
    load_persona_vectors,
    save_persona_vectors,
)
from persona_interp.errors import AlignmentError, IncompatibleDirectionError
from persona_interp.types import Hookpoint

VECTORS = Path(__file__).parents[4] / ".." / "shared" / "data" / "persona_vectors" / "vectors"
SHAPES = [
    ModelShape("Qwen3-4B", 36, 2560),
    ModelShape("Qwen3-32B", 64, 5120),
    ModelShape("gpt-oss-20b", 24, 2880),
]

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="the published vectors are not here")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_published_vectors_load_and_go_back_exactly(tmp_path: Path, shape: ModelShape):
    path = VECTORS / shape.name / "evil_response_avg_diff.pt"
    published = torch.load(path, weights_only=True)
    assert published.shape == (shape.n_layers + 1, shape.d_model)
    found = load_persona_vectors(path, shape)
    assert (found.trait, found.provenance.pooling) == ("evil", "response_mean")
    assert found.hookpoints[0] == Hookpoint(0, "resid_pre")
    assert found.hookpoints[-1] == Hookpoint(shape.n_layers - 2)
    assert torch.equal(found.at(10), published[11])
    found.save(tmp_path / "evil.safetensors")
    save_persona_vectors(Direction.load(tmp_path / "evil.safetensors"), tmp_path / "evil_response_avg_diff.pt")
    assert torch.equal(torch.load(tmp_path / "evil_response_avg_diff.pt", weights_only=True), published)


def test_the_norm_of_the_published_last_row_falls_as_a_final_norm_makes_it():
    for shape in SHAPES:
        norms = torch.load(VECTORS / shape.name / "evil_response_avg_diff.pt", weights_only=True).norm(dim=-1)
        assert norms[-1] < 0.6 * norms[-2]


def test_published_vectors_of_another_model_or_convention_are_refused():
    path = VECTORS / "Qwen3-4B" / "evil_response_avg_diff.pt"
    with pytest.raises(IncompatibleDirectionError, match="d_model 2560; Qwen3-32B has 5120"):
        load_persona_vectors(path, SHAPES[1])
    with pytest.raises(AlignmentError, match="37 rows; a-finetune has 37 layers"):
        load_persona_vectors(path, ModelShape("a-finetune", 37, 2560))
    with pytest.raises(AlignmentError, match='it may be "persona-vectors"'):
        load_assistant_axis(path, SHAPES[0])
