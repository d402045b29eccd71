"""A planted sparse combination of decoder vectors is recovered; nulls have uniform ranks; what is saved is loaded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.directions.sae.decompose import decompose, decomposition_null
from persona_interp.directions.sae.decomposition import SAEDecomposition
from persona_interp.directions.sae.pursuit import fit, left_over, pursue
from persona_interp.errors import (
    AlignmentError,
    ArtefactError,
    ConfigError,
    HookpointError,
    IncompatibleDirectionError,
)
from persona_interp.types import Hookpoint
from tests.small import StubModel, activations, direction, provenance
from tests.unit.directions.sae.dictionaries import dictionary

WIDTH, N = 64, 200


def decoder(seed: int = 0, n: int = N) -> Tensor:
    rows = torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=-1) * torch.linspace(0.5, 2, n)[:, None]


def at_layer_1(vector: Tensor, **changes: Any) -> Direction:
    return direction(torch.stack([torch.zeros_like(vector), vector]), **changes)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 5), non_negative=st.booleans())
def test_a_planted_sparse_combination_is_recovered_exactly(seed: int, k: int, non_negative: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = decoder()
    planted = torch.randperm(N, generator=generator)[:k].tolist()
    sizes = 1 + torch.rand(k, generator=generator)
    signs = torch.ones(k) if non_negative else torch.where(torch.rand(k, generator=generator) < 0.5, -1.0, 1.0)
    coefficients = signs * sizes / rows[planted].norm(dim=-1)
    made = decompose(
        at_layer_1(coefficients @ rows[planted]),
        dictionary(rows),
        method="pursuit",
        n_latents=12,
        non_negative=non_negative,
    )
    known = dict(zip(made.latents, made.coefficients.tolist(), strict=True))
    assert set(planted) <= set(known)
    for latent, value in zip(planted, coefficients.tolist(), strict=True):
        assert known[latent] == pytest.approx(value, abs=1e-4)
    assert all(abs(value) < 1e-4 for latent, value in known.items() if latent not in planted)
    assert made.fvu < 1e-8


def test_pursuit_ends_where_the_vector_is_reached() -> None:
    rows = decoder()
    made = decompose(at_layer_1(2 * rows[5] - 3 * rows[70]), dictionary(rows), method="pursuit", n_latents=20)
    assert sorted(made.latents) == [5, 70]
    assert made.fvu_curve[-1] < 1e-10


def test_curves_fall_and_end_where_all_coefficients_leave_them() -> None:
    rows, vectors = decoder(), torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    for non_negative in (False, True):
        found = pursue(vectors, rows, 10, non_negative=non_negative)
        assert (np.diff(found.left, axis=1) <= 1e-12).all()
        for vector, atoms, left in zip(vectors, found.atoms, found.left, strict=True):
            chosen = rows[atoms]
            again = left_over(vector[None], chosen, non_negative=non_negative)[0]
            np.testing.assert_allclose(again, left, atol=1e-9)
            coefficients = fit(vector, chosen, non_negative=non_negative)
            rest = float((vector - coefficients @ chosen).square().sum() / vector.square().sum())
            assert rest == pytest.approx(left[-1], abs=1e-5)
            assert not non_negative or (coefficients >= 0).all()


def test_rows_that_depend_on_others_leave_as_much() -> None:
    rows = decoder(n=3)
    several = torch.cat([rows, rows[:1] * 2, torch.zeros(1, WIDTH)])
    left = left_over(torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(2)), several)[0]
    assert left[2] == pytest.approx(left[3]) == pytest.approx(left[4])


def test_the_papers_way_ranks_by_cosine() -> None:
    rows, vector = decoder(), torch.randn(WIDTH, generator=torch.Generator().manual_seed(3))
    made = decompose(at_layer_1(vector), dictionary(rows), n_latents=7)
    cosines = torch.nn.functional.cosine_similarity(rows, vector[None])
    assert list(made.latents) == cosines.argsort(descending=True)[:7].tolist()
    torch.testing.assert_close(made.scores, cosines[list(made.latents)])
    assert made.fvu == pytest.approx(float(made.fvu_curve[-1]), abs=1e-5)


def test_mean_latents_rank_by_what_their_difference_writes() -> None:
    rows = torch.eye(WIDTH)[:20] * torch.linspace(1, 2, 20)[:, None]
    made_of = dictionary(rows)
    values = torch.zeros(4, 2, WIDTH)
    values[:2, 1, 3], values[:2, 1, 7], values[2:, 1, 9] = 4.0, 1.0, 2.0
    both = activations(values)
    positive, negative = both.select([True, True, False, False]), both.select([False, False, True, True])
    vector = values[:2, 1].mean(0) - values[2:, 1].mean(0)
    made = decompose(
        at_layer_1(vector), made_of, method="latent_difference", n_latents=3, positive=positive, negative=negative
    )
    assert made.latents == (3, 9, 7) and made.fvu < 1e-10
    tensors = [made_of.encode(side.values[:, 1]).mean(0) for side in (positive, negative)]
    again = decompose(
        at_layer_1(vector), made_of, method="latent_difference", n_latents=3, positive=tensors[0], negative=tensors[1]
    )
    assert again.latents == made.latents
    with pytest.raises(ConfigError, match="needs positive and negative, got neither"):
        decompose(at_layer_1(vector), made_of, method="latent_difference", n_latents=3)
    with pytest.raises(ConfigError, match="belong to the method latent_difference"):
        decompose(at_layer_1(vector), made_of, positive=positive, n_latents=3)
    with pytest.raises(AlignmentError, match=r"must have shape \(20,\), got \(3,\)"):
        decompose(
            at_layer_1(vector),
            made_of,
            method="latent_difference",
            n_latents=3,
            positive=torch.zeros(3),
            negative=torch.zeros(20),
        )


def test_a_direction_of_the_null_ranks_anywhere_and_a_planted_one_first() -> None:
    rows, generator = decoder(), torch.Generator().manual_seed(4)
    acts = activations(torch.randn(300, 2, WIDTH, generator=generator))
    planted = rows[[1, 2, 3]].sum(0)
    frame = decomposition_null(
        at_layer_1(planted), dictionary(rows), acts, method="pursuit", n_latents=4, n_random=39, n_shuffled=39
    )
    own = frame[frame["what"] == "direction"].set_index("n_latents")
    assert own.loc[3, "p_random"] == own.loc[3, "p_shuffled"] == pytest.approx(1 / 40)
    assert len(frame) == 4 * (1 + 39 + 39)
    p = []
    for _ in range(40):
        vector = torch.randn(WIDTH, generator=generator)
        made = decomposition_null(at_layer_1(vector), dictionary(rows), acts, n_latents=3, n_random=19, n_shuffled=19)
        p.append(made.loc[made["n_latents"] == 3, ["p_random", "p_shuffled"]].iloc[0].to_numpy(float))
    assert np.mean(np.array(p) <= 0.25) == pytest.approx(0.25, abs=0.12)


def test_it_is_saved_like_a_direction(tmp_path: Path) -> None:
    rows, vector = decoder(), torch.randn(WIDTH, generator=torch.Generator().manual_seed(6))
    own = at_layer_1(vector, norms=torch.tensor([2.0, 3.0]))
    made = decompose(own, dictionary(rows), method="pursuit", n_latents=5)
    made.save(tmp_path / "loud.safetensors")
    again = SAEDecomposition.load(tmp_path / "loud.safetensors")
    for name in ("hookpoint", "latents", "fvu", "sae_id", "sae_weights", "sae_quality", "method", "trait"):
        assert getattr(again, name) == getattr(made, name)
    for name in ("coefficients", "scores", "reconstruction", "fvu_curve"):
        assert torch.equal(getattr(again, name), getattr(made, name))
    back = again.direction(own)
    assert torch.equal(back.at(1), made.reconstruction) and back.residual_norm(1) == 3.0
    with pytest.raises(IncompatibleDirectionError):
        SAEDecomposition.load(tmp_path / "loud.safetensors", StubModel(weights="bbbb", d_model=WIDTH))
    file = tmp_path / "loud.json"
    file.write_text(file.read_text().replace('"fvu"', '"fvus"'))
    with pytest.raises(ArtefactError, match="fvu"):
        SAEDecomposition.load(tmp_path / "loud.safetensors")


def test_what_does_not_go_together_is_refused() -> None:
    rows, vector = decoder(), torch.ones(WIDTH)
    with pytest.raises(ConfigError, match="n_latents must be at most 200, the latents of small, got 201"):
        decompose(at_layer_1(vector), dictionary(rows), n_latents=201)
    with pytest.raises(HookpointError, match="has no vector for resid_post at layer 2"):
        decompose(at_layer_1(vector), dictionary(rows), hookpoint=Hookpoint(2))
    with pytest.raises(IncompatibleDirectionError, match="d_model 8; small writes vectors of width 64"):
        decompose(at_layer_1(torch.ones(8)), dictionary(rows))
    with pytest.raises(IncompatibleDirectionError, match="small was trained on weights bbbb"):
        decompose(at_layer_1(vector), dictionary(rows, metadata={"weights": "bbbb"}))
    with pytest.raises(ConfigError, match="is zero at resid_post at layer 1"):
        decompose(at_layer_1(torch.zeros(WIDTH)), dictionary(rows))
    with pytest.raises(HookpointError, match="not in the residual basis"):
        decompose(at_layer_1(vector), dictionary(rows, writes=Hookpoint(1, "mlp_act")))
    assert provenance().weights == "aaaa"
