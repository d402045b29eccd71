import torch

from persona_interp.directions.baselines import SHRINKAGE, matched_draws, random_directions
from persona_interp.directions.geometry import cosine_table
from persona_interp.types import Hookpoint
from tests.small import activations, direction


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
