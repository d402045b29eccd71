import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from persona_interp.directions.direction import Direction, check_direction, rebind_direction
from persona_interp.errors import AlignmentError, ArtefactError, HookpointError, IncompatibleDirectionError
from persona_interp.io import sha256_file
from persona_interp.types import Hookpoint
from tests.small import StubModel, activations, direction, provenance


@pytest.fixture
def some() -> Direction:
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return direction(vectors, norms=torch.tensor([1.0, 2.0, 4.0]))


@pytest.mark.parametrize("normed", [True, False])
def test_save_and_load(tmp_path: Path, some: Direction, normed: bool):
    some = replace(
        some,
        hookpoints=(Hookpoint(2), Hookpoint(0, "mlp_out"), Hookpoint(1)),
        residual_norms=some.residual_norms if normed else None,
        provenance=provenance(versions={"torch": "2"}, details={"n_positive": 3}, seed=4, pooling="response_mean"),
    )
    some.save(tmp_path / "deep" / "loud.safetensors")
    loaded = Direction.load(str(tmp_path / "deep" / "loud.safetensors"))
    assert torch.equal(loaded.vectors, some.vectors)
    for name in ("hookpoints", "trait", "method", "positive_pole", "provenance"):
        assert getattr(loaded, name) == getattr(some, name)
    assert (loaded.residual_norms is None) == (not normed)
    if loaded.residual_norms is not None and some.residual_norms is not None:
        assert torch.equal(loaded.residual_norms, some.residual_norms)


def test_altered_and_truncated_files_are_refused(tmp_path: Path, some: Direction):
    path = tmp_path / "loud.safetensors"
    some.save(path)
    whole = path.read_bytes()
    for data in (whole[:-1], whole[:10], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(data)
        with pytest.raises(ArtefactError, match="does not match its manifest"):
            Direction.load(path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"hookpoints": (Hookpoint(0), Hookpoint(1), Hookpoint(1))}, "hookpoints must differ"),
        ({"hookpoints": (Hookpoint(0), Hookpoint(1), Hookpoint(7))}, "layers must be 0 to 2, got 7"),
        ({"hookpoints": (Hookpoint(-1), Hookpoint(1), Hookpoint(2))}, r"hookpoints\[0\]\.layer is a whole number, -1"),
        ({"provenance": provenance(d_model=5)}, "width must be 5, got 4"),
    ],
)
def test_a_file_that_no_model_could_have_made_is_refused(tmp_path: Path, some: Direction, changes: dict, fault: str):
    replace(some, **changes).save(tmp_path / "loud.safetensors")
    with pytest.raises(ArtefactError, match=fault):
        Direction.load(tmp_path / "loud.safetensors")


def saved_with(path: Path, some: Direction, **tensors: Tensor) -> Path:
    """A file of these tensors, with the manifest of a direction and the right hash."""
    some.save(path)
    save_file(tensors, path)
    manifest = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(manifest | {"sha256": sha256_file(path)}))
    return path


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ({"residual_norms": torch.ones(2)}, "one residual norm a vector, got 2 for 3"),
        ({"residual_norms": torch.ones(3, 1)}, r"residual_norms of .* has shape \[3, 1\]"),
        ({"residual_norms": torch.ones(3, dtype=torch.int64)}, "residual_norms of .* holds int64 values"),
        ({"residual_norms": torch.tensor([1.0, 0.0, 1.0])}, "its residual norms must be positive and finite"),
        ({"residual_norms": torch.tensor([1.0, -2.0, 1.0])}, "its residual norms must be positive and finite"),
        ({"residual_norms": torch.tensor([1.0, torch.nan, 1.0])}, "its residual norms must be positive and finite"),
        ({"vectors": torch.ones(3, 4, dtype=torch.bool)}, "vectors of .* holds bool values"),
        ({"vectors": torch.ones(3, 4, dtype=torch.int8)}, "vectors of .* holds int8 values"),
        ({"vectors": torch.full((3, 4), 1e300, dtype=torch.float64)}, "values that are too large for float32"),
        ({"vectors": torch.full((3, 4), torch.inf)}, "values that are not finite"),
        ({"vectors": torch.ones(2, 4)}, "a vector for each hookpoint, got 2 for 3"),
        ({"vectors": torch.ones(3, 0)}, "its width must be 4, got 0"),
        ({"vectors": torch.ones(())}, r"has shape \[\]"),
    ],
)
def test_tensors_that_are_no_direction_are_refused(tmp_path: Path, some: Direction, tensors: dict, fault: str):
    path = saved_with(tmp_path / "loud.safetensors", some, **({"vectors": some.vectors} | tensors))
    with pytest.raises(ArtefactError, match=fault):
        Direction.load(path)
    path = saved_with(tmp_path / "loud.safetensors", some, other=some.vectors)
    with pytest.raises(ArtefactError, match="has no tensor vectors.\n  It has other"):
        Direction.load(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read_as_float32(tmp_path: Path, some: Direction, dtype: torch.dtype):
    vectors = some.vectors.to(dtype)
    loaded = Direction.load(saved_with(tmp_path / "loud.safetensors", some, vectors=vectors)).vectors
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded.to(dtype), vectors)


@pytest.mark.parametrize("norms", [[1.0, 0.0, 1.0], [1.0, -1.0, 1.0], [1.0, torch.nan, 1.0]])
def test_norms_that_are_no_unit_are_refused(some: Direction, norms: list[float]):
    with pytest.raises(AlignmentError, match="residual norms of loud must be positive and finite"):
        replace(some, residual_norms=torch.tensor(norms))


def test_a_damaged_manifest_is_refused(tmp_path: Path, some: Direction):
    path, manifest = tmp_path / "loud.safetensors", tmp_path / "loud.json"
    some.save(path)
    manifest.write_text(manifest.read_text()[:-20])
    with pytest.raises(ArtefactError, match="is not valid JSON"):
        Direction.load(path)
    manifest.unlink()
    with pytest.raises(ArtefactError, match=r"loud\.json does not exist"):
        Direction.load(path)


def test_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    activations(torch.zeros(2, 3, 4)).save(path)
    with pytest.raises(ArtefactError) as caught:
        Direction.load(path)
    assert str(caught.value) == f"{tmp_path / 'a.json'} describes 'activations'.\n  Expected 'direction'."


def test_missing_file(tmp_path: Path):
    with pytest.raises(ArtefactError, match="does not exist"):
        Direction.load(tmp_path / "none.safetensors")


def test_another_model_is_refused_by_name(tmp_path: Path, some: Direction):
    some.save(tmp_path / "loud.safetensors")
    with pytest.raises(IncompatibleDirectionError) as caught:
        Direction.load(tmp_path / "loud.safetensors", StubModel(model="tiny-b", weights="bbbb", d_model=8))
    assert str(caught.value) == (
        "the direction loud (persona_vector) belongs to tiny-a (3 layers, d_model 4, weights aaaa),"
        " not to tiny-b (3 layers, d_model 8, weights bbbb).\n"
        "  Extract it again with this model; vectors of another model, or of other weights, mean nothing here.\n"
        "  To study transfer on purpose (a finetuned copy, say), bind it: rebind_direction(direction, model)."
    )


def test_equal_weights_are_the_same_model_whatever_its_name(tmp_path: Path, some: Direction):
    some.save(tmp_path / "loud.safetensors")
    other = StubModel(model="a-copy", backend="transformer_lens", dtype="bfloat16")
    assert Direction.load(tmp_path / "loud.safetensors", other).trait == "loud"


def test_rebinding_keeps_the_origin(some: Direction):
    finetuned = StubModel(model="tuned", weights="cccc")
    bound = rebind_direction(some, finetuned)
    check_direction(bound, finetuned)
    assert torch.equal(bound.vectors, some.vectors)
    assert bound.provenance.details["rebound_from"] == {"model": "tiny-a", "weights": "aaaa"}
    with pytest.raises(IncompatibleDirectionError):
        check_direction(bound, StubModel())


@pytest.mark.parametrize("shape", [{"n_layers": 4}, {"d_model": 8}])
def test_rebinding_to_another_shape_is_refused(some: Direction, shape: dict[str, int]):
    with pytest.raises(IncompatibleDirectionError) as caught:
        rebind_direction(some, StubModel(model="tuned", weights="cccc", **shape))
    there = f"{shape.get('n_layers', 3)} layers, d_model {shape.get('d_model', 4)}"
    assert str(caught.value) == (
        "the direction loud of tiny-a (3 layers, d_model 4, weights aaaa) does not fit"
        f" tuned ({there}, weights cccc).\n"
        "  Only models of equal layers and width can share a direction."
    )


def test_negation_turns_the_vectors_and_names_the_pole(some: Direction):
    opposite = -some
    assert torch.equal(opposite.vectors, -some.vectors)
    assert opposite.positive_pole == "not loud"
    assert opposite.residual_norms is some.residual_norms


def test_at(some: Direction):
    assert torch.equal(some.at(1), some.vectors[1])
    assert torch.equal(some.at(Hookpoint(2)), some.vectors[2])
    assert some.residual_norm(2) == 4.0
    for place, said in ((3, "resid_post at layer 3"), (Hookpoint(1, "mlp_out"), "mlp_out at layer 1")):
        with pytest.raises(HookpointError) as caught:
            some.at(place)
        assert str(caught.value) == (
            f"the direction loud has no vector for {said}.\n  It has resid_post at layer 0 … resid_post at layer 2."
        )


def test_norms_that_are_not_there():
    with pytest.raises(AlignmentError) as caught:
        direction(torch.ones(2, 4)).residual_norm(0)
    assert str(caught.value) == (
        "the direction loud (persona_vector) carries no residual norms.\n"
        '  Give coefficients in its own length: units="direction".'
    )


def test_projection_is_scalar_and_in_residual_units(some: Direction):
    values = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))
    projected = some.project(activations(values))
    for layer in range(3):
        vector = some.vectors[layer]
        torch.testing.assert_close(projected[:, layer], values[:, layer] @ vector / vector.norm())
    longer = replace(some, vectors=7 * some.vectors)
    torch.testing.assert_close(longer.project(activations(values)), projected)
    torch.testing.assert_close((-some).project(activations(values)), -projected)
    torch.testing.assert_close(some.unit().vectors.norm(dim=-1), torch.ones(3))


def test_projection_matches_hookpoints_by_name_not_by_place(some: Direction):
    values = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))
    turned = activations(values.flip(1), hookpoints=(Hookpoint(2), Hookpoint(1), Hookpoint(0)))
    torch.testing.assert_close(some.project(turned), some.project(activations(values)))


def test_projection_of_other_hookpoints_or_models_is_refused(some: Direction):
    values = torch.zeros(5, 2, 4)
    with pytest.raises(AlignmentError) as caught:
        some.project(activations(values))
    assert str(caught.value) == "the activations have no resid_post at layer 2, where loud has a vector."
    with pytest.raises(IncompatibleDirectionError, match="belongs to tiny-a .* not to tiny-b"):
        some.project(activations(torch.zeros(5, 3, 4), provenance=provenance(model="tiny-b", weights="bbbb")))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(some: Direction, bad: float):
    vectors = some.vectors.clone()
    vectors[1, 2] = bad
    with pytest.raises(AlignmentError) as caught:
        replace(some, vectors=vectors)
    assert str(caught.value) == "the direction loud has values that are not finite, at resid_post at layer 1."


def test_vectors_and_hookpoints_must_match(some: Direction):
    with pytest.raises(AlignmentError, match=r"^got 3 vectors and 2 hookpoints\.$"):
        replace(some, hookpoints=some.hookpoints[:2])


def test_the_manifest_says_what_the_file_is(tmp_path: Path, some: Direction):
    some.save(tmp_path / "loud.safetensors")
    manifest = json.loads((tmp_path / "loud.json").read_text())
    assert manifest["kind"] == "direction" and manifest["positive_pole"] == "loud"
    assert manifest["provenance"]["weights"] == "aaaa" and manifest["provenance"]["basis"] == "raw"
