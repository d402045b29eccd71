"""Single latents as directions, others of equal density, means over responses, and where in texts they are largest."""

from typing import Any

import numpy as np
import pytest
import torch

from persona_interp.directions.sae.contexts import contexts_frame, top_contexts
from persona_interp.directions.sae.dictionary import with_quality
from persona_interp.directions.sae.latents import latent_direction, latents_of_equal_density, mean_latents
from persona_interp.directions.sae.quality import Quality
from persona_interp.errors import ConfigError
from persona_interp.interventions.rows import AddEach
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import text_batch
from persona_interp.statistics.resampling import Interval
from persona_interp.types import Hookpoint
from tests.unit.directions.sae.dictionaries import dictionary
from tests.unit.directions.sae.test_train import TEXTS


def quality(density: torch.Tensor, **changes: Any) -> Quality:
    numbers: dict[str, Any] = {
        "loss": 3.0,
        "spliced_loss": 3.1,
        "zero_loss": 9.0,
        "l0": 4.0,
        "residual_norm": 5.0,
        "norm_limit": 50.0,
    }
    return Quality(
        fvu=Interval(0.2, 0.1, 0.3, 10, 10),
        ce_recovered=Interval(0.98, 0.97, 0.99, 10, 10),
        density=density,
        mean_active=torch.ones(len(density)),
        n_tokens=1000,
        n_loss_tokens=1000,
        n_texts=10,
        n_massive=0,
        **{**numbers, **changes},
    )


def test_a_latent_is_a_direction_that_rows_can_be_steered_with(model: HookedModelBase) -> None:
    decoder = torch.randn(6, model.d_model, generator=torch.Generator().manual_seed(0))
    made = with_quality(dictionary(decoder), quality(torch.full((6,), 0.1)))
    several = [latent_direction(made, latent, model) for latent in (4, 1)]
    assert several[0].trait == "sae-4" and several[0].positive_pole == "latent 4 of small"
    assert torch.equal(several[1].at(1), decoder[1]) and several[0].residual_norm(1) == 5.0
    assert latent_direction(made, 4, model, residual_norm=2.0).residual_norm(1) == 2.0
    each = AddEach(several, 1, 0.5)
    each.check(model)
    batch = text_batch(model.tokenizer, ["the cat", "the dog"], [" sat", " ran"])
    plain = model.run(batch, read=[Hookpoint(1)], outputs="none").residuals[Hookpoint(1)]
    moved = model.run(batch, read=[Hookpoint(1)], outputs="none", edits=each.edits).residuals[Hookpoint(1)]
    for row, latent in enumerate((4, 1)):
        expected = 0.5 * 5.0 * decoder[latent] / decoder[latent].norm()
        torch.testing.assert_close((moved - plain)[row, -1], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="latent 6 does not exist: small has latents 0 to 5"):
        latent_direction(made, 6, model)


def test_matched_latents_fire_about_as_often() -> None:
    rng = np.random.default_rng(0)
    density = torch.from_numpy(10 ** rng.uniform(-4, -0.5, 400)).float()
    density[:40] = 0
    made = with_quality(dictionary(torch.randn(400, 8)), quality(density))
    given = [50, 60, 70]
    drawn = latents_of_equal_density(made, given, 30, seed=3)
    assert len(set(drawn)) == 30 and not set(drawn) & set(given)
    assert drawn == latents_of_equal_density(made, given, 30, seed=3)
    assert drawn != latents_of_equal_density(made, given, 30, seed=4)
    apart = [abs(np.log10(float(density[a]) / float(density[given[k % 3]]))) for k, a in enumerate(drawn)]
    assert max(apart) <= 0.2 + 1e-6 and (density[drawn] > 0).all()
    with pytest.raises(ConfigError, match="latent 3 of small never fires"):
        latents_of_equal_density(made, [3], 2)
    with pytest.raises(ConfigError, match="n must be at most 357"):
        latents_of_equal_density(made, given, 358)
    with pytest.raises(ConfigError, match="densities of small are not known"):
        latents_of_equal_density(dictionary(torch.randn(4, 8)), [0], 1)


def test_mean_latents_are_means_over_tokens_then_over_responses(model: HookedModelBase) -> None:
    made = dictionary(torch.randn(12, model.d_model, generator=torch.Generator().manual_seed(1)))
    prompts, responses = ["a red cat", "moon"], [" sat on a mat", " runs"]
    found = mean_latents(model, made, prompts, responses, progress=False)
    each = []
    for prompt, response in zip(prompts, responses, strict=True):
        batch = text_batch(model.tokenizer, [prompt], [response])
        values = model.run(batch, read=[Hookpoint(1)], outputs="none").residuals[Hookpoint(1)]
        each.append(made.encode(values[batch.response].float()).mean(0))
    torch.testing.assert_close(found, torch.stack(each).mean(0), rtol=1e-4, atol=1e-5)


def test_the_largest_places_are_found_in_any_number_of_texts(model: HookedModelBase) -> None:
    made = dictionary(torch.randn(12, model.d_model, generator=torch.Generator().manual_seed(2)))
    found = top_contexts(model, made, [7, 2], TEXTS, n=4, before=3, after=2, progress=False)
    largest: list[tuple[float, int]] = []
    for number, text in enumerate(TEXTS):
        start = model.tokenizer.bos_token or model.tokenizer.eos_token
        batch = text_batch(model.tokenizer, [f"{start}{text}"])
        values = model.run(batch, read=[Hookpoint(1)], outputs="none").residuals[Hookpoint(1)][0, 1:]
        largest.append((float(made.encode(values.float())[:, 7].max()), number))
    expected = sorted(largest, reverse=True)[:4]
    assert [one.text for one in found[7]] == [number for _, number in expected]
    assert [one.activation for one in found[7]] == pytest.approx([value for value, _ in expected], rel=1e-4)
    for rank, one in enumerate(found[7]):
        assert one.rank == rank and one.activations[one.peak] == one.activation == max(one.activations)
        assert one.shades()[one.peak] == 1.0 and len(one.tokens) == len(one.activations) <= 6
        assert "".join(one.tokens) in TEXTS[one.text]
    frame = contexts_frame(found)
    assert set(frame["latent"]) == {7, 2} and frame["is_peak"].sum() == 8


def test_a_latent_that_never_fires_has_no_context(model: HookedModelBase) -> None:
    made = dictionary(torch.randn(3, model.d_model))
    made.sae.b_enc.data[1] = -1e6
    assert top_contexts(model, made, [1], TEXTS[:3], progress=False) == {1: ()}
    assert len(contexts_frame({1: ()})) == 0
