"""Steering against random directions where directions differ: the direction is the unit, and its rank the test."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.measurements.roles import NULL, TREATMENT
from persona_interp.measurements.steering_null import DirectionTest, direction_test, draws_for
from persona_interp.statistics import permutation_test_paired
from persona_interp.statistics.levels import ALPHA
from persona_interp.statistics.streams import stream
from persona_interp.studies.persona.claims import PRIMARY, corrected

TABLE = Path(__file__).parent / "levels" / "steering.csv"
N_QUESTIONS, OF_ANSWERS = 20, 10.0
UNTESTED = {"p_other_traits": None, "p_components": None}


def answered(rng: np.random.Generator, spread: float, effect: float, n_draws: int) -> np.ndarray:
    """Changes of 20 answers along each direction, the tested one first; directions differ by `spread` points."""
    of_direction = spread * rng.standard_normal(n_draws + 1)
    of_direction[0] += effect
    return of_direction[:, None] + OF_ANSWERS * rng.standard_normal((n_draws + 1, N_QUESTIONS))


def ranked(change: np.ndarray) -> DirectionTest:
    frame = pd.DataFrame({"role": [TREATMENT, *[NULL] * (len(change) - 1)], "effect": change.mean(axis=1), "se": 1.0})
    return direction_test(frame.assign(n_questions=N_QUESTIONS, layer=1, coefficient=0.2))


def as_if_fixed(change: np.ndarray, seed: int) -> float:
    """The test that was used before: answers along the direction against the mean of a few random ones, paired."""
    questions = np.arange(N_QUESTIONS)
    return permutation_test_paired(
        change[0], change[1:4].mean(axis=0), questions, n_permutations=199, seed=seed
    ).p_value


def rejected(spread: float, effect: float, n_sets: int, n_draws: int = 100) -> dict[str, float]:
    ranks, fixed = [], []
    for seed in range(n_sets):
        change = answered(stream(seed, "directions"), spread, effect, n_draws)
        ranks.append(ranked(change).p <= ALPHA)
        fixed.append(as_if_fixed(change, seed) <= ALPHA)
    return {"rank among 100": float(np.mean(ranks)), "paired with the mean of three": float(np.mean(fixed))}


def any_claimed(n_traits: int, n_true: int, effect: float, n_sets: int) -> dict[str, float]:
    """Of the claims of a run, some of whose traits only steer: the share of false ones, and how often a true one."""
    false, true = [], []
    for seed in range(n_sets):
        rng = stream(seed, "traits")
        tests = [ranked(answered(rng, 3.0, effect * (k < n_true), draws_for(n_traits))) for k in range(n_traits)]
        rows = corrected([{**UNTESTED, "p_shuffled": p, "p_random": p} for p in rng.uniform(size=n_traits)], tests)
        claimed = np.array([row[f"q_{claim}"] for claim in PRIMARY[::-1] for row in rows], dtype=float) <= ALPHA
        false.append(claimed[n_true:].sum() / max(1, claimed.sum()))
        true.extend(claimed[:n_true])
    return {"false discoveries": float(np.mean(false)), "found": float(np.mean(true)) if true else float("nan")}


def test_the_rank_holds_its_level_where_the_paired_test_does_not() -> None:
    shares = rejected(4.0, 0.0, 300)
    assert shares["rank among 100"] <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 300)
    assert shares["paired with the mean of three"] > 0.2


def test_false_claims_among_seven_traits_are_rare_and_one_true_effect_is_found() -> None:
    assert any_claimed(7, 0, 0.0, 60)["false discoveries"] <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 60)
    assert any_claimed(7, 1, 20.0, 20)["found"] >= 0.9


@pytest.mark.slow
def test_level_and_power_over_the_spread_of_directions() -> None:
    rows = []
    for spread in (0.0, 2.0, 4.0):
        for effect in (0.0, 8.0):
            setting = f"directions differ by {spread:g} points, effect {effect:g}; 20 questions"
            for test, share in rejected(spread, effect, 1000).items():
                rows.append(
                    {"what": f"rejected: {test}", "setting": setting, "nominal": ALPHA, "found": share, "n_sets": 1000}
                )
                if effect == 0 and test == "rank among 100":
                    assert share <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 1000)
    for n_true, effect in ((0, 0.0), (1, 10.0), (1, 20.0), (3, 10.0)):
        setting = f"7 traits, {n_true} with an effect of {effect:g} points; q over both claims of all traits"
        for what, share in any_claimed(7, n_true, effect, 300).items():
            rows.append({"what": what, "setting": setting, "nominal": ALPHA, "found": share, "n_sets": 300})
            if what == "false discoveries":
                assert share <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 300)
    pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.4g")
