"""Likeness of two models' trait geometry: planted likeness is found, its absence is not, and the interval is honest."""

import importlib
import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from persona_interp.directions.direction import Direction
from persona_interp.directions.geometry import cosines_by_depth
from persona_interp.effects import load_claims, load_effects
from persona_interp.errors import AlignmentError
from persona_interp.statistics.mantel import compare_geometry
from persona_interp.types import Hookpoint
from tests.small import direction, provenance

ROOT = Path(__file__).parents[2]
N_TRAITS = 7


def cosines(vectors: np.ndarray) -> np.ndarray:
    """One depth."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (unit @ unit.T)[None]


def two_models(rng: np.random.Generator, share: float, n_traits: int = N_TRAITS) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of traits whose places are common to both models up to a share, in widths of their own."""
    common = rng.standard_normal((n_traits, 6))
    sides = []
    for width in (40, 56):
        own = np.sqrt(share) * common + np.sqrt(1 - share) * rng.standard_normal(common.shape)
        sides.append(cosines(own @ np.linalg.qr(rng.standard_normal((width, 6)))[0].T))
    return sides[0], sides[1]


def test_a_rotation_into_another_width_changes_nothing():
    a, b = two_models(np.random.default_rng(0), 1.0)
    found = compare_geometry(a, b)
    assert found.estimate[0] == pytest.approx(1)
    assert (found.n_pairs, found.n_null) == (21, 5040)
    assert found.p[0] == found.p_max == pytest.approx(1 / 5040)


def test_it_is_mantels_test_as_written_out():
    a, b = two_models(np.random.default_rng(1), 0.7, n_traits=5)
    upper = np.triu_indices(5, 1)
    for name in ("pearson", "spearman"):

        def plain(x: np.ndarray, y: np.ndarray, name: str = name) -> float:
            return np.corrcoef(x, y)[0, 1] if name == "pearson" else spearmanr(x, y).statistic

        null = [plain(a[0][upper], b[0][np.ix_(names, names)][upper]) for names in map(list, permutations(range(5)))]
        found = compare_geometry(a, b, correlation=name)
        assert found.estimate[0] == pytest.approx(null[0])
        assert found.p[0] == pytest.approx(np.mean(np.array(null) >= null[0] - 1e-9))
        assert found.null_95[0] == pytest.approx(np.quantile(null, 0.95))
        kept = [np.delete(np.arange(5), trait) for trait in range(5)]
        without = [
            plain(a[0][np.ix_(k, k)][np.triu_indices(4, 1)], b[0][np.ix_(k, k)][np.triu_indices(4, 1)]) for k in kept
        ]
        assert (found.loo_low[0], found.loo_high[0]) == pytest.approx((min(without), max(without)))


def test_unrelated_models_are_called_alike_as_often_as_stated_with_the_best_of_many_depths():
    """Eight depths, half common to all of them: looking for the best depth does not raise the error rate."""
    rng, n_sets = np.random.default_rng(2), 150
    below = np.zeros(2)
    for _ in range(n_sets):
        a, b = (
            np.concatenate([cosines(base + rng.standard_normal(base.shape)) for _ in range(8)])
            for base in rng.standard_normal((2, 6, 12))
        )
        found = compare_geometry(a, b)
        below += found.p_max <= 0.05, found.p.min() <= 0.05
    spread = 3.5 * np.sqrt(0.05 * 0.95 / n_sets)
    assert below[0] / n_sets < 0.05 + spread
    assert below[1] / n_sets > 0.05 + spread  # what the uncorrected best depth would claim


def test_planted_likeness_is_found_and_the_interval_covers_it_as_documented():
    """A likeness of 0.68 over endless traits, seven of them seen."""
    rng, n_sets = np.random.default_rng(3), 200
    a, b = two_models(rng, 0.85, n_traits=600)
    upper = np.triu_indices(600, 1)
    truth = np.corrcoef(a[0][upper], b[0][upper])[0, 1]
    found = [compare_geometry(*two_models(rng, 0.85)) for _ in range(n_sets)]
    assert truth == pytest.approx(0.68, abs=0.03)
    assert np.mean([one.p[0] <= 0.05 for one in found]) > 0.85
    assert np.mean([one.low[0] <= truth <= one.high[0] for one in found]) >= 0.95
    assert np.mean([one.high[0] - one.low[0] < 1.5 for one in found]) > 0.5  # wide, yet it says something
    assert np.mean([one.loo_low[0] <= truth <= one.loo_high[0] for one in found]) < 0.7  # a range is no interval


def planted(vectors: torch.Tensor, model: str, *, normed: torch.Tensor | None = None) -> Direction:
    """A direction with an embedding row in front, which must not count."""
    n_layers = len(vectors) - 1
    places = (Hookpoint(0, "resid_pre"), *map(Hookpoint, range(n_layers)))
    owner = provenance(model=model, n_layers=n_layers, d_model=vectors.shape[1], weights=model)
    return direction(vectors if normed is None else normed, hookpoints=places, provenance=owner)


def test_cosines_lie_at_the_depth_of_their_block_and_between_blocks_on_a_line():
    angles = torch.tensor([9.0, 0.0, 0.5, 1.0, 1.5])  # the first row is the embedding
    turning = torch.stack([angles.cos(), angles.sin()], dim=1)
    fixed = torch.tensor([1.0, 0.0]).repeat(5, 1)
    at = cosines_by_depth({"fixed": planted(fixed, "m"), "turning": planted(turning, "m")}, [0.25, 0.5, 0.625, 1.0])
    expected = [1.0, np.cos(0.5), (np.cos(0.5) + np.cos(1.0)) / 2, np.cos(1.5)]
    np.testing.assert_allclose(at[:, 0, 1], expected, atol=1e-6)
    np.testing.assert_allclose(at[:, 0, 0], 1)


def test_what_has_no_common_angle_or_depth_is_refused():
    some = planted(torch.randn(5, 2), "m")
    with pytest.raises(AlignmentError, match="directions of m and n have no common angles"):
        cosines_by_depth({"a": some, "b": planted(torch.randn(5, 2), "n")}, [0.5])
    with pytest.raises(AlignmentError, match=r"directions of m share, .*, got 0.1 to 0.5"):
        cosines_by_depth({"a": some, "b": some}, [0.1, 0.5])
    with pytest.raises(AlignmentError, match="Give 5 traits or more"):
        compare_geometry(np.ones((1, 4, 4)), np.ones((1, 4, 4)))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(ROOT / "analyses"))
    return importlib.import_module("trait_geometry")


def test_the_analysis_finds_planted_likeness_in_files_and_draws_it(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Three models: two of one geometry, the third of another; a last row that would undo it is not looked at."""
    generator = torch.Generator().manual_seed(4)
    common = torch.randn(N_TRAITS, 5, generator=generator)
    config = script.CONFIG
    shapes = [replace(shape, n_layers=20 + 4 * i, d_model=30 + i) for i, shape in enumerate(config.shapes)]
    for shape in shapes:
        own = torch.randn(N_TRAITS, 5, generator=generator) if shape.name == "gpt-oss-20b" else common
        turn = torch.linalg.qr(torch.randn(shape.d_model, 5, generator=generator))[0]
        for trait, place in zip(config.traits, own, strict=True):
            rows = (turn @ place).repeat(shape.n_layers + 1, 1)
            rows[0], rows[-1] = torch.randn(2, shape.d_model, generator=generator)
            (tmp_path / shape.name).mkdir(exist_ok=True)
            torch.save(rows, tmp_path / shape.name / f"{trait}_response_avg_diff.pt")
    monkeypatch.setattr(script, "CONFIG", replace(config, shapes=tuple(shapes)))
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["trait_geometry.py", "--vectors", str(tmp_path), "--out", str(out)])
    assert script.main() == 0
    effects, claims = load_effects(out), load_claims(out).set_index("claim")
    pearson = effects[(effects["metric"] == "Pearson r of cosines") & (effects["n_family"] == 12)]
    alike = pearson[pearson["data"] == "Qwen3-4B and Qwen3-32B"]
    assert alike["estimate"].min() > 0.999
    assert alike["q"].max() < 0.01
    assert pearson.loc[pearson["data"] != "Qwen3-4B and Qwen3-32B", "q"].min() > 0.05
    assert claims.loc["Qwen3-4B and Qwen3-32B alike", "verdict"] == "holds"
    assert list(claims["verdict"]).count("undecided") == 2
    written = {path.name for path in out.iterdir()}
    assert {"cosines.csv", "effects.parquet", "claims.parquet", "provenance.json"} < written
    assert {"trait_cosines.png", "geometry_by_depth.pdf"} < written
    assert str(tmp_path) not in (out / "provenance.json").read_text()
    assert "Qwen3-4B and Qwen3-32B place 7 traits at similar angles" in capsys.readouterr().out


def test_without_vectors_the_analysis_says_where_they_come_from(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = ["trait_geometry.py", "--vectors", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert script.main() == 0
    said = capsys.readouterr().out
    assert "safety-research/persona_vectors" in said
    assert "--extra NAME=FOLDER" in said
    assert not (tmp_path / "out").exists()
