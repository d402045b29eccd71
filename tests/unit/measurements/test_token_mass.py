"""Masses of tokens equal the model's own probabilities, the lens ends in them, and the direction moves them."""

import numpy as np
import pytest
import torch

from persona_interp.directions.token_direction import token_direction
from persona_interp.errors import ConfigError
from persona_interp.measurements.token_mass import lens_log_mass, log_mass
from persona_interp.models.tokens import text_batch
from persona_interp.models.unembedding import unembedding_of
from persona_interp.types import Edit, Hookpoint
from tests.contract.tiny import D_VOCAB, N_LAYERS, Tiny

PROMPTS, ANSWERS, TOKENS = ["one two", "three"], ["four five", "six seven"], [7, 20, 33]


@pytest.fixture(scope="module", params=["llama", "gemma3", "gpt2"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny.make(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("backend", ["transformer_lens", "nnsight"])
def test_masses_are_the_models_own(tiny: Tiny, backend: str) -> None:
    model = tiny.hooked(backend)
    found = log_mass(model, PROMPTS, ANSWERS, TOKENS, progress=False)
    batch = text_batch(model.tokenizer, PROMPTS, ANSWERS)
    logits = model.run(batch).logits
    assert logits is not None
    for row, masses in enumerate(found):
        n = int(batch.response[row].sum())
        own = logits[row, -n - 1 : -1].float().log_softmax(-1)[:, TOKENS].logsumexp(-1)
        np.testing.assert_allclose(masses, own.numpy(), rtol=1e-4, atol=1e-4)
    whole = log_mass(model, PROMPTS, ANSWERS, list(range(D_VOCAB)), progress=False)
    assert all(np.abs(row).max() < 1e-5 for row in whole)


def test_the_lens_ends_in_what_the_model_says(tiny: Tiny) -> None:
    model = tiny.hooked("nnsight")
    own = log_mass(model, PROMPTS, ANSWERS, TOKENS, progress=False)
    at = [np.array([0, len(row) - 1]) for row in own]
    lens = lens_log_mass(model, PROMPTS, ANSWERS, TOKENS, at, progress=False)
    for row, masses, places in zip(lens, own, at, strict=True):
        assert row.shape == (2, N_LAYERS)
        np.testing.assert_allclose(row[:, -1], masses[places], rtol=1e-3, atol=1e-3)
        assert np.abs(row[:, 0] - row[:, -1]).max() > 1e-3


def test_tokens_that_are_apart_take_no_mass(tiny: Tiny) -> None:
    model = tiny.hooked("nnsight")
    plain = log_mass(model, PROMPTS, ANSWERS, TOKENS, progress=False)
    without = log_mass(model, PROMPTS, ANSWERS, TOKENS, apart=[1, 2, 50], progress=False)
    assert all((b > a).all() for a, b in zip(plain, without, strict=True))


def test_the_direction_raises_the_mean_logit(tiny: Tiny) -> None:
    model = tiny.hooked("nnsight")
    direction = token_direction(model, TOKENS, name="some")
    vector, place = direction.vectors[0], Hookpoint(N_LAYERS - 1)
    batch = text_batch(model.tokenizer, PROMPTS, ANSWERS)
    push = Edit(lambda residual, mask: residual + 5 * mask[..., None] * vector / vector.norm())
    found = [model.run(batch, edits=edits).logits for edits in ({}, {place: (push,)})]
    assert found[0] is not None and found[1] is not None
    others = [k for k in range(D_VOCAB) if k not in TOKENS]
    gaps = [logits[batch.mask][:, TOKENS].mean(-1) - logits[batch.mask][:, others].mean(-1) for logits in found]  # pyright: ignore
    assert (gaps[1] > gaps[0]).all()


def test_the_gap_of_logits_is_the_projection_over_the_norm(tiny: Tiny) -> None:
    """What the direction reads is exact: projection times its length over the norm's divisor."""
    model = tiny.hooked("nnsight")
    if tiny.architecture == "gemma3":
        pytest.skip("a soft cap may follow")
    reads, batch = unembedding_of(model), text_batch(model.tokenizer, PROMPTS)
    place = Hookpoint(N_LAYERS - 1)
    made = model.run(batch, read=[place])
    assert made.logits is not None
    residual = made.residuals[place][batch.mask]
    away = residual - residual.mean(-1, keepdim=True) if reads.centred else residual
    divisor = away.square().mean(-1).sqrt()
    gap = made.logits[batch.mask][:, TOKENS].mean(-1) - made.logits[batch.mask].mean(-1)
    read = (residual @ (reads.mean_row(torch.tensor(TOKENS)) - reads.mean_row(torch.arange(D_VOCAB)))) / divisor
    if not reads.centred:  # the bias of a LayerNorm adds a constant
        torch.testing.assert_close(gap, read, rtol=1e-3, atol=1e-3)
    else:
        assert float((gap - read).std()) < 1e-3


def test_bad_tokens_are_refused(tiny: Tiny) -> None:
    model = tiny.hooked("nnsight")
    for tokens in ([], [D_VOCAB], list(range(D_VOCAB))):
        with pytest.raises(ConfigError):
            token_direction(model, tokens, name="none")
    with pytest.raises(ConfigError):
        log_mass(model, PROMPTS, ANSWERS, [], progress=False)
