"""Separation where system prompts differ and no trait is there: whole prompts are exchanged, and hold their level."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.measurements.separation import SeparationProfile, separation_profile
from persona_interp.statistics.levels import ALPHA
from persona_interp.statistics.streams import stream

TABLE = Path(__file__).parent / "levels" / "separation.csv"
N_PAIRS, N_QUESTIONS, LAYERS, WIDTH = 5, 6, 3, 8
"""Five pairs of prompts answer six questions for training and six others for the test."""


def simulated(prompt_sd: float, trait: float, seed: int) -> SeparationProfile:
    """Rows of unit spread about the mean of their prompt; the trait shifts the positive ones along one axis."""
    rng = stream(seed, "separation")
    prompts = prompt_sd * rng.standard_normal((2, N_PAIRS, LAYERS, WIDTH))
    prompts[0, ..., 0] += trait
    sets = {}
    pairs = np.repeat(np.arange(N_PAIRS), N_QUESTIONS)
    for split in ("train", "test"):
        questions = np.array([f"{split} {k}" for k in range(N_QUESTIONS)] * N_PAIRS)
        of_questions = 0.3 * rng.standard_normal((N_QUESTIONS, LAYERS, WIDTH))
        for side, pole in enumerate(("positive", "negative")):
            noise = rng.standard_normal((len(pairs), LAYERS, WIDTH))
            rows = prompts[side][pairs] + np.tile(of_questions, (N_PAIRS, 1, 1)) + noise
            sets |= {f"{split}_{pole}": rows, f"{split}_{pole}_questions": questions}
        sets[f"{split}_prompts"] = (pairs, pairs)
    return separation_profile(**sets, n_null=300, seed=seed, shuffled_splits="both")


def found(prompt_sd: float, trait: float, n_sets: int) -> dict[str, float]:
    """Shares of sets that are rejected, and the mean nested AUC (0.5 is chance)."""
    summaries = [simulated(prompt_sd, trait, seed).summary() for seed in range(n_sets)]
    by_exchange, by_random = (
        np.array([summary[key] for summary in summaries]) <= ALPHA for key in ("p_shuffled", "p_random")
    )
    return {
        "rejected": float(by_exchange.mean()),
        "rejected, also against random directions": float((by_exchange & by_random).mean()),
        "auc": float(np.mean([summary["auc"] for summary in summaries])),
    }


@pytest.mark.slow
def test_prompts_without_a_trait_are_not_found() -> None:
    shares = found(0.5, 0.0, 60)
    assert shares["rejected"] <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 60)
    assert abs(shares["auc"] - 0.5) < 0.03, "the layer is chosen on other prompts, so chance is one half"


def test_a_trait_among_differing_prompts_is_found() -> None:
    shares = found(0.3, 1.5, 15)
    assert shares["rejected"] >= 0.8
    assert shares["auc"] > 0.75


@pytest.mark.slow
def test_levels_and_power_over_the_spread_of_prompts() -> None:
    n_sets, rows = 150, []
    for prompt_sd in (0.0, 0.2, 0.3, 0.5):
        for trait in (0.0, 1.5):
            shares = found(prompt_sd, trait, n_sets)
            setting = (
                f"prompt SD {prompt_sd:g}, trait {trait:g} (of the row SD); {N_PAIRS} pairs, {N_QUESTIONS} questions"
            )
            for what, value in shares.items():
                rows.append({"what": what, "setting": setting, "nominal": ALPHA, "found": value, "n_sets": n_sets})
            if trait == 0:
                assert shares["rejected"] <= ALPHA + 2.6 * np.sqrt(ALPHA * (1 - ALPHA) / n_sets)
    TABLE.parent.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.4g")
