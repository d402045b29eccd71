from pathlib import Path

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from persona_interp.activations.store import Activations, hookpoints_from_list, hookpoints_to_list
from persona_interp.errors import AlignmentError, ArtefactError, EmptySelectionError
from persona_interp.types import Hookpoint
from tests.small import activations, provenance


@pytest.fixture
def some() -> Activations:
    values = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    values[1, 0] = torch.nan
    samples = pd.DataFrame({"question": ["a", "b", "c"], "side": ["positive", "negative", "positive"]})
    hookpoints = (Hookpoint(1), Hookpoint(2, "mlp_out"))
    return activations(values, samples=samples, hookpoints=hookpoints, norms=torch.arange(6.0).reshape(3, 2))


@pytest.mark.parametrize("normed", [True, False])
def test_save_and_load(tmp_path: Path, some: Activations, normed: bool):
    if not normed:
        some = activations(some.values, samples=some.samples, hookpoints=some.hookpoints)
    some.save(tmp_path / "a.safetensors")
    loaded = Activations.load(tmp_path / "a.safetensors")
    assert torch.equal(loaded.values.nan_to_num(-9.0), some.values.nan_to_num(-9.0))
    assert loaded.values.dtype == torch.float32
    assert (loaded.hookpoints, loaded.pooling) == (some.hookpoints, some.pooling)
    assert loaded.provenance == some.provenance
    assert_frame_equal(loaded.samples, some.samples)
    assert (loaded.norms is not None) == normed
    if loaded.norms is not None and some.norms is not None:
        assert torch.equal(loaded.norms, some.norms)


def test_altered_values_are_refused(tmp_path: Path, some: Activations):
    path = tmp_path / "a.safetensors"
    some.save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match="does not match its manifest"):
        Activations.load(path)


def test_samples_that_are_gone_are_named(tmp_path: Path, some: Activations):
    some.save(tmp_path / "a.safetensors")
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ArtefactError, match=r"a\.parquet does not exist"):
        Activations.load(tmp_path / "a.safetensors")


def test_selection_keeps_rows_together(some: Activations):
    chosen = some.select(pd.Series([True, False, True], index=[7, 8, 9]))
    assert torch.equal(chosen.values, some.values[[0, 2]])
    assert chosen.norms is not None and chosen.norms.tolist() == [[0, 1], [4, 5]]
    assert chosen.samples["question"].tolist() == ["a", "c"] and chosen.samples.index.tolist() == [0, 1]
    assert chosen.provenance == some.provenance and len(chosen) == 2


def test_empty_selection(some: Activations):
    with pytest.raises(EmptySelectionError) as caught:
        some.select([False] * 3)
    assert str(caught.value) == (
        "none of 3 samples is left after the selection.\n  Loosen the filter or make more rollouts."
    )


@pytest.mark.parametrize("n_samples, n_hookpoints", [(2, 2), (3, 1)])
def test_rows_and_hookpoints_must_match(n_samples: int, n_hookpoints: int):
    with pytest.raises(AlignmentError) as caught:
        activations(
            torch.zeros(3, 2, 4),
            samples=pd.DataFrame({"x": range(n_samples)}),
            hookpoints=tuple(map(Hookpoint, range(n_hookpoints))),
            provenance=provenance(),
        )
    assert str(caught.value) == (
        f"got activations of shape (3, 2, 4) with {n_samples} samples and {n_hookpoints} hookpoints.\n"
        "  Give one sample a row and one hookpoint a layer."
    )


def test_hookpoints_as_json():
    hookpoints = (Hookpoint(0), Hookpoint(3, "attn_out"), Hookpoint(12, "resid_pre"))
    assert hookpoints_from_list(hookpoints_to_list(hookpoints)) == hookpoints
