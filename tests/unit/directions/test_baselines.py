import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression

from persona_interp.activations.store import Activations
from persona_interp.directions.baselines import (
    BASELINE_METHODS,
    BaselineMethod,
    check_baseline_method,
    fit_direction,
    matched_draws,
    random_directions,
)
from persona_interp.directions.geometry import cosine_table
from persona_interp.directions.pairing import paired_rows
from persona_interp.directions.persona import mean_difference
from persona_interp.directions.probes import LOGISTIC_C, lda_vectors, ledoit_wolf_shrinkage, logistic_vectors
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.statistics.null_directions import SHRINKAGE
from persona_interp.types import Hookpoint
from tests.small import activations, direction, provenance


def spread_out(n: int = 400) -> torch.Tensor:
    """Values around a far mean, with standard deviations 10, 3, 1 and 0.1 along turned axes."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    return torch.randn(n, 4, generator=generator) * torch.tensor([10.0, 3.0, 1.0, 0.1]) @ turn.T + 100


def test_draws_have_the_shrunken_covariance():
    values = spread_out()
    sample = torch.cov(values.T)
    expected = (1 - SHRINKAGE) * sample + SHRINKAGE * sample.diag().mean() * torch.eye(4)
    draws = matched_draws(values, 40_000, seed=1)
    assert (draws.mean(0).abs() < 0.2).all(), "the mean of the activations is not in the draws"
    assert ((torch.cov(draws.T) - expected).norm() / expected.norm()) < 0.03
    assert ((torch.cov(draws.T) - sample).norm() / sample.norm()) > 0.05, "no shrinkage would differ"


def test_seeds():
    values = spread_out(20)
    assert torch.equal(matched_draws(values, 3, seed=1), matched_draws(values, 3, seed=1))
    assert not torch.equal(matched_draws(values, 3, seed=1), matched_draws(values, 3, seed=2))


def test_random_directions_are_as_long_as_the_true_one():
    values = torch.stack([spread_out(30), spread_out(30).flip(1)], dim=1)
    values[7] = torch.nan
    like = direction(torch.tensor([[3.0, 0, 4, 0], [1, 1, 1, 1]]), norms=torch.tensor([5.0, 6.0]))
    made = random_directions(activations(values), Hookpoint(0), like=like, n=4, seed=3)
    assert len(made) == 4
    for i, one in enumerate(made):
        assert one.hookpoints == (Hookpoint(0),) and one.vectors.shape == (1, 4)
        torch.testing.assert_close(one.vectors.norm(), torch.tensor(5.0))
        assert one.residual_norm(0) == 5.0
        assert (one.method, one.positive_pole) == ("random", f"random direction {i}")
        assert one.provenance.weights == like.provenance.weights
        assert one.provenance.method == "random" and one.provenance.details["null_seed"] == 3
    assert len({tuple(one.vectors.flatten().tolist()) for one in made}) == 4


def test_random_directions_follow_the_spread():
    values = spread_out()[:, None]
    like = direction(torch.ones(1, 4))
    main = torch.linalg.svd(values[:, 0] - values[:, 0].mean(0), full_matrices=False).Vh[0]
    made = random_directions(activations(values), Hookpoint(0), like=like, n=50, seed=0)
    cosines = torch.stack([(one.unit().vectors[0] @ main).abs() for one in made])
    assert cosines.median() > 0.8, "isotropic draws would have a median near 0.4"


def test_with_poles_random_directions_leave_out_the_trait():
    """Where the poles are far apart, their difference is most of the variance, and no variation inside them."""
    poles = np.repeat(["a", "b"], 20)
    noise = torch.randn(40, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = noise + torch.tensor([20.0, 0, 0, 0]) * torch.from_numpy(poles == "a")[:, None]
    before = values.clone()
    cosines = {
        given: torch.nn.functional.normalize(matched_draws(values, 400, seed=0, poles=given_poles), dim=-1)[:, 0].abs()
        for given, given_poles in (("all", None), ("within", poles))
    }
    assert cosines["all"].median() > 0.9
    assert cosines["within"].median() < 0.6
    assert torch.equal(values, before)


def test_cosines_and_their_null():
    values = spread_out()[:, None]
    directions = {
        "a": direction(torch.tensor([[1.0, 0, 0, 0]])),
        "b": direction(torch.tensor([[-2.0, 0, 0, 0]])),
        "c": direction(torch.tensor([[3.0, 4, 0, 0]])),
    }
    table = cosine_table(directions, Hookpoint(0), activations(values), seed=0)
    cosines = table.pivot(index="trait_a", columns="trait_b", values="cosine").to_numpy()
    torch.testing.assert_close(
        torch.tensor(cosines), torch.tensor([[1.0, -1.0, 0.6], [-1.0, 1.0, -0.6], [0.6, -0.6, 1.0]]), check_dtype=False
    )
    assert (table["layer"] == 0).all() and table["null_95"].nunique() == 1
    even = torch.randn(400, 1, 4, generator=torch.Generator().manual_seed(0))
    isotropic = cosine_table(directions, Hookpoint(0), activations(even), seed=0)
    assert isotropic["null_95"][0] < 0.95 < table["null_95"][0]


def side(shift: float, *, seed: int, n: int = 24) -> Activations:
    """Correlated features around a far mean, moved along axis 1; question effects that both sides share."""
    generator = torch.Generator().manual_seed(seed)
    frame = pd.DataFrame({"question": [f"q{i % 8}" for i in range(n)], "instruction": [i // 8 for i in range(n)]})
    frame["sample"] = 0
    values = torch.randn(n, 2, 6, generator=generator) * torch.tensor([3.0, 1, 1, 1, 1, 0.5]) + 40
    values[:, :, 2] += 0.8 * values[:, :, 1]
    values[:, :, 1] += shift
    return activations(values, samples=frame, norms=torch.full((n, 2), 9.0))


POSITIVE, NEGATIVE = side(2.0, seed=1), side(0.0, seed=2)


def rows(layer: int) -> tuple[np.ndarray, np.ndarray]:
    return POSITIVE.values[:, layer].double().numpy(), NEGATIVE.values[:, layer].double().numpy()


@pytest.mark.parametrize("method", BASELINE_METHODS)
def test_every_baseline_has_the_length_of_the_mean_difference_and_its_side(method: BaselineMethod):
    fitted, plain = (fit_direction(name, POSITIVE, NEGATIVE, trait="loud") for name in (method, "mean_difference"))
    reference = mean_difference(POSITIVE, NEGATIVE, trait="loud")
    torch.testing.assert_close(plain.vectors, reference.vectors, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fitted.vectors.norm(dim=-1), reference.vectors.norm(dim=-1))
    assert ((fitted.vectors * reference.vectors).sum(-1) > 0).all()
    assert (fitted.hookpoints, fitted.trait, fitted.method) == (reference.hookpoints, "loud", method)
    assert (fitted.provenance.method, fitted.provenance.method_version) == (method, 1)
    assert fitted.provenance.details["n_positive"] == 24
    assert fitted.residual_norm(1) == 9.0
    again = fit_direction(method, POSITIVE, NEGATIVE, trait="loud")
    assert torch.equal(again.vectors, fitted.vectors)


def test_lda_is_the_inverse_of_the_shrunken_covariance_times_the_difference():
    positive, negative = rows(0)
    within = np.concatenate([positive - positive.mean(0), negative - negative.mean(0)])
    covariance, shrinkage = ledoit_wolf(within, assume_centered=True)
    gram = torch.from_numpy(within @ within.T)[None]
    assert float(ledoit_wolf_shrinkage(gram, 6)[0]) == pytest.approx(shrinkage)
    expected = torch.from_numpy(np.linalg.solve(covariance, positive.mean(0) - negative.mean(0)))
    found = lda_vectors(torch.from_numpy(positive)[None], torch.from_numpy(negative)[None])[0]
    assert float(torch.cosine_similarity(found, expected, dim=0)) == pytest.approx(1)


@pytest.mark.parametrize("width", [6, 100])
def test_logistic_is_scikit_learns_on_standardised_features(width: int):
    generator = np.random.default_rng(0)
    positive, negative = generator.standard_normal((2, 15, width)) * np.geomspace(0.1, 5, width)
    positive[:, 0] += 0.2
    both = np.concatenate([positive, negative])
    scale = both.std(0, ddof=1)
    probe = LogisticRegression(C=LOGISTIC_C, tol=1e-10, max_iter=10_000).fit(
        (both - both.mean(0)) / scale, [1] * 15 + [0] * 15
    )
    expected = torch.from_numpy(probe.coef_[0] / scale)
    found = logistic_vectors(torch.from_numpy(positive)[None], torch.from_numpy(negative)[None])[0]
    assert float(torch.cosine_similarity(found, expected, dim=0)) == pytest.approx(1, abs=1e-6)


def test_pca_is_the_first_axis_of_the_paired_differences_about_the_origin():
    shuffled = np.random.default_rng(0).permutation(24)
    moved = activations(
        NEGATIVE.values[shuffled], samples=NEGATIVE.samples.iloc[shuffled].reset_index(drop=True), norms=NEGATIVE.norms
    )
    fitted = fit_direction("pca", POSITIVE, moved, trait="loud")
    for layer in range(2):
        positive, negative = rows(layer)
        axis = torch.from_numpy(np.linalg.svd(positive - negative)[2][0]).float()
        assert float(torch.cosine_similarity(fitted.vectors[layer], axis, dim=0).abs()) == pytest.approx(1, abs=1e-5)
    assert fitted.provenance.details["pairing"] == "question, instruction, sample"
    assert fitted.provenance.details["n_pairs"] == 24


def test_pairs_share_what_the_samples_say_and_are_random_otherwise():
    ours = pd.DataFrame({"question": ["a", "a", "b", "c"], "sample": [0, 1, 0, 0]})
    theirs = pd.DataFrame({"question": ["b", "a", "a", "a"], "sample": [0, 1, 0, 0]})
    pairs, pairing = paired_rows(ours, theirs, seed=0)
    assert pairing == "question, sample"
    assert pairs[:, 0].tolist() == [0, 1, 2] and pairs[1:].tolist() == [[1, 1], [2, 0]] and pairs[0, 1] in (2, 3)
    bare, other = (paired_rows(ours[[]], theirs[[]], seed=seed) for seed in (0, 1))
    assert bare[1] == "random" and len(bare[0]) == 4
    assert not torch.equal(bare[0], other[0]) and torch.equal(bare[0], paired_rows(ours[[]], theirs[[]], seed=0)[0])
    none, pairing = paired_rows(ours, theirs.assign(question="elsewhere"), seed=0)
    assert pairing == "random" and len(none) == 4


def test_random_follows_its_seed():
    one, two = (fit_direction("random", POSITIVE, NEGATIVE, trait="loud", seed=seed) for seed in (1, 2))
    assert not torch.equal(one.vectors, two.vectors)
    assert one.provenance.details["null_seed"] == 1


def test_rows_that_are_not_finite_are_left_out():
    values = NEGATIVE.values.clone()
    values[3, 1, 2] = torch.nan
    holed = activations(values, samples=NEGATIVE.samples, norms=NEGATIVE.norms)
    without = NEGATIVE.select(np.arange(24) != 3)
    for method in BASELINE_METHODS:
        one, two = (fit_direction(method, POSITIVE, other, trait="loud") for other in (holed, without))
        assert torch.equal(one.vectors, two.vectors)
        assert one.provenance.details["n_negative"] == 23


def test_a_hookpoint_where_nothing_varies_has_a_zero_vector():
    flat = [activations(each.values.clone(), samples=each.samples) for each in (POSITIVE, NEGATIVE)]
    for each in flat:
        each.values[:, 0] = 1.0
    for method in BASELINE_METHODS:
        vectors = fit_direction(method, *flat, trait="loud").vectors
        assert (vectors[0] == 0).all() and vectors[1].norm() > 0


def test_sides_with_one_mean_have_no_direction():
    same = activations(POSITIVE.values * 0, samples=POSITIVE.samples)
    with pytest.raises(EmptySelectionError, match="the same mean at every hookpoint"):
        fit_direction("mean_difference", same, same, trait="loud")


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="no baseline is called 'svm'"):
        check_baseline_method("svm")
    with pytest.raises(EmptySelectionError, match="none of 24 rows for loud is finite"):
        fit_direction("pca", activations(POSITIVE.values * torch.nan, samples=POSITIVE.samples), NEGATIVE, trait="loud")
    with pytest.raises(AlignmentError, match="come from different models"):
        other = activations(NEGATIVE.values, samples=NEGATIVE.samples, provenance=provenance(weights="bbbb"))
        fit_direction("lda", POSITIVE, other, trait="loud")
