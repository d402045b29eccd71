"""The probe of styles: a fresh fit a layer, exact AUCs, its null, and refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.statistics.effects import auc_by_layer
from persona_interp.studies.styles.probe import PROBE, VECTOR, best_layers, shuffled_aucs, style_probe
from tests.small import provenance
from tests.styles import planted, style_activations, style_frame

SIZES = {"a": 12, "b": 12, "c": 12}
FAST = {"n_null": 49, "progress": False}


def sets(effect: torch.Tensor, seed: int = 0, **options: bool):
    rng = np.random.default_rng(seed)
    return (
        planted(rng, SIZES, effect, style="a", start=start, **options) for start in (0, 100)
    )  # fmt: skip


def layered_effect(layer: int, size: float = 4.0, n_layers: int = 4, width: int = 6) -> torch.Tensor:
    effect = torch.zeros(n_layers, width)
    effect[layer, 2] = size
    return effect


def test_it_is_found_at_its_layer_and_not_at_others() -> None:
    """Each layer has a fresh probe: rows of other layers in it would blur this."""
    train, test = sets(layered_effect(2))
    table = style_probe(train, test, styles=["a"], **FAST)
    for readout in (PROBE, VECTOR):
        rows = table[table["readout"] == readout].reset_index(drop=True)
        assert rows["auc"].idxmax() == 2 and rows["auc"][2] > 0.95
        assert rows["auc"].drop(2).max() < 0.85
        assert rows["p_max"][2] == pytest.approx(1 / 50)
        assert (rows["low"] <= rows["auc"]).all() and (rows["auc"] <= rows["high"]).all()
    assert table["stream"].tolist() == [*["resid_pre", *["resid_post"] * 3] * 2]
    assert table["layer"].tolist() == [0, 0, 1, 2] * 2
    assert (table[["n_train", "n_train_style", "n_test", "n_test_style"]] == [36, 12, 36, 12]).all(axis=None)


def test_too_few_draws_or_pairs_are_no_test() -> None:
    few = style_probe(*sets(layered_effect(2)), styles=["a"], n_null=18, progress=False)
    assert few[["p", "p_max", "q"]].isna().all(axis=None) and (few["declared"] == "no test").all()
    rng, sizes = np.random.default_rng(0), {"a": 4, "b": 4}
    train, test = (planted(rng, sizes, layered_effect(2), style="a", start=start, parallel=True) for start in (0, 100))
    pairs = style_probe(train, test, styles=["a"], n_null=99, progress=False)
    assert pairs[["p", "p_max", "q"]].isna().all(axis=None), "four pairs have sixteen arrangements"


def test_a_layer_does_not_depend_on_those_before_it() -> None:
    train, test = sets(layered_effect(3))
    whole = style_probe(train, test, styles=["a"], **FAST)
    alone = [
        style_activations(side.values[:, [3]], side.samples, hookpoints=side.hookpoints[3:]) for side in (train, test)
    ]
    last = style_probe(*alone, styles=["a"], **FAST)
    at = whole[(whole["layer"] == 2) & (whole["stream"] == "resid_post")].reset_index(drop=True)
    assert at["auc"].tolist() == last["auc"].tolist()


def test_every_style_has_its_rows_and_the_best_layer_is_a_block() -> None:
    effect = layered_effect(0)  # at the embeddings
    train, test = sets(effect)
    table = style_probe(train, test, **FAST)
    assert table.groupby(["style", "readout"]).size().tolist() == [4] * 6
    best = best_layers(table)
    assert len(best) == 6 and (best["stream"] == "resid_post").all()
    assert (table["q"] >= table["p_max"] - 1e-12).all()


@given(st.integers(0, 50))
def test_aucs_of_shuffled_labels_are_aucs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (9, 2)).astype(float)  # with ties
    labels = rng.permutation(np.arange(9) < 4)
    expected = auc_by_layer(scores[labels], scores[~labels])
    np.testing.assert_allclose(shuffled_aucs(scores, labels[None])[0], expected)


def test_labels_are_shuffled_within_pairs_of_a_parallel_corpus() -> None:
    """Where pairs differ far more than styles do, only a shuffle within pairs has a narrow null."""
    shift = 50 * torch.arange(12.0)[:, None, None].repeat(2, 2, 3)
    sizes, nulls = {"a": 12, "b": 12}, {}
    for parallel in (True, False):
        rng = np.random.default_rng(0)
        sides = [planted(rng, sizes, torch.zeros(2, 3), style="a", start=s, parallel=parallel) for s in (0, 100)]
        sides = [style_activations(side.values + shift, side.samples) for side in sides]
        nulls[parallel] = style_probe(*sides, styles=["a"], **FAST)["null_95"].max()
    assert nulls[True] < 0.6 < nulls[False]


def test_refusals() -> None:
    train, test = sets(layered_effect(1))
    with pytest.raises(AlignmentError, match="36 sentences are in training and in test, such as 'a 0'"):
        style_probe(train, train, **FAST)
    with pytest.raises(ConfigError, match="z cannot be told apart here: the sentences are of a, b, c"):
        style_probe(train, test, styles=["z"], **FAST)
    fewer = style_activations(test.values[:, :2], test.samples)
    with pytest.raises(AlignmentError, match="differ in hookpoints or model"):
        style_probe(train, fewer, **FAST)
    other = style_activations(test.values, test.samples, provenance=provenance(weights="bbbb"))
    with pytest.raises(AlignmentError, match="differ in hookpoints or model"):
        style_probe(train, other, **FAST)
    broken = test.values.clone()
    broken[0, 0, 0] = float("nan")
    with pytest.raises(AlignmentError, match="test activations are not all finite"):
        style_probe(train, style_activations(broken, test.samples), **FAST)
    with pytest.raises(AlignmentError, match="training activations have no column pair"):
        style_probe(style_activations(train.values, train.samples.drop(columns="pair")), test, **FAST)


def test_frames_are_numbered() -> None:
    assert style_frame({"a": 1, "b": 1}, parallel=True)["pair"].tolist() == ["0", "0"]
