"""Planted truth for styles: a direction that the test adds is found, and random labels reject at their level."""

import numpy as np
import pytest
import torch
from torch import Tensor

from persona_interp.directions.style import extract_style_activations, style_vector, style_vectors
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.studies.styles.probe import PROBE, READOUTS, style_probe
from persona_interp.types import Edit, Hookpoint
from tests.contract.tiny import D_MODEL
from tests.golden.simulation import binomial_bounds
from tests.small import make_small
from tests.styles import corpus, planted


def unit(seed: int, width: int = D_MODEL) -> Tensor:
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HookedModelBase:
    folder = tmp_path_factory.mktemp("planted_style")
    make_small(folder)
    return load_model(folder, "nnsight", device="cpu")


def test_a_direction_added_to_activations_is_recovered() -> None:
    """Three styles of 60 sentences, moved at three places by three vectors: cosines, lengths and signs."""
    effect = torch.stack([3 * unit(layer, 40) for layer in range(3)])
    made = planted(np.random.default_rng(0), {"a": 60, "b": 60, "c": 60}, effect, style="a")
    found = style_vectors(made)
    for layer in range(2):
        truth = effect[layer + 1]  # the first row is that of the embeddings
        assert cosine(found["a"].at(layer), truth) > 0.9
        assert float(found["a"].at(layer) @ truth / truth.norm()) == pytest.approx(3, abs=0.5)
        assert cosine(found["b"].at(layer), truth) < -0.6
        assert cosine(found["a"].at(layer), effect[1 + (layer + 1) % 2]) < 0.5
    published = style_vector(made, "a", reading="published")
    assert cosine(published.at(1), effect[1]) > 0.9 and cosine(published.at(0), effect[0]) > 0.9


def test_a_direction_written_by_the_model_is_recovered(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model writes a vector at block 1 into every sentence that ends as those of one style do."""

    written = 6 * unit(7)
    warm_end = model.tokenizer("Oh, a warm lamp!")["input_ids"][-1]
    run = model.run

    def planting(batch, **options):
        shift = written * float(batch.ids[0, -1] == warm_end)
        edits = {Hookpoint(1): (Edit(lambda residual, mask: residual + mask[..., None] * shift),)}
        return run(batch, **{**options, "edits": edits})

    plain = style_vector(extract_style_activations(model, corpus(), progress=False), "warm")
    monkeypatch.setattr(model, "run", planting)
    found = style_vector(extract_style_activations(model, corpus(), batch_size=1, progress=False), "warm")
    assert cosine(found.at(1) - plain.at(1), written) > 0.99
    assert torch.allclose(found.at(0), plain.at(0), atol=1e-5), "it is not there before the block that writes it"


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [False, True])
def test_random_labels_reject_at_their_level(parallel: bool) -> None:
    """60 simulated corpora without any style: the largest AUC over layers is significant in about 5 % of them."""
    n, hits = 60, dict.fromkeys(READOUTS, 0)
    for seed in range(n):
        rng = np.random.default_rng(seed)
        sides = (
            planted(rng, {"a": 15, "b": 15}, torch.zeros(4, 8), style="a", start=start, parallel=parallel)
            for start in (0, 100)
        )
        table = style_probe(*sides, styles=["a"], n_null=99, seed=seed, progress=False)
        for readout in READOUTS:
            hits[readout] += table.loc[table["readout"] == readout, "p_max"].min() <= 0.05
    high = binomial_bounds(0.05, n)[1]
    assert all(count / n <= high for count in hits.values()), hits


def test_a_planted_style_is_significant_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    effect = torch.zeros(4, 8)
    effect[2, 0] = 3.0
    train, test = (
        planted(rng, {"a": 30, "b": 30, "c": 30}, effect, style="a", start=start) for start in (0, 100)
    )  # fmt: skip
    table = style_probe(train, test, n_null=199, progress=False)
    rows = table[(table["readout"] == PROBE) & (table["style"] == "a")]
    assert rows.loc[rows["layer"] == 1, "q"].item() < 0.05 and rows.loc[rows["layer"] != 1, "q"].min() > 0.05
