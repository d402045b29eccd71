"""What a quality card becomes: effects, and the claim by stated thresholds; and which texts it is made from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.data.multiple_choice import load_multiple_choice
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.data.own_texts import own_texts
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.directions.sae.corpus import corpus_texts
from persona_interp.directions.sae.measure import MOST_TOKENS
from persona_interp.directions.sae.quality import Quality
from persona_interp.directions.sae.settings import SAETraining
from persona_interp.models.hooked import HookedModelBase
from persona_interp.statistics.resampling import Interval
from persona_interp.studies.dictionary.command import texts_of
from persona_interp.studies.dictionary.effects import quality_claims, quality_effects
from persona_interp.studies.dictionary.effort import EFFORTS, dictionary_plan
from persona_interp.types import Hookpoint

TRAINING = SAETraining(Hookpoint(1), n_latents=100)


def quality(fvu: tuple[float, float, float], recovered: tuple[float, float, float], dead: int = 10) -> Quality:
    density = torch.full((100,), 0.01)
    density[:dead] = 0
    sizes: dict[str, Any] = {"n_tokens": 900, "n_loss_tokens": 900, "n_texts": 20, "n_massive": 0}
    losses = {"loss": 3.0, "spliced_loss": 3.1, "zero_loss": 9.0, "l0": 4.0, "residual_norm": 5.0, "norm_limit": 50.0}
    shares = {"fvu": Interval(*fvu, 20, 20, over="text"), "ce_recovered": Interval(*recovered, 20, 20, over="text")}
    return Quality(**shares, density=density, mean_active=torch.ones(100), **losses, **sizes)


@pytest.mark.parametrize(
    ("made", "verdict", "word"),
    [
        (quality((0.2, 0.1, 0.3), (0.97, 0.95, 0.99)), "holds", "is good"),
        (quality((0.7, 0.6, 0.8), (0.97, 0.95, 0.99)), "does not", "is poor"),
        (quality((0.2, 0.1, 0.3), (0.5, 0.4, 0.6)), "does not", "is poor"),
        (quality((0.2, 0.1, 0.3), (0.97, 0.95, 0.99), dead=60), "does not", "is poor"),
        (quality((0.45, 0.3, 0.6), (0.97, 0.95, 0.99)), "undecided", "is not shown to be good or poor"),
        (quality((0.2, float("nan"), float("nan")), (0.97, 0.95, 0.99)), "undecided", "is not shown"),
    ],
)
def test_a_dictionary_is_claimed_good_by_stated_thresholds(made: Quality, verdict: str, word: str) -> None:
    effects = quality_effects(made, TRAINING, 4)
    (claim,) = quality_claims(effects, "tiny")
    assert claim.verdict == verdict and word in claim.sentence
    assert [one.depth for one in effects] == [0.5] * 4 and {one.stream for one in effects} == {"resid_post"}
    assert effects[0].estimate == made.fvu.estimate and effects[3].estimate == pytest.approx(made.dead)


def test_plans_grow_with_what_is_trained(model: HookedModelBase) -> None:
    small = dictionary_plan(model, TRAINING, 1000)
    large = dictionary_plan(model, SAETraining(Hookpoint(1), n_tokens=400_000), 1000)
    assert [b.read > a.read or b.other_s > a.other_s for a, b in zip(small[:2], large[:2], strict=True)] == [True] * 2
    assert dictionary_plan(model, TRAINING, 10**6)[2].n == MOST_TOKENS
    assert set(EFFORTS) == {"quick", "standard", "paper"} and EFFORTS["standard"]["n_tokens"] == 200_000


def test_what_effects_are_measured_on_is_not_trained_on(model: HookedModelBase) -> None:
    every = own_texts()
    written = "\n".join(f"{one.system} {one.question} {one.text}" for one in every)
    for name in list_traits():
        trait = load_trait(name)
        assert trait.exemplars[0].pos in written and trait.questions[0] in written
        assert not any(question in written for question in trait.eval_questions)
    assert not any(item.question in written for item in load_multiple_choice())
    corpus = corpus_texts(model)
    assert set(load_neutral_texts()) < set(corpus.held_out) and not set(corpus.texts) & set(corpus.held_out)
    assert len(corpus.held_out) < len(corpus.texts) / 4
    groups = {one.group: 0 for one in every}
    assert len(groups) > 1000


def test_own_held_out_texts_are_among_the_first_measured(model: HookedModelBase, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\n\n".join(f"My text number {k}." for k in range(300)))
    corpus = texts_of(model, [str(file)], own=True, seed=0)
    own = [text.startswith("My text") for text in corpus.held_out]
    assert sum(own) == 30 and any(own[: len(own) // 4]) and not set(corpus.texts) & set(corpus.held_out)
