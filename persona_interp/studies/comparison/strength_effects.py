"""What came of steering to the same strength as rows of the table of effects, and the claims on it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from persona_interp.effects import Claim, Effect, Role, q_of, verdict
from persona_interp.measurements.setting import COHERENT_SHARE
from persona_interp.sections.words import change, number
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.permutation import permutation_test_paired
from persona_interp.studies.comparison.arm_rows import NATS, Steering, arm_effect, mean_over
from persona_interp.studies.comparison.axes_effects import role_of
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.families.answers import NAME
from persona_interp.studies.comparison.families.random import NAME as RANDOM_NAME
from persona_interp.studies.comparison.off_target_effects import (
    SLOPE,
    entangled,
    meaning_effects,
    off_target_effects,
    slope_effects,
)
from persona_interp.studies.comparison.steered import Steered
from persona_interp.studies.comparison.strength import ITEM, TEXT, UNSTEERED
from persona_interp.types import depth_of

CHANGE, AREA, OVER = "change of expression", "area under expression and KL", "area over random directions"
OVER_PERSONA, PROMPT_OVER = "area over the persona vector", "change over the persona vector"
COEFFICIENT, KL = "coefficient", "mean KL"
COHERENCE, COHERENT = "change of coherence", "share of coherent answers"
LOSS, ACCURACY = "change of loss on neutral texts", "change of four-option accuracy"
POINTS = "points of 100"
QUESTIONS = "evaluation questions"
RANDOM_MEAN = "random directions, mean"
BEATS = (
    "area under expression and KL minus that of the mean random direction, over questions: sign flips, corrected over"
    " families, q is at most 0.05; and the interval lies above zero"
)
Curve = Float[np.ndarray, "target question"]


def strength_effects(
    trait: str,
    layer: int,
    n_layers: int,
    steered: Steered,
    known: Mapping[str, float],
    run: ComparisonRun,
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of one trait."""
    here = Effect(
        metric=CHANGE,
        trait=trait,
        substrate="residual",
        layers=str(layer),
        depth=depth_of(layer, n_layers),
        stream="resid_post",
        data=QUESTIONS,
        place="named",
        reference="unsteered answers",
    )
    one = Steering(trait, layer, steered, here, run)
    headline = max(steered.judges, key=lambda judge: known.get(judge, 0.0))
    areas = {judge: areas_of(one, judge) for judge in steered.judges}
    over = [effect for judge in steered.judges for effect in _over(one, judge, headline, areas[judge])]
    over += [effect for judge in steered.judges for effect in _prompts(one, judge, headline)]
    effects = [*_strengths(one), *_answers(one), *_capability(one), *meaning_effects(one)]
    effects += [effect for judge in steered.judges for effect in _areas(one, judge, areas[judge])]
    effects += over
    effects += off_target_effects(one)
    slopes = list(slope_effects(one))
    effects += [effect for _, effect in slopes]
    effects = [effect.judged_by({trait: known}) for effect in effects]
    q = q_of(effects)
    claims = []
    for effect, value in zip(effects, q, strict=True):
        if effect.metric == OVER and effect.family and effect.judge == headline and effect.role != "null":
            claims.append(_beats(effect, value))
        if effect.metric == SLOPE and effect.family:
            claims.append(entangled(effect, value))
    return effects, claims


def _strengths(one: Steering) -> Iterator[Effect]:
    """Coefficients, and the KL that each has."""
    for row in one.arms:
        ends = {"estimate": row["kl_mean"], "low": row["kl_low"], "high": row["kl_high"], "level": CONFIDENCE}
        yield replace(arm_effect(one, row, KL), unit="nats", cluster="neutral prompt", **ends)
        if row["coefficient"] is not None:
            unit, found = "mean residual norms", row["coefficient"]
            yield replace(arm_effect(one, row, COEFFICIENT), unit=unit, estimate=found)


def _answers(one: Steering) -> Iterator[Effect]:
    """Expression, coherence and the share of coherent answers of every arm."""
    questions = np.arange(one.run.n_eval).astype(str)
    for row in one.arms:
        family, target = row["family"], row["target"]
        gate = one.values(family, target, "coherent", "")
        coherent = bool(gate.mean() >= COHERENT_SHARE)
        for judge in one.steered.judges:
            found = mean_over(one.change(family, target, "expression", judge), questions, one.run.seed)
            effect = replace(arm_effect(one, row, CHANGE), unit=POINTS, judge=judge, coherent=coherent)
            yield replace(effect, cluster="question").estimated(found)
        found = mean_over(one.change(family, target, "coherence", ""), questions, one.run.seed)
        yield replace(arm_effect(one, row, COHERENCE), unit="minimum z", cluster="question").estimated(found)
        yield replace(arm_effect(one, row, COHERENT), estimate=float(gate.mean()), n=len(gate))


def _capability(one: Steering) -> Iterator[Effect]:
    """Loss on neutral texts and accuracy, minus those of the unsteered model, over texts and over items."""
    table = one.steered.capability
    for row in one.arms:
        if row["target"] is None:
            continue
        mine = table[(table["family"] == row["family"]) & (table["target"] == row["target"])]
        for what, metric, unit in ((TEXT, LOSS, "nats a token"), (ITEM, ACCURACY, "share of items")):
            sides = [
                side[side["what"] == what].sort_values("unit")["value"].to_numpy(float)
                for side in (mine, table[table["family"] == UNSTEERED])
            ]
            found = mean_over(sides[0] - sides[1], np.arange(len(sides[0])).astype(str), one.run.seed)
            effect = replace(arm_effect(one, row, metric), unit=unit, cluster=what, data=f"{what}s")
            yield replace(effect, reference="unsteered model").estimated(found)


def areas_of(one: Steering, judge: str) -> dict[str, Float[np.ndarray, " question"]]:
    """By family the area under change of expression over KL, from 0 to the largest target, over that: a question each.

    The mean change over strengths up to the largest, linear between targets; only families that reach all of them.
    """
    targets, found = one.run.targets, {}
    for family in dict.fromkeys(row["family"] for row in one.arms if row["target"] is not None):
        reached = [row["target"] for row in one.arms if row["family"] == family]
        if list(reached) != list(targets):
            continue
        curve = np.stack([one.change(family, target, "expression", judge) for target in targets])
        found[family] = area(np.array(targets), curve)
    random = [values for family, values in found.items() if family.startswith(RANDOM_NAME)]
    return found | ({RANDOM_MEAN: np.mean(random, axis=0)} if random else {})


def area(targets: Float[np.ndarray, " target"], curve: Curve) -> Float[np.ndarray, " question"]:
    """Trapezoids under a curve that begins at 0, over the largest target."""
    at = np.concatenate([[0.0], targets])
    values = np.concatenate([np.zeros((1, curve.shape[1])), curve])
    return np.trapezoid(values, at, axis=0) / at[-1]


def _areas(one: Steering, judge: str, areas: Mapping[str, np.ndarray]) -> Iterator[Effect]:
    questions = np.arange(one.run.n_eval).astype(str)
    for family, values in areas.items():
        found = mean_over(values, questions, one.run.seed)
        yield _summed(one, family, judge, AREA, role_of(family) if family != RANDOM_MEAN else "null").estimated(found)


def _summed(one: Steering, family: str, judge: str, metric: str, role: Role) -> Effect:
    return replace(
        one.here,
        metric=metric,
        role=role,
        method=family,
        strength=one.run.targets[-1],
        strength_unit=f"{NATS}, from 0",
        condition="added at the layer",
        unit=POINTS,
        judge=judge,
        cluster="question",
    )


def _over(one: Steering, judge: str, headline: str, areas: Mapping[str, np.ndarray]) -> Iterator[Effect]:
    """Every family's area minus that of the mean random direction, and minus that of the persona vector."""
    for metric, baseline in ((OVER, RANDOM_MEAN), (OVER_PERSONA, NAME)):
        for family, values in areas.items():
            if baseline not in areas or family in (baseline, RANDOM_MEAN) or family.startswith(RANDOM_NAME):
                continue
            effect = replace(_summed(one, family, judge, metric, "treatment"), reference=baseline)
            tested = f"{metric}" if judge == headline else f"{metric}, {judge}"
            yield _paired(one, effect, values, areas[baseline], tested)


def _prompts(one: Steering, judge: str, headline: str) -> Iterator[Effect]:
    """Each prompt's change minus that of the persona vector at the same KL, linear between targets."""
    rows = [row for row in one.arms if row["family"] == NAME]
    at = np.array([0.0, *(row["target"] for row in rows)])
    if len(rows) == 0:
        return
    steered = np.stack([one.change(NAME, row["target"], "expression", judge) for row in rows])
    curve = np.concatenate([np.zeros((1, steered.shape[1])), steered])
    for row in one.arms:
        if row["target"] is not None or not row["kl_mean"] <= at[-1]:
            continue
        same = np.array([np.interp(row["kl_mean"], at, question) for question in curve.T])
        own = one.change(row["family"], None, "expression", judge)
        effect = replace(arm_effect(one, row, PROMPT_OVER), unit=POINTS, judge=judge)
        effect = replace(effect, reference=f"{NAME} at the same KL")
        tested = PROMPT_OVER if judge == headline else f"{PROMPT_OVER}, {judge}"
        yield _paired(one, effect, own, same, tested)


def _paired(one: Steering, effect: Effect, own: np.ndarray, other: np.ndarray, family: str) -> Effect:
    """The mean difference over questions, and its test by sign flips."""
    questions = np.arange(one.run.n_eval).astype(str)[: len(own)]
    known = np.isfinite(own - other)
    found = replace(effect, cluster="question").estimated(mean_over(own - other, questions, one.run.seed))
    if known.sum() < 2:
        return found
    test = permutation_test_paired(own[known], other[known], questions[known], seed=one.run.seed)
    return replace(found, fixed="directions", test="sign flips of questions", p=test.tested, family=family)


def _beats(effect: Effect, q: float) -> Claim:
    said = change(effect.estimate, effect.low, effect.high, digits=1)
    sentence = (
        f"{effect.method} raises {effect.trait} by {said} points more than random directions do, on average up to a KL"
        f" of {number(effect.strength)} nats ({effect.judge}; q = {number(q, 3)})."
    )
    return effect.claimed(
        f"{effect.method} steers", sentence[:1].upper() + sentence[1:], BEATS, verdict(q, effect.low, effect.high)
    )
