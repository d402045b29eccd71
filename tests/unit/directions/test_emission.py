"""Vectors that make a model emit a sequence: they do, by the model's own greedy decoding, each on its own."""

import pytest
import torch

from persona_interp.directions.emission import emission_vectors, start_token
from persona_interp.errors import ConfigError
from persona_interp.interventions.residual import Add
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import Hookpoint
from tests.contract.tiny import TOLERANCE, make_tokenizer, words
from tests.small import direction

LAYERS = [Hookpoint(0), Hookpoint(1)]
SEQUENCES = [words(1, 1), words(2, 2), words(1, 5)]


def train(model: HookedModelBase, sequences: list[list[int]], seeds: list[list[int]], epochs: int = 60):
    return emission_vectors(model, sequences, LAYERS, learning_rate=0.2, max_epochs=epochs, seeds=seeds)


def test_greedy_decoding_emits_what_was_matched(model: HookedModelBase) -> None:
    made = train(model, SEQUENCES, [[0, i] for i in range(3)])
    assert any(made.matched) and made.vectors.shape == (3, 2, model.d_model)
    for i, sequence in enumerate(SEQUENCES):
        if not made.matched[i]:
            assert made.epochs[i] == 60
            continue
        added = direction(made.vectors[i], provenance=model.provenance)
        edits = Add(added, list(LAYERS), 1.0, span="all", units="direction").edits
        batch = token_batch([[start_token(model.tokenizer)]])
        written = model.generate(batch, sampling=Sampling(len(sequence), 0.0), edits=edits)
        assert written.ids[0] == sequence
        assert made.epochs[i] < 60, "it stopped when it was emitted"


def test_sequences_do_not_disturb_each_other(model: HookedModelBase) -> None:
    together = train(model, SEQUENCES, [[0, i] for i in range(3)], epochs=5)
    for i, sequence in enumerate(SEQUENCES):
        alone = train(model, [sequence], [[0, i]], epochs=5)
        torch.testing.assert_close(alone.vectors[0], together.vectors[i], rtol=1e-3, atol=1e-3)
        assert alone.losses[0] == pytest.approx(together.losses[i], rel=1e-3)
        torch.testing.assert_close(alone.norms[0], together.norms[i], **TOLERANCE)


def test_the_loss_falls_and_is_that_of_the_vectors(model: HookedModelBase) -> None:
    sequence = words(4, 9)
    losses = [train(model, [sequence], [[0, 0]], epochs=n).losses[0] for n in (0, 10)]
    assert losses[1] < losses[0] - 1
    made = train(model, [sequence], [[0, 0]], epochs=10)
    edits = Add(
        direction(made.vectors[0], provenance=model.provenance), list(LAYERS), span="all", units="direction"
    ).edits
    batch = token_batch([[start_token(model.tokenizer)]], [sequence])
    logprobs = model.run(batch, outputs="token_logprobs", edits=edits).token_logprobs
    assert logprobs is not None
    assert -float(logprobs.sum()) == pytest.approx(made.losses[0], rel=1e-4)


def test_steps_are_those_of_adam(model: HookedModelBase) -> None:
    made = [train(model, [SEQUENCES[1]], [[0, 1]], epochs=n).vectors for n in (0, 1)]
    moved = (made[1] - made[0]).abs()
    assert bool((moved > 0.1999).float().mean() > 0.95) and float(moved.max()) <= 0.2001, "the first step is its rate"


def test_the_start_token() -> None:
    tokenizer = make_tokenizer()
    assert start_token(tokenizer) == tokenizer.eos_token_id
    tokenizer.bos_token = "A"
    assert start_token(tokenizer) == tokenizer.convert_tokens_to_ids("A")
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="no beginning-of-text and no end-of-text"):
        start_token(tokenizer)
