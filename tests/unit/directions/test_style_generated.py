"""Style vectors from the model's own answers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from persona_interp.directions.style_generated import (
    generate_style_rollouts,
    generated_style_vector,
    style_request,
)
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.rollouts.generate import Rollouts
from tests.contract.tiny import N_LAYERS
from tests.styles import corpus

QUESTIONS = ("Why?", "Who is it?", "What now?")


@pytest.fixture(scope="module")
def rollouts(model: HookedModelBase) -> Rollouts:
    return generate_style_rollouts(model, corpus(), QUESTIONS, n_samples=2, max_new_tokens=5, progress=False)


def test_the_request_uses_the_papers_words() -> None:
    assert style_request("Why?", "an angry") == "Why? Write the answer in an angry manner."


def test_every_style_answers_every_question(rollouts: Rollouts) -> None:
    frame = rollouts.frame
    assert frame.groupby(["style", "pair"]).size().tolist() == [2] * 6
    assert set(frame["pair"]) == set(QUESTIONS)
    assert all(row.question == style_request(row.pair, f"a {row.style}") for row in frame.itertuples())


def test_the_vector_is_the_difference_of_response_means(rollouts: Rollouts) -> None:
    made, held = generated_style_vector(rollouts, "warm"), rollouts.activations("response_mean")
    whole = held.values.isfinite().flatten(1).all(1)
    warm = torch.tensor((rollouts.frame["style"] == "warm").to_numpy())
    torch.testing.assert_close(made.vectors, held.values[whole & warm].mean(0) - held.values[whole & ~warm].mean(0))
    assert (made.method, len(made.hookpoints)) == ("style_vector_generated", N_LAYERS)
    assert made.provenance.pooling == "response_mean"


def test_refusals(model: HookedModelBase, rollouts: Rollouts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="questions must be a list of texts that is not empty"):
        generate_style_rollouts(model, corpus(), ())
    made = generate_style_rollouts(model, corpus(), QUESTIONS[:1], max_new_tokens=1, folder=tmp_path, progress=False)
    assert len(made) == 2
    held = rollouts.parts[0]
    assert isinstance(held.tensors, dict)
    broken = {**held.tensors, "response_mean": torch.full_like(held.tensors["response_mean"], float("nan"))}
    with pytest.raises(EmptySelectionError, match="every answer in the style cold is empty"):
        generated_style_vector(replace(rollouts, parts=(replace(held, tensors=broken),)), "warm")
