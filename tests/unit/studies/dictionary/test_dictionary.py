"""What a quality card becomes: effects, the claim by stated thresholds, figures; and which texts it is made from."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.data.multiple_choice import load_multiple_choice
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.data.own_texts import own_texts
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.directions.sae.corpus import corpus_texts
from persona_interp.directions.sae.quality import Quality
from persona_interp.directions.sae.settings import SAETraining
from persona_interp.figures.contexts import contexts_html, plot_contexts
from persona_interp.figures.style import paper_style
from persona_interp.models.hooked import HookedModelBase
from persona_interp.statistics.resampling import Interval
from persona_interp.studies.dictionary.effects import quality_claims, quality_effects
from persona_interp.studies.dictionary.effort import EFFORTS, dictionary_plan
from persona_interp.studies.dictionary.figures import plot_densities, plot_losses
from persona_interp.types import Hookpoint

TRAINING = SAETraining(Hookpoint(1), n_latents=100)


def quality(fvu: tuple[float, float, float], recovered: tuple[float, float, float], dead: int = 10) -> Quality:
    density = torch.full((100,), 0.01)
    density[:dead] = 0
    sizes: dict[str, Any] = {"n_tokens": 900, "n_loss_tokens": 900, "n_texts": 20, "n_massive": 0}
    losses = {"loss": 3.0, "spliced_loss": 3.1, "zero_loss": 9.0, "l0": 4.0, "residual_norm": 5.0, "norm_limit": 50.0}
    intervals = [Interval(*one, 20, 20, over="text") for one in (fvu, recovered)]
    return Quality(*intervals, density=density, mean_active=torch.ones(100), **losses, **sizes)


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


def test_figures_show_what_is_in_the_tables() -> None:
    losses = pd.DataFrame({"tokens": [256, 2816, 5000], "fvu": [1.0, 0.6, 0.4]})
    densities = pd.DataFrame({"latent": range(6), "density": [0, 0, 0.5, 0.02, 0.015, 0.0004], "mean_active": 1.0})
    with paper_style():
        figure, (left, right) = plt.subplots(1, 2)
        plot_losses(losses, left)
        plot_densities(densities, right)
        np.testing.assert_allclose(left.lines[0].get_ydata(), losses["fvu"])
        heights = [bar.get_height() for bar in right.patches]
        assert sum(heights) == 6 and heights[-1] == 2
        plt.close(figure)


def test_tokens_are_shaded_by_share_of_the_largest_and_escaped() -> None:
    rows = [(7, 0, " a", 0.0, False), (7, 0, "<b>\n", 4.0, True), (7, 1, "c\x00", 1.0, True), (9, 0, "$x$", 0.5, True)]
    frame = pd.DataFrame(rows, columns=["latent", "rank", "token", "activation", "is_peak"]).assign(position=0, text=0)
    page = contexts_html(frame)
    assert "&lt;b&gt;⏎" in page and "<b>" not in page and "c·" in page
    assert page.count('<p class="context"') == 3 and page.count(",1.00)") == 2 and ",0.25)" in page
    with paper_style():
        figure, ax = plt.subplots()
        plot_contexts(frame, ax, width=20)
        shades = [patch.get_facecolor()[3] for patch in ax.patches]
        assert shades == pytest.approx([0, 0.75, 0.1875, 0.75])
        assert {text.get_text() for text in ax.texts} >= {"7", "9", "⏎", "$"}
        plt.close(figure)


def test_a_long_line_keeps_its_peak() -> None:
    tokens = [f"word{k}" for k in range(40)]
    frame = pd.DataFrame({"token": tokens, "activation": 1.0, "is_peak": [k == 30 for k in range(40)]})
    with paper_style():
        figure, ax = plt.subplots()
        plot_contexts(frame.assign(latent=1, rank=0, position=range(40), text=0), ax, width=30)
        outlined = [patch for patch in ax.patches if patch.get_linewidth() > 0]
        assert len(outlined) == 1 and sum(patch.get_width() for patch in ax.patches) <= 30
        plt.close(figure)
