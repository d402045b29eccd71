"""Rows of ablations: what cannot be told from a few answers that all change alike."""

import numpy as np
import pandas as pd

from persona_interp.measurements.roles import NULL, TREATMENT, UNSTEERED
from persona_interp.studies.substrates.ablation import ablation_rows


def scored(changes: list[float]) -> pd.DataFrame:
    """Answers to as many questions, whole and without writers and one random set."""
    rows = [
        {"k": 4, "role": role, "draw": draw, "question": f"q{i}", "instruction": 0, "judge": 50 + shift * change}
        for role, draw, shift in ((UNSTEERED, -1, 0), (TREATMENT, -1, 1), (NULL, 0, 2))
        for i, change in enumerate(changes)
    ]
    return pd.DataFrame(rows)


def test_answers_that_all_change_alike_give_no_interval() -> None:
    (row,) = ablation_rows(scored([0.0, 0.0, 0.0]), ["judge"], seed=0).to_dict("records")
    assert row["effect"] == 0 and np.isnan(row["low"]) and np.isnan(row["high"])


def test_the_change_is_a_mean_over_questions_with_its_interval() -> None:
    (row,) = ablation_rows(scored([-1.0, -3.0, -2.0, -2.5]), ["judge"], seed=0).to_dict("records")
    assert row["effect"] == -2.125 and row["low"] < -2.125 < row["high"] and row["random"] == -4.25
    assert np.isnan(row["p"]) and row["n_questions"] == 4
