"""Effects and claims of trait geometry say what was compared, and are made from the saved cosines alone."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from persona_interp.effects import load_claims, load_effects
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.io import write_json
from persona_interp.statistics.mantel import compare_geometry
from persona_interp.studies.trait_geometry.config import GeometryConfig
from persona_interp.studies.trait_geometry.effects import AT_DEPTH, geometry_claims, geometry_effects
from persona_interp.studies.trait_geometry.figures import draw_trait_geometry
from persona_interp.studies.trait_geometry.run import saved_cosines, write_geometry_effects

TRAITS, DEPTHS = tuple("abcdef"), (0.25, 0.5, 0.75)
MIDDLE = 1


def cosines(seed: int, *, like: np.ndarray | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((len(DEPTHS), len(TRAITS), 9)) * 0.1
    vectors += rng.standard_normal((len(TRAITS), 9)) if like is None else like
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit @ unit.transpose(0, 2, 1)


def saved(folder: Path) -> Path:
    places = np.random.default_rng(9).standard_normal((len(TRAITS), 9))
    models = {"one": cosines(0, like=places), "two": cosines(1, like=places), "apart": cosines(2)}
    pairs = list(combinations(range(len(TRAITS)), 2))
    rows = [
        (name, depth, TRAITS[i], TRAITS[j], at[i, j])
        for name, model in models.items()
        for depth, at in zip(DEPTHS, model, strict=True)
        for i, j in pairs
    ]
    frame = pd.DataFrame(rows, columns=["model", "depth", "trait_a", "trait_b", "cosine"])
    frame.to_csv(folder / "cosines.csv", index=False)
    config = {"mid_depth": DEPTHS[MIDDLE], "correlations": ["pearson", "spearman"]}
    write_json(folder / "provenance.json", {"config": config, "sha256": {}})
    write_geometry_effects(folder)
    return folder


def test_effects_are_what_comparing_the_matrices_gives(tmp_path: Path):
    effects = load_effects(saved(tmp_path))
    places = np.random.default_rng(9).standard_normal((len(TRAITS), 9))
    expected = compare_geometry(cosines(0, like=places), cosines(2))
    rows = effects[(effects["data"] == "one and apart") & (effects["metric"] == "Pearson r of cosines")]
    at = rows[rows["test"] == AT_DEPTH]
    for column, values in (("estimate", expected.estimate), ("low", expected.low), ("null_high", expected.null_95)):
        np.testing.assert_allclose(at[column].to_numpy(float), values, atol=1e-9)
    (best,) = rows[rows["test"] != AT_DEPTH].to_dict("records")
    assert best["p"] == pytest.approx(expected.p_max)
    assert best["depth"] == DEPTHS[int(expected.estimate.argmax())]
    assert np.isnan(best["low"])
    assert (best["n"], best["n_cluster"], best["n_null"]) == (15, 6, 720)


def test_only_the_depth_named_before_and_the_best_are_corrected_and_claimed(tmp_path: Path):
    effects, claims = load_effects(saved(tmp_path)), load_claims(tmp_path)
    tested = effects[effects["q"].notna()]
    assert set(tested["condition"]) == {"depth 0.5", "best of 3 depths"}
    assert set(tested["n_family"]) == {3 * 2 * 2}
    assert dict(zip(claims["claim"], claims["verdict"], strict=True)) == {
        "one and two alike": "holds",
        "one and apart alike": "undecided",
        "two and apart alike": "undecided",
    }
    assert claims.loc[1, "sentence"].startswith("one and apart are not shown to place 6 traits")


def test_a_likeness_below_zero_is_excluded_in_words():
    found = compare_geometry(cosines(0), cosines(0))
    opposite = replace(found, estimate=-found.estimate, low=-found.estimate - 0.01, high=-found.estimate + 0.01)
    effects = geometry_effects([("a", "b", "pearson", opposite)], depths=DEPTHS, mid_depth=0.5, n_traits=6)
    (claim,) = geometry_claims(effects, [1.0] * len(effects))
    assert claim.verdict == "does not"
    assert "a and b do not place 6 traits" in claim.sentence


def test_the_figures_show_the_effects(tmp_path: Path):
    effects = load_effects(saved(tmp_path))
    maps, curves = draw_trait_geometry(effects, saved_cosines(tmp_path), mid_depth=0.5)
    assert [ax.get_title() for ax in curves.figure.axes] == ["one\nand two", "one\nand apart", "two\nand apart"]
    first = effects[(effects["data"] == "one and two") & (effects["metric"] == "Pearson r of cosines")]
    lines = {str(line.get_label()): line for line in curves.figure.axes[0].lines}
    shown = first[first["test"] == AT_DEPTH]["estimate"].tolist()
    assert list(lines["correlation over pairs of traits"].get_ydata()) == shown  # pyright: ignore
    largest = first[first["test"] != AT_DEPTH]["null_high"].iloc[0]
    assert set(lines["null, maximum over depths, 95 %"].get_ydata()) == {largest}  # pyright: ignore
    assert set(maps.frame["depth"]) == {0.5}
    plt.close("all")


def test_cosines_that_are_not_whole_are_refused(tmp_path: Path):
    saved(tmp_path)
    path = tmp_path / "cosines.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(ArtefactError, match="not one cosine of apart for every pair"):
        write_geometry_effects(tmp_path)
    write_json(tmp_path / "provenance.json", {"config": {}})
    with pytest.raises(ArtefactError, match="does not say mid_depth and correlations"):
        write_geometry_effects(tmp_path)


def test_claims_are_at_a_depth_that_is_compared():
    with pytest.raises(ConfigError, match=r"mid_depth must be one of the depths.*got 0.4 of 0.25, 0.5"):
        GeometryConfig(shapes=(), traits=TRAITS, depths=DEPTHS, mid_depth=0.4)
