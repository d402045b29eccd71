"""Levels of the comparison of two profiles over layers; the slow test writes tests/golden/levels/causal.csv."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.statistics.levels import ALPHA, CONFIDENCE
from persona_interp.statistics.profiles import ProfileMatch, match_profiles

TABLE = Path(__file__).parent / "levels" / "causal.csv"
N_SETS = 1000
SHAPES = {
    "flat": (0, 0),
    "hump and flat": (1, 0),
    "hump and another": (1, 0),
    "alike": (1, 0.6),
    "much alike": (1, 0.9),
}
"""How much the first profile varies, and its true correlation with the second."""


def shapes(n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Two true profiles: a hump over the layers, and one that goes with it as much as is said."""
    at = np.arange(n) / (n - 1)
    hump = np.exp(-(((at - 0.6) / 0.2) ** 2))
    hump = (hump - hump.mean()) / hump.std()
    trend = at - at.mean() - (at @ hump) / (hump @ hump) * hump
    size, together = SHAPES[kind]
    other = together * hump + np.sqrt(1 - together**2) * trend / trend.std()
    return size * hump, 0 * other if kind in ("flat", "hump and flat") else other


def measured(rng: np.random.Generator, profile: np.ndarray, n_questions: int) -> np.ndarray:
    """With errors of questions: one in all layers, and one that neighbouring layers share."""
    noise = rng.standard_normal((n_questions, len(profile)))
    alike = noise.copy()
    for layer in range(1, len(profile)):
        alike[:, layer] = 0.8 * alike[:, layer - 1] + 0.6 * noise[:, layer]
    return profile + rng.standard_normal((n_questions, 1)) + alike


def draw(n: int, n_questions: int, kind: str, rng: np.random.Generator) -> ProfileMatch:
    """One comparison, in which both profiles share some of their errors."""
    shared = 0.7 * rng.standard_normal((n_questions, n))
    first, second = (measured(rng, profile, n_questions) + shared for profile in shapes(n, kind))
    return match_profiles(first, second)


@pytest.mark.slow
def test_levels_of_profiles() -> None:
    rows = []
    for kind, (_, true) in SHAPES.items():
        for n, n_questions in ((6, 8), (6, 20), (30, 8), (30, 20)):
            rng = np.random.default_rng([n, n_questions])
            found = [draw(n, n_questions, kind, rng) for _ in range(N_SETS)]
            said = f"profiles, {kind}, {n} layers, {n_questions} questions"
            share = np.mean([one.p <= ALPHA for one in found])
            rows.append(
                {"setting": f"{said}: p", "nominal": ALPHA if true == 0 else 1.0, "found": share, "n_sets": N_SETS}
            )
            ends = [(one.low, one.high) for one in found if one.low == one.low]
            if len(ends) >= 200:
                cover = np.mean([low <= true <= high for low, high in ends])
                rows.append(
                    {"setting": f"{said}: interval", "nominal": CONFIDENCE, "found": cover, "n_sets": len(ends)}
                )
    pd.DataFrame(rows).to_csv(TABLE, index=False)


def test_the_saved_levels_hold() -> None:
    rows = pd.read_csv(TABLE)
    assert (rows[rows["nominal"] == ALPHA]["found"] <= 0.065).all()
    assert (rows[rows["nominal"] == CONFIDENCE]["found"] >= 0.915).all()
    assert len(rows[rows["nominal"] == ALPHA]) == 12 and len(rows[rows["nominal"] == CONFIDENCE]) >= 8


def test_profiles_that_go_together_are_found_and_what_cannot_be_told_is_not() -> None:
    rng = np.random.default_rng(0)
    alike = draw(30, 20, "much alike", rng)
    assert alike.p <= ALPHA and alike.low < 0.9 < alike.high and alike.rank > 0.5
    flat = draw(30, 20, "flat", rng)
    assert np.isnan(flat.low) and flat.p > ALPHA
    assert np.isnan(match_profiles(np.ones((2, 30)), np.ones((2, 30))).p)
    assert np.isnan(match_profiles(np.full((9, 30), np.nan), np.ones((9, 30))).correlation)
