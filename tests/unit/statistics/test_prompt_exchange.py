"""Whole prompts exchanged, prompts held out."""

import numpy as np
import pytest

from persona_interp.measurements.separation import SeparationProfile, separation_profile
from persona_interp.statistics.prompt_exchange import prompt_arrangements
from persona_interp.statistics.streams import stream

N_QUESTIONS, LAYERS, WIDTH = 4, 2, 8


def profile(rng: np.random.Generator, effect: float, n_pairs: int = 5, prompt_sd: float = 0.3) -> SeparationProfile:
    """Prompts differ by `prompt_sd` of the row SD on every axis, and poles by `effect` on the first."""
    prompts = prompt_sd * rng.standard_normal((2, n_pairs, LAYERS, WIDTH))
    pairs, questions = (grid.ravel() for grid in np.indices((n_pairs, N_QUESTIONS)))
    rows = [prompts[k, pairs] + rng.standard_normal((len(pairs), LAYERS, WIDTH)) for k in (0, 1, 0, 1)]
    for side, sign in zip(rows, (0.5, -0.5, 0.5, -0.5), strict=True):
        side[:, :, 0] += sign * effect
    return separation_profile(
        train_positive=rows[0], train_negative=rows[1], test_positive=rows[2], test_negative=rows[3],
        train_positive_questions=questions, train_negative_questions=questions,
        test_positive_questions=questions + 9, test_negative_questions=questions + 9,
        train_prompts=(pairs, pairs), test_prompts=(pairs, pairs), n_null=251,
    )  # fmt: skip


def test_five_pairs_have_252_arrangements_within_strata_fewer():
    positive = np.arange(10) < 5
    others, exact = prompt_arrangements(positive, np.zeros(10), 2000, stream(0, "prompts"))
    assert (exact, len(others), len(np.unique(others, axis=0))) == (True, 251, 251)
    assert (others.sum(axis=1) == 5).all() and (others != positive).any(axis=1).all()
    few, _ = prompt_arrangements(positive, np.arange(10) % 5 < 3, 2000, stream(0, "prompts"))
    assert len(few) == 20 * 6 - 1
    drawn, exact = prompt_arrangements(positive, np.zeros(10), 100, stream(0, "prompts"))
    assert (exact, drawn.shape) == (False, (100, 10)) and (drawn.sum(axis=1) == 5).all()


def test_a_trait_is_found_at_the_floor_and_one_pair_gives_no_test():
    found = profile(np.random.default_rng(1), 6.0).summary()
    assert (found["held_out"], found["p_shuffled"]) == ("crossed", pytest.approx(2 / 252))
    assert found["p_random"] >= found["p_shuffled"] and found["auc"] > 0.9
    alone = profile(np.random.default_rng(1), 6.0, n_pairs=1).summary()
    assert alone["p_shuffled"] is None and alone["p_random"] is None


def test_prompts_that_differ_without_a_trait_are_not_found():
    rng = np.random.default_rng(2)
    found = [profile(rng, 0.0, prompt_sd=0.5) for _ in range(20)]
    assert sum(each.p_shuffled <= 0.05 for each in found) <= 4
