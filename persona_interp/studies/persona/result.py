"""What one trait gave, and its line of the summary."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.judges.consensus import CONSENSUS, DEVIATIONS
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.separation import SeparationProfile
from persona_interp.measurements.setting import NEAR, SELECTION_RULE, Setting
from persona_interp.measurements.steering_null import DirectionTest
from persona_interp.rollouts.generate import Rollouts
from persona_interp.statistics.levels import ALPHA
from persona_interp.statistics.shares import clustered_share
from persona_interp.studies.persona.bench import Panel
from persona_interp.studies.persona.claims import out_of_reach
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.gate import gate_notes
from persona_interp.studies.persona.validity import Shown
from persona_interp.types import Pooling

NAMED_RULE = "nothing: no judge is shown to work, so it is the place of the test, named beforehand"


@dataclass(frozen=True, eq=False)
class Extracted:
    """A trait's judged answers, and the vectors that they make."""

    trait: Trait
    panel: Panel
    train: Rollouts
    test: Rollouts
    shown: Shown
    vectors: Mapping[Pooling, Direction]


@dataclass(frozen=True, eq=False)
class TraitResult(Extracted):
    """What one trait gave: how its vectors separate, and what adding one of them does.

    Args:
        scored: a row an answer, steered at the setting or not; `by_direction` of random directions too.
    """

    profiles: Mapping[Pooling, SeparationProfile]
    baselines: pd.DataFrame
    setting: Setting
    scored: pd.DataFrame
    measured: Measurements
    by_direction: pd.DataFrame | None
    gate: pd.DataFrame
    facts: pd.DataFrame | None


def notes(result: TraitResult, tested: Mapping[str, Any], n_traits: int) -> list[str]:
    """What a reader must know beside the numbers; `tested` is the summary of the separation."""
    found = [
        f"Tested on {tested['n_test_positive']} answers to positive, {tested['n_test_negative']} to negative prompts,"
        f" {tested['n_test_questions']} questions that made no vector, along"
        " directions that their system prompts did not make."
    ]
    if out_of_reach(floor := tested["p_floor_shuffled"], n_traits):
        found.append(
            f"So few pairs of system prompts give p = {floor:.2g} at best: were this the only one of {n_traits} traits"
            f" that separates, its q could not be below {ALPHA:g}. Give traits more pairs, or run fewer together."
        )
    found += [f"Without the judge {name}: {reason}" for name, reason in result.panel.blind.items()]
    found += [f"Not shown to work alone: {n} ({why})." for n, why in result.shown.reasons.items()]
    if result.shown.heads and set(result.shown.heads) <= set(result.shown.reasons):
        found.append(
            "No judge is shown to work alone; those that see the trait weakly do so together: AUC"
            f" {result.shown.auc(CONSENSUS):.2f} of their consensus on texts whose trait is known."
        )
    if result.setting.stability is not None:
        found.append(
            f"Of random halves of the selection questions, {result.setting.stability:.0%} choose a layer within {NEAR}"
            " blocks of this one."
        )
    found += gate_notes(result.gate)
    if not result.setting.coherent:
        found.append("No positive coefficient gave coherent answers on the selection questions; the weakest was taken.")
    if result.facts is not None:
        for (kind, coefficient), cell in result.facts.dropna(subset=["invented"]).groupby(["kind", "coefficient"]):
            rate = clustered_share(cell["invented"].to_numpy(float) > 0, cell["question"].to_numpy(str))
            found.append(
                f"By rule, {kind} questions at coefficient {coefficient:+g}: {100 * rate.estimate:.0f} % invented or"
                f" wrong [{100 * rate.low:.0f}, {100 * rate.high:.0f}], n = {rate.n}."
            )
    return found


def coherent_share(result: TraitResult) -> float | None:
    """Share of the evaluated answers at the chosen setting that pass the gate; None where none was evaluated there."""
    scored, setting = result.scored, result.setting
    at = (scored["layer"] == setting.layer).fillna(False) & (scored["coefficient"] == setting.coefficient)
    return float(scored.loc[at, "passes_gate"].mean()) if at.any() else None


def agreeing_judges(effects: pd.DataFrame, shown: Shown) -> tuple[int, int]:
    """Single judges by which the effect has the same sign and an interval that leaves out zero, and all that count.

    Those count that are shown to work; not one that is the whole consensus, which cannot confirm itself.

    Args:
        effects: a row a judge, with `effect, effect_low, effect_high`, and one of the consensus where there is one.
    """
    own = effects.loc[effects["judge"] == CONSENSUS, "effect"]
    alone = shown.heads if len(shown.heads) == 1 else ()
    others = effects[~effects["judge"].isin([CONSENSUS, *shown.reasons, *alone])]
    if own.empty:
        return 0, len(others)
    bound = others["effect_low"] if own.iloc[0] > 0 else -others["effect_high"]
    return int((bound > 0).sum()), len(others)


def summary_row(
    config: RunConfig, result: TraitResult, separation: Mapping[str, Any], effects: pd.DataFrame
) -> dict[str, Any]:
    """The main numbers of one trait, JSON-ready.

    Args:
        separation: `SeparationProfile.summary` of the vector.
        effects: of this trait, a row a judge.
    """
    side = result.train.frame["side"]
    headline = effects[effects["judge"] == CONSENSUS].to_dict("records")
    effect = headline[0] if headline else dict.fromkeys(("effect", "effect_low", "effect_high", "n", "n_questions"))
    n_agreeing, n_others = agreeing_judges(effects, result.shown)
    return {
        "trait": result.trait.name,
        "n_positive": int((side == "positive").sum()),
        "n_negative": int((side == "negative").sum()),
        "n_kept_positive": separation["n_train_positive"],
        "n_kept_negative": separation["n_train_negative"],
        "filter": config.filter,
        **{key: separation[key] for key in ("best_layer", "auc", "auc_low", "auc_high", "detectable_auc")},
        **{f"p_{name}": separation[f"p_{name}"] for name in ("shuffled", "random", "other_traits", "components")},
        **{key: separation[key] for key in ("n_test_positive", "n_test_negative", "n_test_questions")},
        **{key: separation[key] for key in ("n_null", "n_null_random")},
        **{
            key: separation[key]
            for key in ("best_auc", "best_other_traits", "best_auc_other_traits", "best_auc_components")
        },
        "chosen_layer": result.setting.layer,
        "chosen_coefficient": result.setting.coefficient,
        "selection_rule": SELECTION_RULE if result.shown.heads else NAMED_RULE,
        "stability": _known(result.setting.stability),
        "coherent_share": coherent_share(result),
        **{key: _known(effect[key]) for key in ("effect", "effect_low", "effect_high")},
        "effect_judge": CONSENSUS if result.shown.heads else None,
        "effect_unit": DEVIATIONS if result.shown.heads else None,
        "judges_shown": list(result.shown.heads),
        "ungraded": result.shown.ungraded,
        "n_judges_agreeing": n_agreeing,
        "n_judges_beside": n_others,
        "n_eval": effect["n"],
        "n_eval_questions": effect["n_questions"],
        "n_resamples": config.n_resamples,
        "notes": notes(result, separation, len(config.traits)),
    }


def _known(value: float | None) -> float | None:
    """None for what could not be computed."""
    return None if value is None or np.isnan(value) else value


def steering_row(test: DirectionTest | None) -> dict[str, Any]:
    """The test against random directions in the summary, JSON-ready."""
    if test is None:
        return {"n_random": 0}
    numbers = {
        "test_effect": test.effect,
        "p_steering": test.p,
        "effect_random_low": test.null_low,
        "effect_random_high": test.null_high,
        "detectable_effect": test.detectable,
    }
    return {
        "test_layer": test.layer,
        "test_coefficient": test.coefficient,
        **{name: _known(value) for name, value in numbers.items()},
        "n_random": test.n_draws,
        "n_steering_questions": test.n_questions,
    }
