"""Planted truth, end to end and without a judge: a direction put into a model's weights, which the method must find.

One block attends evenly to everything before it and, where it sees the token `Z`, writes a known vector into the
residual. The positive system prompts hold `Z`, the negative ones do not. Beside it, an unembedding row along a known
vector: steering along it must make its token likelier, step by step.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from persona_interp.data.traits import ContrastPair, Trait
from persona_interp.directions.persona import persona_vector
from persona_interp.interventions.residual import Add
from persona_interp.measurements.separation import SeparationProfile, separation_profile
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import text_batch
from persona_interp.rollouts.generate import Rollouts, generate_rollouts
from tests.contract.tiny import D_VOCAB, N_LAYERS
from tests.planted_model import PLANTED_LAYER, RAISED, RAISED_TOKEN, WRITTEN, plant, token, unit
from tests.small import direction

TRAIT = Trait(
    name="zed",
    positive="calm",
    negative="calm",
    description="Sees a Z.",
    instructions=(ContrastPair("ZZZ ZZZ ZZZ", "QQQ QQQ QQQ"), ContrastPair("ZZ is ZZZZ", "WW is WWWW")),
    questions=tuple(f"{word}?" for word in ("Why", "Who", "What now", "How far", "Is it so", "Where")),
    eval_questions=tuple(f"{word}?" for word in ("When", "Which one", "Can it be", "Must we", "Shall I", "For whom")),
    eval_prompt="{question} {answer}",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HookedModelBase:
    folder = tmp_path_factory.mktemp("planted")
    plant(folder)
    return load_model(folder, "nnsight", device="cpu")


@pytest.fixture(scope="module")
def train(model: HookedModelBase) -> Rollouts:
    return generate_rollouts(model, TRAIT, n_samples=2, max_new_tokens=8, seed=0, progress=False)


@pytest.fixture(scope="module")
def held_out(model: HookedModelBase) -> Rollouts:
    return generate_rollouts(model, TRAIT, n_samples=2, max_new_tokens=8, seed=1, questions="eval", progress=False)


def shuffle_sides(rollouts: Rollouts, seed: int = 0) -> Rollouts:
    """The same answers with their sides permuted within each question."""
    rng = np.random.default_rng(seed)
    shuffled = rollouts.frame.groupby("question")["side"].transform(lambda sides: rng.permutation(sides.to_numpy()))
    return replace(rollouts, frame=rollouts.frame.assign(side=shuffled))


def profile(train: Rollouts, test: Rollouts) -> SeparationProfile:
    parts = {}
    for name, rollouts in (("train", train), ("test", test)):
        activations = rollouts.activations()
        whole = activations.values.isfinite().flatten(1).all(1).numpy()
        for side in ("positive", "negative"):
            chosen = activations.select(whole & (rollouts.frame["side"] == side).to_numpy())
            parts[f"{name}_{side}"] = chosen.values.numpy()
            parts[f"{name}_{side}_questions"] = chosen.samples["question"].to_numpy()
    more = {"shuffled_splits": "both", "random_covariance": "within"}
    return separation_profile(**parts, n_null=199, seed=0, **more)  # pyright: ignore


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def test_the_persona_vector_is_the_planted_one(train: Rollouts):
    made = persona_vector(train, filter="none")
    cosines = [cosine(made.at(layer), WRITTEN) for layer in range(N_LAYERS)]
    assert cosines[PLANTED_LAYER] > 0.95, "and with the planted sign"
    assert abs(cosines[0]) < 0.5, "it is not there before the block that writes it"


def test_its_length_is_what_was_written(train: Rollouts):
    """At the planted block the difference along WRITTEN is that of the means, whatever else differs."""
    made = persona_vector(train, filter="none")
    activations = train.activations()
    whole = activations.values.isfinite().flatten(1).all(1).numpy()
    along = activations.values[:, PLANTED_LAYER] @ WRITTEN
    means = {
        side: float(along[torch.from_numpy(whole & (train.frame["side"] == side).to_numpy())].mean())
        for side in ("positive", "negative")
    }
    assert float(made.at(PLANTED_LAYER) @ WRITTEN) == pytest.approx(means["positive"] - means["negative"], rel=1e-4)


def test_shuffled_sides_do_not_give_it(train: Rollouts):
    lengths, true = [], float(persona_vector(train, filter="none").at(PLANTED_LAYER) @ WRITTEN)
    for seed in range(10):
        made = persona_vector(shuffle_sides(train, seed), filter="none").at(PLANTED_LAYER)
        lengths.append(abs(float(made @ WRITTEN)) / true)
    assert np.mean(lengths) < 0.25 and max(lengths) < 0.6


def test_separation_finds_the_planted_block(train: Rollouts, held_out: Rollouts):
    found = profile(train, held_out)
    assert found.best_layer >= PLANTED_LAYER
    assert found.auc[PLANTED_LAYER] > 0.95
    # Against random directions this effect is too strong for a width of 32: almost any of them separates perfectly.
    assert found.p_shuffled < 0.02


def test_separation_finds_nothing_in_shuffled_sides(train: Rollouts, held_out: Rollouts):
    found = [profile(shuffle_sides(train, seed), shuffle_sides(held_out, 100 + seed)) for seed in range(4)]
    assert np.median([one.p_shuffled for one in found]) > 0.1
    assert np.median([one.p_random for one in found]) > 0.1


def raised_probability(model: HookedModelBase, edits_of: Callable[[float], Add]) -> list[float]:
    batch = text_batch(model.tokenizer, ["Why is it so?", "Hello", "Z and W"])
    found = []
    for coefficient in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0):
        logits = model.run(batch, edits=edits_of(coefficient).edits).logits
        assert logits is not None
        found.append(float(logits[:, -1].softmax(-1)[:, token(RAISED_TOKEN)].mean()))
    return found


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_steering_raises_the_planted_token_step_by_step(model: HookedModelBase, layer: int):
    made = direction(RAISED.repeat(N_LAYERS, 1), norms=torch.full((N_LAYERS,), 6.0), provenance=model.provenance)
    found = raised_probability(model, lambda c: Add(made, layer, c, span="all"))
    assert all(low < high for low, high in pairwise(found))
    assert found[-1] > 3 * found[3] > 9 * found[0]


def test_steering_across_it_does_not(model: HookedModelBase):
    other = unit(9) - (unit(9) @ RAISED) * RAISED
    made = direction(other.repeat(N_LAYERS, 1), norms=torch.full((N_LAYERS,), 6.0), provenance=model.provenance)
    found = raised_probability(model, lambda c: Add(made, N_LAYERS - 1, c, span="all"))
    assert max(found) < 5 / D_VOCAB


def test_steered_answers_hold_the_token_more_often(model: HookedModelBase):
    made = direction(RAISED.repeat(N_LAYERS, 1), norms=torch.full((N_LAYERS,), 6.0), provenance=model.provenance)
    shares = []
    for coefficient in (-2.0, 0.0, 2.0):
        generated = model.generate(
            text_batch(model.tokenizer, ["Why is it so?", "Hello"]),
            sampling=Sampling(16, n_samples=8),
            edits=Add(made, N_LAYERS - 1, coefficient).edits,
        )
        tokens = [token for ids in generated.ids for token in ids]
        shares.append(tokens.count(token(RAISED_TOKEN)) / len(tokens))
    assert shares[0] <= shares[1] < shares[2]
