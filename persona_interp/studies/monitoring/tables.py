"""How well monitoring predicts: correlations by layer with intervals and p-values, and the null battery."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from persona_interp.arguments import checked
from persona_interp.bounds import Amount, Count, Seed
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.statistics import (
    Interval,
    correlation_interval,
    permutation_test_correlation,
    varied_conditions,
    within_condition_correlation,
)
from persona_interp.statistics.contrast import Contrast
from persona_interp.statistics.families import in_families
from persona_interp.statistics.levels import N_RESAMPLES
from persona_interp.statistics.nulls import NullBattery, Statistic, battery_table, correlation_statistic, null_battery
from persona_interp.statistics.power import detectable_correlation
from persona_interp.studies.monitoring.conditions import Monitoring, rated_units

Scope = Literal["overall", "within"]
SCOPES: tuple[Scope, ...] = ("overall", "within")

MIN_SD = 1.0
"""Conditions whose expression varies less (standard deviation, points of 100) are left out of within-condition r."""


@checked
def monitoring_table(
    results: Sequence[Monitoring],
    *,
    named_layers: Mapping[str, int],
    min_sd: Amount = MIN_SD,
    n_resamples: Count = 2000,
    n_permutations: Count = 1999,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Pearson r of projection and expression: every trait, kind of condition, judge and layer, overall and within.

    `within` takes each condition's own means off, so it is what the projection says beyond the condition. The rows with
    predictor `level` say how well the condition's own grade predicts, without looking into the model. `low`, `high` are
    for new questions under these conditions; `low_new`, `high_new` for new conditions too (wider, often by far; NaN
    with one condition), from which `detectable`, the least r found in 80 % of repetitions, is taken. Both hold the
    direction, its layer and the judge fixed. p is one-sided (larger projection, more expression): overall against whole
    conditions exchanged, within against the answers of whole questions exchanged. q
    corrects over the primary rows (`declared`: the projection at the named layer by the judge that comes first, overall
    and within) and apart from them over all others, the map, in which the layers and judges of a trait, kind of
    condition and scope are one claim (`in_families`). Overall p is that of the questions rated under every condition; p
    is NaN where so little can be exchanged that no p could be .05 (three conditions, say).

    Args:
        named_layers: by trait, the layer that was named before these data were seen; `named` marks its rows. Any other
            layer picked from this table was picked on evaluation data.
    """
    rows = []
    for result in results:
        named = named_layers.get(result.trait)
        if named not in result.layers:
            raise ConfigError(f"no layer in this measurement was named in advance for {result.trait}: got {named}.")
        options = {"min_sd": min_sd, "n_resamples": n_resamples, "n_permutations": n_permutations, "seed": seed}
        for kind in result.kinds:
            for judge in result.judges:
                units = rated_units(result, kind, judge)
                shared = {"trait": result.trait, "kind": kind, "judge": judge}
                level = result.units["level"].to_numpy(float)[units]
                rows.append(shared | {"predictor": "level", "layer": None, "scope": "overall", "named": False})
                rows[-1] |= _correlated(level, result, units, judge, "overall", **options)
                for k, layer in enumerate(result.layers):
                    for scope in SCOPES:
                        place = {"predictor": "projection", "layer": layer, "scope": scope, "named": layer == named}
                        x = result.projections[units, k].astype(float)
                        rows.append(shared | place | _correlated(x, result, units, judge, scope, **options))
    table = pd.DataFrame(rows)
    return monitoring_families(table).astype({"layer": "Int64"})


def monitoring_families(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `monitoring_table` with q of their p, and `declared`: named layer by the first judge, or map."""
    primary = table["named"] & (table["judge"] == table["judge"].iloc[0])
    return in_families(table, ["trait", "kind", "predictor", "scope"], primary=primary.to_numpy(bool))


@checked
def monitoring_nulls(
    results: Sequence[Monitoring],
    training: Mapping[str, Contrast],
    *,
    other_directions: Mapping[str, Sequence[Direction]] | None = None,
    min_sd: Amount = MIN_SD,
    n_draws: Count = 200,
    seed: Seed = 0,
) -> tuple[pd.DataFrame, dict[str, NullBattery]]:
    """Each direction's best r over layers against other directions' best, and the batteries that the table rests on.

    The layer is chosen on these data for the direction and for every member of the null alike, so the p-values are
    fair although the best r itself is optimistic. See `null_battery` for the families.

    Args:
        training: by trait, the activations that its direction was extracted from, at the direction's hookpoints.
        other_directions: by trait, directions of other traits with the same hookpoints.
    """
    batteries = {}
    for result in results:
        rows = [result.direction.index(layer) for layer in result.layers]
        made = training[result.trait]
        made = Contrast(made.values[:, rows], made.labels, made.questions)
        others = {d.trait: d.vectors[rows].numpy() for d in (other_directions or {}).get(result.trait, ())}
        targets = result.activations.values[:, [result.activations.hookpoints.index(h) for h in _points(result)]]
        for kind in result.kinds:
            for judge in result.judges:
                units = rated_units(result, kind, judge)
                y, conditions = _expression(result, units, judge)
                for scope in SCOPES:
                    kept = varied_conditions(y, conditions, min_sd=min_sd) if scope == "within" else np.isfinite(y)
                    if not kept.any():
                        continue
                    statistic = correlation_statistic if scope == "overall" else within_statistic(conditions[kept])
                    batteries[f"{result.trait}, {kind}, {judge}, {scope}"] = null_battery(
                        result.direction.vectors[rows].numpy(),
                        made,
                        targets[units[kept]].numpy(),
                        y[kept],
                        statistic,
                        other_vectors=others,
                        n_draws=n_draws,
                        seed=seed,
                    )
    return battery_table(batteries), batteries


def within_statistic(conditions: Shaped[np.ndarray, " target"]) -> Statistic:
    """Pearson r of each column of projections with its outcomes after the means of each condition are taken off."""
    codes = np.unique(conditions.astype(str), return_inverse=True)[1]
    member = np.eye(int(codes.max()) + 1)[codes]
    means = member @ (member / member.sum(axis=0)).T

    def statistic(
        projections: Float[np.ndarray, "target draw"], outcomes: Shaped[np.ndarray, "draw target"]
    ) -> Float[np.ndarray, " draw"]:
        outcomes = outcomes.astype(float)
        return correlation_statistic(projections - means @ projections, outcomes - outcomes @ means)

    return statistic


def _points(result: Monitoring) -> list[Any]:
    return [result.direction.hookpoints[result.direction.index(layer)] for layer in result.layers]


def _expression(
    result: Monitoring, units: Shaped[np.ndarray, " unit"], judge: str
) -> tuple[Float[np.ndarray, " unit"], Shaped[np.ndarray, " unit"]]:
    return result.units[judge].to_numpy(float)[units], result.units["condition"].to_numpy(object)[units].astype(str)


def _correlated(
    x: Float[np.ndarray, " unit"],
    result: Monitoring,
    units: Shaped[np.ndarray, " unit"],
    judge: str,
    scope: Scope,
    *,
    min_sd: float,
    n_resamples: int,
    n_permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Pearson r with its interval and one-sided p; NaN where no condition's expression varies."""
    y, conditions = _expression(result, units, judge)
    questions = result.units["question"].to_numpy(object)[units].astype(str)
    tests = {"alternative": "greater", "n_permutations": n_permutations, "seed": seed}
    interval, new = monitoring_intervals(
        x, y, questions, conditions, scope, min_sd=min_sd, n_resamples=n_resamples, seed=seed
    )
    if scope == "overall":
        names, times = np.unique(questions, return_counts=True)
        whole = np.isin(questions, names[times == len(set(conditions))])
        # whole conditions are exchanged, so the same questions must come in one order in all of them
        order = np.lexsort((questions, conditions))
        order = order[whole[order]]
        n_conditions, p = len(set(conditions)), _exchanged_p(x[order], y[order], conditions[order], **tests)
    elif interval.n == 0:
        n_conditions, p = 0, float("nan")
    else:
        kept = varied_conditions(y, conditions, min_sd=min_sd)
        n_conditions = len(set(conditions[kept]))
        p = _exchanged_p(x[kept], y[kept], questions[kept], within=conditions[kept], **tests)
    return {
        **{"estimate": interval.estimate, "low": interval.low, "high": interval.high, "n": interval.n},
        **{"low_new": new.low, "high_new": new.high},
        **{"n_questions": interval.n_clusters, "n_conditions": n_conditions, "p": p},
        "detectable": detectable_correlation(new.error, new.freedom),
    }


def monitoring_intervals(
    x: Float[np.ndarray, " unit"],
    y: Float[np.ndarray, " unit"],
    questions: Shaped[np.ndarray, " unit"],
    conditions: Shaped[np.ndarray, " unit"],
    scope: Scope,
    *,
    min_sd: float = MIN_SD,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> tuple[Interval, Interval]:
    """Pearson r of projections and expression, with its interval for new questions and for new conditions too.

    `within` takes each condition's own means off; NaN with n = 0 where no condition's expression varies by `min_sd`.
    """
    options: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed}
    if scope == "within":
        try:
            these, new = (
                within_condition_correlation(x, y, conditions, clusters=questions, min_sd=min_sd, also=also, **options)
                for also in (None, conditions)
            )
        except EmptySelectionError:
            these = new = Interval(*(float("nan"),) * 3, n=0, n_clusters=0)
        return these, new
    these, new = (correlation_interval(x, y, questions, also=also, **options) for also in (None, conditions))
    return these, new


def _exchanged_p(
    x: Float[np.ndarray, " unit"], y: Float[np.ndarray, " unit"], clusters: Shaped[np.ndarray, " unit"], **tests: Any
) -> float:
    """The p-value of the correlation; NaN where too few clusters can be exchanged (a single condition, say)."""
    if len(x) == 0:
        return float("nan")
    try:
        return permutation_test_correlation(x, y, clusters, **tests).tested
    except AlignmentError:
        return float("nan")
