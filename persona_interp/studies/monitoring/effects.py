"""Tables of monitoring as rows of the table of effects, and the claims that a projection predicts expression."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Verdict, family_of, q_of, rejected, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.families import PRIMARY
from persona_interp.tables import rows_of
from persona_interp.types import depth_of

STUDY = "monitoring"
R, BEST, RANDOM, ALERTS = (
    "Pearson r with expression",
    "largest Pearson r over layers",
    "Pearson r of random directions, 95th percentile",
    "share of answers with an alert",
)
KINDS = {"system": "system prompts", "shots": "many shots"}
SCOPES = {"overall": "overall", "within": "within conditions"}
THESE = "for these conditions"
NULLS = "largest r against other directions"
RANDOM_DIRECTIONS = "random_directions"
PREDICTS = (
    "correlation of projection and expression at the layer named before, by the judge named first, conditions (within"
    " them: questions) exchanged, corrected over traits, kinds of conditions and scopes: q is at most 0.05; and the"
    " interval for new conditions too lies above zero. `does not`: below"
)
BEYOND = (
    "the largest correlation over layers, by the judge named first, among those of random directions with the"
    " covariance of the activations, each with its own best layer, corrected over all such nulls: q is at most 0.05"
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What the tables are of.

    Args:
        threshold: how the monitor's threshold was set, in words.
        n_null: random directions.
    """

    n_layers: int
    n_null: int
    threshold: str


def condition_of(kind: str, scope: str) -> str:
    """What an effect is over: the kind of conditions, and whether their own means are taken off."""
    return f"{KINDS[kind]}, {SCOPES[scope]}"


def monitoring_effects(
    correlations: DataFrame, nulls: DataFrame, alarms: DataFrame, of: Measured
) -> tuple[list[Effect], list[Claim]]:
    """Effects of the three tables, and the claims of every trait, kind of conditions and scope by the first judge.

    They are that the projection predicts, and that random directions do not.

    Args:
        correlations: as `monitoring_table` has them, with `null_95` of random directions at that layer; without `low`
            and `low_new` where there is no interval.
        nulls: as `monitoring_nulls` has them; `alarms`: as `false_alarms` has them.
    """
    rows = [(row, _correlation(row, of)) for row in rows_of(correlations)]
    effects = [effect for _, effect in rows]
    effects += [_for_these(row, effect) for row, effect in rows if row["low"] is not None]
    effects += [_random(row, effect, of) for row, effect in rows if row["null_95"] is not None]
    effects += [effect for row in rows_of(nulls) for effect in _largest(row, of)]
    effects += [_alerts(row, of) for row in rows_of(alarms)]
    tested = [one for one in zip(effects, q_of(effects), strict=True) if one[0].judge == rows[0][0]["judge"]]
    claims = [_predicts(effect, q) for effect, q in tested if effect.family == family_of(R, PRIMARY)]
    beyond = [one for one in tested if one[0].metric == BEST and one[0].null_kind == RANDOM_DIRECTIONS]
    return effects, claims + [_beyond(*one) for one in beyond]


def _projected(metric: str, row: Row, layer: int, of: Measured, pooling: str = "prompt_last") -> Effect:
    """What all numbers of the persona vector at one block share."""
    return Effect(
        metric=metric,
        trait=row.get("trait"),
        method="persona_vector",
        substrate="residual",
        layers=str(layer),
        depth=depth_of(layer, of.n_layers),
        place="named" if row.get("named", True) else "swept",
        stream="resid_post",
        pooling=pooling,
        data="evaluation questions",
    )


def _correlation(row: Row, of: Measured) -> Effect:
    """R with its interval for new conditions too."""
    if projected := row["predictor"] == "projection":
        effect = _projected(R, row, row["layer"], of)
    else:
        effect = Effect(
            metric=R,
            role="control",
            trait=row["trait"],
            method="grade of the condition",
            substrate="prompt",
            data="evaluation questions",
        )
    return replace(
        effect.measured(row, "estimate", "low_new", "high_new"),
        condition=condition_of(row["kind"], row["scope"]),
        reference="no correlation, 0",
        fixed="direction, layer, judge" if projected else "judge",
        n=row["n"],
        cluster="condition, and question",
        n_cluster=row["n_conditions"],
        test="whole conditions exchanged" if row["scope"] == "overall" else "questions exchanged within conditions",
        null_kind="expression exchanged",
        p=row["p"],
        family=family_of(R, row["declared"]),
        detectable=row["detectable"],
        judge=row["judge"],
    )


def _without(effect: Effect, *names: str) -> Effect:
    """The effect without what its test found, and without these."""
    return replace(effect, **dict.fromkeys(("test", "null_kind", "p", "family", *names)))


def _for_these(row: Row, effect: Effect) -> Effect:
    """The same r with its interval for new questions only."""
    same = replace(
        _without(effect, "detectable"),
        condition=f"{effect.condition}, {THESE}",
        fixed=f"conditions, {effect.fixed}",
        cluster="question",
        n_cluster=row["n_questions"],
    )
    return same.measured(row)


def _random(row: Row, effect: Effect, of: Measured) -> Effect:
    return replace(
        _without(effect, "low", "high", "level", "detectable", "fixed"),
        metric=RANDOM,
        role="null",
        method="random directions",
        estimate=row["null_95"],
        n_null=of.n_null,
    )


def _largest(row: Row, of: Measured) -> Iterator[Effect]:
    """The direction's best layer against those of a null, and the best named member of that null."""
    trait, kind, rest = row["test"].split(", ", 2)
    judge, scope = rest.rsplit(", ", 1)
    effect = replace(
        _projected(BEST, row, row["best_layer"], of),
        trait=trait,
        condition=condition_of(kind, scope),
        reference=f"largest r of other directions with {judge}",
        estimate=row["observed"],
        fixed="conditions, questions, judge",
        test="rank among largest r over layers",
        null_kind=row["family"],
        null_high=row["null_95"],
        n_null=row["n"],
        p=row["p"],
        family=None if row["p"] is None else NULLS,
        judge=judge,
        place="searched",
    )
    yield effect
    if row["best_member"] is not None:
        yield replace(
            _without(effect, "null_high", "n_null", "layers", "depth"),
            role="null",
            method=f"best of {row['family']}",
            estimate=row["best_value"],
            condition=f"{effect.condition}, {row['best_member']}",
        )


def _alerts(row: Row, of: Measured) -> Effect:
    hits = row["measure"] == "hits"
    what = "under the strongest system prompt" if hits else "without a prompt, other than those of the threshold"
    effect = replace(
        _projected(ALERTS, row, row["layer"], of, pooling="largest smoothed token"),
        role="treatment" if hits else "null",
        unit="share of answers",
        condition=f"answers {what}",
        reference=f"asked rate of false alarms, {row['asked_rate']:g}",
        fixed=f"direction, {of.threshold} of {row['n_neutral']} unprompted answers",
        n=row["n"],
        cluster="question",
        n_cluster=row["n"],
    )
    return effect.measured(row, "share")


def _predicts(effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)
    said = {"holds": "predicts", "does not": "predicts the opposite of", "undecided": "is not shown to predict"}[found]
    sentence = (
        f"The projection before an answer at layer {effect.layers} {said} its expression of {effect.trait}"
        f" ({effect.condition}, {effect.judge}): r {interval(effect.estimate, effect.low, effect.high)}, q {number(q)}."
    )
    name = f"the projection predicts expression, {effect.condition}"
    return replace(effect.claimed(name, sentence, PREDICTS, found), unit="r")


def _beyond(effect: Effect, q: float) -> Claim:
    found: Verdict = "holds" if rejected(q) else "undecided"
    estimate, bound = (None if one is None else float(one) for one in (effect.estimate, effect.null_high))
    said = "exceeds" if found == "holds" else "is not shown to exceed"
    sentence = (
        f"At its best layer the vector of {effect.trait} {said} random directions at theirs ({effect.condition},"
        f" {effect.judge}): r {number(estimate, 2)}, theirs up to {number(bound, 2)}, q {number(q)}."
    )
    return replace(effect.claimed(f"beyond random directions, {effect.condition}", sentence, BEYOND, found), unit=None)
