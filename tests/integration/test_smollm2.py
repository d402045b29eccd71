"""The pipeline on a real model, SmolLM2-135M-Instruct in bfloat16, as far as seconds allow."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.interventions.residual import Add
from persona_interp.interventions.text import generate_text
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.packaged import PACKAGED_MODELS, is_installed
from persona_interp.models.tokens import render_prompt
from persona_interp.rollouts.generate import Rollouts, generate_rollouts
from persona_interp.statistics import auc

NAME = "smollm2-135m-instruct"
LAYER = 15

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(PACKAGED_MODELS[NAME]), reason=PACKAGED_MODELS[NAME].install),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> HookedModelBase:
    return load_model(NAME, "nnsight", dtype="bfloat16", device="cpu")


@pytest.fixture(scope="module")
def rollouts(model: HookedModelBase) -> Rollouts:
    return generate_rollouts(
        model, load_trait("impolite"), n_questions=2, n_instructions=2, max_new_tokens=8, seed=0, progress=False
    )


@pytest.fixture(scope="module")
def vector(rollouts: Rollouts) -> Direction:
    return persona_vector(rollouts, filter="none")


@pytest.fixture(scope="module")
def prompts(model: HookedModelBase) -> list[str]:
    return [render_prompt(model.tokenizer, "How do I boil an egg?"), render_prompt(model.tokenizer, "Who are you?")]


def test_the_other_backend_is_the_same_model(model: HookedModelBase, prompts: list[str]):
    other = load_model(NAME, "transformer_lens", dtype="bfloat16", device="cpu")
    assert other.provenance.weights == model.provenance.weights
    assert (other.n_layers, other.d_model) == (model.n_layers, model.d_model) == (30, 576)
    assert generate_text(other, prompts, max_new_tokens=8) == generate_text(model, prompts, max_new_tokens=8)


def test_rollouts_and_vector(rollouts: Rollouts, vector: Direction):
    assert len(rollouts) == 8 and rollouts.frame["answer"].str.len().gt(0).all()
    assert vector.vectors.shape == (30, 576) and vector.vectors.dtype == torch.float32
    assert vector.residual_norms is not None and (vector.residual_norms > 0).all()
    projected = vector.project(rollouts.activations())[:, LAYER].numpy()
    positive = (rollouts.frame["side"] == "positive").to_numpy()
    assert projected[positive].mean() > projected[~positive].mean()


def test_steering_changes_the_text_and_coefficient_zero_does_not(
    model: HookedModelBase, vector: Direction, prompts: list[str]
):
    plain = generate_text(model, prompts, max_new_tokens=8)
    zero = generate_text(model, prompts, intervention=Add(vector, LAYER, 0.0), max_new_tokens=8)
    steered = generate_text(model, prompts, intervention=Add(vector, LAYER, 0.7), max_new_tokens=8)
    assert zero == plain
    assert all(one != other for one, other in zip(steered, plain, strict=True))


def test_save_and_load(model: HookedModelBase, vector: Direction, prompts: list[str], tmp_path: Path):
    vector.save(tmp_path / "impolite.safetensors")
    loaded = Direction.load(tmp_path / "impolite.safetensors", model)
    assert torch.equal(loaded.vectors, vector.vectors)
    one, other = (
        generate_text(model, prompts[:1], intervention=Add(v, LAYER, 0.7), max_new_tokens=8) for v in (vector, loaded)
    )
    assert one == other


def test_embedding_judge_on_answers_it_was_not_calibrated_on():
    """Held-out pairs of all traits. Measured: mean AUC 0.71, from 0.55 (optimistic) to 0.88 (extraversion)."""
    judge, found = EmbeddingJudge(), {}
    for name in list_traits():
        if name.startswith("low_"):
            continue
        pairs = pd.DataFrame(hard_pairs(load_trait(name)))
        questions = pairs["question"].tolist()
        positive, negative = (
            np.array([s.raw for s in judge.rate(load_trait(name), questions, pairs[pole].tolist())])
            for pole in ("pos", "neg")
        )
        found[name] = auc(positive, negative)
    assert len(found) == 12
    assert np.mean(list(found.values())) > 0.65
    assert found["impolite"] > 0.75


def test_embedding_judge_fits_its_exemplars():
    """On the exemplars that make its axis: a check of the plumbing, not of its validity."""
    judge = EmbeddingJudge()
    for name in ("impolite", "optimistic", "sycophantic"):
        trait = load_trait(name)
        questions = [e.question for e in trait.exemplars]
        positive, negative = (
            np.array([s.value for s in judge.rate(trait, questions, [getattr(e, pole) for e in trait.exemplars])])
            for pole in ("pos", "neg")
        )
        assert auc(positive, negative) > 0.8


def test_likelihood_judge_on_exemplars(model: HookedModelBase):
    """One prompt pair. Measured: AUC 1.00 for impolite, 0.77 for optimistic, 0.58 for sycophantic."""
    judge, found = LikelihoodJudge(model, n_pairs=1, progress=False), {}
    for name in ("impolite", "optimistic", "sycophantic"):
        trait = load_trait(name)
        questions = [e.question for e in trait.exemplars]
        positive, negative = (
            judge.log_ratios(trait, questions, [getattr(e, pole) for e in trait.exemplars]) for pole in ("pos", "neg")
        )
        found[name] = auc(positive, negative)
    assert found["impolite"] > 0.9
    assert np.mean(list(found.values())) > 0.7
