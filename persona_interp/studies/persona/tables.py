"""The tables of a run that its effects and summary are made of, and example answers."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.judges.consensus import CONSENSUS, LEAST_DEVIATION
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.separation import SeparationProfile
from persona_interp.measurements.setting import Setting
from persona_interp.rollouts.generate import Rollouts
from persona_interp.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    cliffs_delta_interval,
    hedges_g_interval,
    standardised_change,
)
from persona_interp.studies.persona.result import TraitResult
from persona_interp.types import Pooling

_EXAMPLE_QUESTIONS = 4
_PROMPTED = ("trait", "condition", "judge", "estimate", "low", "high", "n")
EFFECT_COLUMNS = (
    *("trait", "judge", "effect", "effect_low", "effect_high", "g", "g_low", "g_high"),
    *("delta", "delta_low", "delta_high", "n", "n_questions"),
)


def separation_rows(trait: Trait, pooling: Pooling, profile: SeparationProfile, direction: Direction) -> pd.DataFrame:
    """A row a layer, with the norm of the difference in units of the mean residual norm."""
    frame = profile.to_frame()
    assert direction.residual_norms is not None, "a persona vector from rollouts carries norms"
    relative = frame["norm"].to_numpy() / direction.residual_norms.numpy()
    return frame.assign(trait=trait.name, pooling=pooling, relative_norm=relative)


def prompted_rows(trait: Trait, rollouts: Rollouts, judges: Sequence[Judge], n_resamples: int) -> pd.DataFrame:
    """Expression of the held-out answers under positive and negative system prompts."""
    rows = []
    for side, cell in rollouts.frame.groupby("side"):
        for judge in judges:
            known = cell.dropna(subset=[judge.name])
            if known.empty:
                continue
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
    return pd.DataFrame(rows, columns=pd.Index(_PROMPTED))


def effect_rows(
    trait: Trait,
    scored: pd.DataFrame,
    setting: Setting,
    judges: Sequence[Judge],
    heads: Sequence[str] = (),
    *,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Steered minus unsteered answers at the chosen setting by the consensus and by every judge, with effect sizes.

    `effect` is in points of 100, of the consensus in standard deviations of unsteered answers (`standardised_change`);
    `g` is Hedges' g, in pooled standard deviations of single answers; `delta` is Cliff's delta,
    P(steered > unsteered) - P(steered < unsteered). Intervals are over questions, paired.

    Args:
        heads: the judges that make the consensus, of which `scored` has a column too.
    """
    draws: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed}
    at = (scored["layer"] == setting.layer).fillna(False) & (scored["coefficient"] == setting.coefficient)
    rows = []
    for judge in ([CONSENSUS] if heads else []) + [judge.name for judge in judges]:
        steered = scored[at].dropna(subset=[judge])
        unsteered = scored[scored["coefficient"] == 0].dropna(subset=[judge])
        if steered.empty or unsteered.empty:
            continue
        values = [side[judge].to_numpy(float) for side in (steered, unsteered)]
        questions = [side["question"].to_numpy() for side in (steered, unsteered)]
        row: dict[str, Any] = {"trait": trait.name, "judge": judge}
        by_judge = [side[list(heads)].to_numpy(float) for side in (steered, unsteered)]
        found_of = {
            "effect": standardised_change(*by_judge, *questions, least=LEAST_DEVIATION, **draws)
            if judge == CONSENSUS
            else bootstrap_difference(*values, *questions, **draws),
            "g": hedges_g_interval(*values, *questions, **draws),
            "delta": cliffs_delta_interval(*values, *questions),
        }
        for name, found in found_of.items():
            row |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row | {"n": len(steered) + len(unsteered), "n_questions": int(steered["question"].nunique())})
    return pd.DataFrame(rows, columns=pd.Index(EFFECT_COLUMNS))


def baseline_rows(result: TraitResult) -> pd.DataFrame:
    """The comparison of methods by layer, `chosen` being true at the layer chosen for steering.

    That layer was chosen on extraction questions, so it is no choice by the held-out answers that are compared.
    """
    return result.baselines.assign(chosen=result.baselines["layer"] == result.setting.layer)


def opposite(scored: pd.DataFrame, setting: Setting) -> list[float]:
    """The negative coefficient at the chosen layer that stands as far out on its side as the chosen one on its own."""
    at = sorted(scored.loc[(scored["layer"] == setting.layer).fillna(False), "coefficient"].unique())
    positive, negative = [c for c in at if c > 0], [c for c in reversed(at) if c < 0]
    if setting.coefficient not in positive or not negative:
        return []
    return [float(negative[min(positive.index(setting.coefficient), len(negative) - 1)])]


def validity_rows(result: TraitResult) -> pd.DataFrame:
    """Every AUC of every judge and of the consensus."""
    return pd.DataFrame([asdict(one) for one in result.shown.found])


def example_rows(result: TraitResult, judge: Judge) -> pd.DataFrame:
    """Answers to the first evaluation questions at minus, zero and plus the chosen coefficient, first samples only.

    Args:
        judge: of their expression where no judge is shown to work; else it is the consensus.
    """
    trait, scored, setting = result.trait, result.scored, result.setting
    by = CONSENSUS if result.shown.heads else judge.name
    shown = [0.0, setting.coefficient, *opposite(scored, setting)]
    there = (scored["layer"] == setting.layer).fillna(False) | (scored["coefficient"] == 0)
    chosen = scored[there & scored["coefficient"].isin(shown) & (scored["sample"] == 0)]
    questions = list(dict.fromkeys(chosen["question"]))[:_EXAMPLE_QUESTIONS]
    chosen = chosen[chosen["question"].isin(questions)].sort_values(["question", "coefficient"])
    return pd.DataFrame(
        {
            "trait": trait.name,
            "question": chosen["question"],
            "coefficient": chosen["coefficient"],
            "layer": setting.layer,
            "answer": chosen["answer"],
            "expression": chosen[by],
            "judge": by,
            "coherence": chosen["coherence"],
        }
    )
