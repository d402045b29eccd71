"""Tables of monitoring as rows of the table of effects, and the claims that a projection predicts expression."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Verdict, family_of, rejected, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.families import PRIMARY
from persona_interp.statistics.levels import CONFIDENCE
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


def monitoring_effects(correlations: DataFrame, nulls: DataFrame, alarms: DataFrame, of: Measured) -> list[Effect]:
    """Effects of the three tables.

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
    return effects + [_alerts(row, of) for row in rows_of(alarms)]


def monitoring_claims(effects: Sequence[Effect], q: Sequence[float], *, judge: str) -> list[Claim]:
    """For every trait, kind of conditions and scope: that the projection predicts, and that random directions do not.

    Args:
        q: of every effect.
        judge: that was named first.
    """
    tested = [(e, one) for e, one in zip(effects, q, strict=True) if e.judge == judge]
    primary = [_predicts(e, one) for e, one in tested if e.family == family_of(R, PRIMARY)]
    return primary + [_beyond(e, one) for e, one in tested if e.metric == BEST and e.null_kind == RANDOM_DIRECTIONS]


def _correlation(row: Row, of: Measured) -> Effect:
    """R with its interval for new conditions too."""
    projected = row["predictor"] == "projection"
    return Effect(
        metric=R,
        role="treatment" if projected else "control",
        trait=row["trait"],
        method="persona_vector" if projected else "grade of the condition",
        substrate="residual" if projected else "prompt",
        layers=str(row["layer"]) if projected else None,
        depth=depth_of(row["layer"], of.n_layers) if projected else None,
        stream="resid_post" if projected else None,
        pooling="prompt_last" if projected else None,
        condition=condition_of(row["kind"], row["scope"]),
        data="evaluation questions",
        reference="no correlation, 0",
        estimate=row["estimate"],
        low=row["low_new"],
        high=row["high_new"],
        level=None if row["low_new"] is None else CONFIDENCE,
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


def _for_these(row: Row, effect: Effect) -> Effect:
    """The same r with its interval for new questions only."""
    same = replace(
        effect,
        condition=f"{effect.condition}, {THESE}",
        fixed=f"conditions, {effect.fixed}",
        cluster="question",
        n_cluster=row["n_questions"],
        **dict.fromkeys(("test", "null_kind", "p", "family", "detectable")),
    )
    return same.measured(row)


def _random(row: Row, effect: Effect, of: Measured) -> Effect:
    return replace(
        effect,
        metric=RANDOM,
        role="null",
        method="random directions",
        estimate=row["null_95"],
        n_null=of.n_null,
        **dict.fromkeys(("low", "high", "level", "test", "null_kind", "p", "family", "detectable", "fixed")),
    )


def _largest(row: Row, of: Measured) -> Iterator[Effect]:
    """The direction's best layer against those of a null, and the best named member of that null."""
    trait, kind, rest = row["test"].split(", ", 2)
    judge, scope = rest.rsplit(", ", 1)
    layer = row["best_layer"]
    effect = Effect(
        metric=BEST,
        trait=trait,
        method="persona_vector",
        substrate="residual",
        layers=str(layer),
        depth=depth_of(layer, of.n_layers),
        stream="resid_post",
        pooling="prompt_last",
        condition=condition_of(kind, scope),
        data="evaluation questions",
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
        member = replace(effect, role="null", method=f"best of {row['family']}", estimate=row["best_value"])
        member = replace(member, condition=f"{effect.condition}, {row['best_member']}", layers=None, depth=None)
        yield replace(member, **dict.fromkeys(("test", "null_kind", "null_high", "n_null", "p", "family")))


def _alerts(row: Row, of: Measured) -> Effect:
    hits = row["measure"] == "hits"
    what = "under the strongest system prompt" if hits else "without a prompt, other than those of the threshold"
    effect = Effect(
        metric=ALERTS,
        role="treatment" if hits else "null",
        unit="share of answers",
        trait=row["trait"],
        method="persona_vector",
        substrate="residual",
        layers=str(row["layer"]),
        depth=depth_of(row["layer"], of.n_layers),
        stream="resid_post",
        pooling="largest smoothed token",
        condition=f"answers {what}",
        data="evaluation questions",
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
    return Claim(
        claim=f"the projection predicts expression, {effect.condition}",
        trait=effect.trait,
        sentence=(
            f"The projection before an answer at layer {effect.layers} {said} its expression of {effect.trait}"
            f" ({effect.condition}, {effect.judge}): r {interval(effect.estimate, effect.low, effect.high)}, q"
            f" {number(q)}."
        ),
        rule=PREDICTS,
        effects=[effect],
        verdict=found,
        detectable=None if effect.detectable is None else float(effect.detectable),
        unit="r",
    )


def _beyond(effect: Effect, q: float) -> Claim:
    found: Verdict = "holds" if rejected(q) else "undecided"
    estimate, bound = (None if one is None else float(one) for one in (effect.estimate, effect.null_high))
    said = "exceeds" if found == "holds" else "is not shown to exceed"
    return Claim(
        claim=f"beyond random directions, {effect.condition}",
        trait=effect.trait,
        sentence=(
            f"At its best layer the vector of {effect.trait} {said} random directions at theirs ({effect.condition},"
            f" {effect.judge}): r {number(estimate, 2)}, theirs up to {number(bound, 2)}, q {number(q)}."
        ),
        rule=BEYOND,
        effects=[effect],
        verdict=found,
    )
