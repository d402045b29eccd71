"""The tables of a run, each a CSV that a figure and the report read."""

from itertools import combinations
from pathlib import Path

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.io import atomic_write_bytes
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.separation import SeparationProfile
from persona_interp.measurements.statistics import bootstrap_mean, bootstrap_statistic, spearman
from persona_interp.measurements.steering import Setting
from persona_interp.rollouts.generate import Rollouts
from persona_interp.types import Pooling

_EXAMPLE_QUESTIONS = 4


def write_table(folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Write `tables/NAME.csv` atomically, floats in full precision."""
    atomic_write_bytes(folder / "tables" / f"{name}.csv", frame.to_csv(index=False).encode())


def separation_rows(trait: Trait, pooling: Pooling, profile: SeparationProfile, direction: Direction) -> pd.DataFrame:
    """A row a layer, with the norm of the difference in units of the mean residual norm."""
    frame = profile.to_frame()
    assert direction.residual_norms is not None, "a persona vector from rollouts carries norms"
    relative = frame["norm"].to_numpy() / direction.residual_norms.numpy()
    return frame.assign(trait=trait.name, pooling=pooling, relative_norm=relative)


def prompted_rows(trait: Trait, rollouts: Rollouts, judges: tuple[Judge, ...], *, n_resamples: int) -> pd.DataFrame:
    """Expression of the held-out answers under positive and negative system prompts."""
    rows = []
    for side, cell in rollouts.frame.groupby("side"):
        for judge in judges:
            known = cell.dropna(subset=[judge.name])
            interval = bootstrap_mean(
                known[judge.name].to_numpy(float), known["question"].to_numpy(), n_resamples=n_resamples
            )
            rows.append(
                {
                    "trait": trait.name,
                    "condition": side,
                    "judge": judge.name,
                    "estimate": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "n": interval.n,
                }
            )
    return pd.DataFrame(rows)


def judge_pair_rows(trait: Trait, rollouts: Rollouts, steered: pd.DataFrame, judges: tuple[Judge, ...]) -> pd.DataFrame:
    """Scores of the same answers by two judges: held-out prompted answers and steered ones."""
    conditions = {
        "positive prompt": rollouts.frame[rollouts.frame["side"] == "positive"],
        "negative prompt": rollouts.frame[rollouts.frame["side"] == "negative"],
        "steered": steered,
    }
    tables = []
    for a, b in combinations(judges, 2):
        for condition, answers in conditions.items():
            table = answers[[a.name, b.name, "question"]].dropna()
            table.columns = pd.Index(["value_a", "value_b", "question"])
            tables.append(table.assign(trait=trait.name, condition=condition, judge_a=a.name, judge_b=b.name))
    return pd.concat(tables, ignore_index=True)


def agreement_rows(pairs: pd.DataFrame, *, n_resamples: int) -> pd.DataFrame:
    """Spearman's rho between judges over the answers of a trait, with its cluster-bootstrap interval."""
    rows = []
    for (trait, a, b), cell in pairs.groupby(["trait", "judge_a", "judge_b"]):
        columns = (cell["value_a"].to_numpy(float), cell["value_b"].to_numpy(float))
        interval = bootstrap_statistic(spearman, columns, cell["question"].to_numpy(), n_resamples=n_resamples)
        rows.append(
            {
                "trait": trait,
                "judge_a": a,
                "judge_b": b,
                "spearman": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "n": interval.n,
            }
        )
    return pd.DataFrame(rows)


def example_rows(trait: Trait, scored: pd.DataFrame, setting: Setting, judge: Judge) -> pd.DataFrame:
    """Answers to the first evaluation questions at minus, zero and plus the chosen coefficient, first samples only."""
    at_layer = (scored["layer"] == setting.layer) & (scored["coefficient"].abs() == abs(setting.coefficient))
    chosen = scored[(at_layer | (scored["coefficient"] == 0)) & (scored["sample"] == 0)]
    questions = list(dict.fromkeys(chosen["question"]))[:_EXAMPLE_QUESTIONS]
    chosen = chosen[chosen["question"].isin(questions)].sort_values(["question", "coefficient"])
    return pd.DataFrame(
        {
            "trait": trait.name,
            "question": chosen["question"],
            "coefficient": chosen["coefficient"],
            "layer": setting.layer,
            "answer": chosen["answer"],
            "expression": chosen[judge.name],
            "coherence": chosen["coherence"],
        }
    )
