"""What came of steering to the same strength as rows of the table of effects, and the claims on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from persona_interp.effects import Claim, Effect, Role, q_of, verdict
from persona_interp.sections.words import change, interval, number
from persona_interp.statistics.crossed_slope import CrossedSlope, crossed_slope
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.statistics.permutation import permutation_test_paired
from persona_interp.statistics.resampling import Interval
from persona_interp.studies.comparison.axes_effects import role_of
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.families.random import NAME as RANDOM_NAME
from persona_interp.studies.comparison.steered import MEANING, Steered
from persona_interp.studies.comparison.strength import ITEM, TEXT, UNSTEERED
from persona_interp.tables import rows_of
from persona_interp.types import depth_of

CHANGE, AREA, OVER = "change of expression", "area under expression and KL", "area over random directions"
COEFFICIENT, KL = "coefficient", "mean KL"
COHERENCE, COHERENT = "change of coherence", "share of coherent answers"
LOSS, ACCURACY = "change of loss on neutral texts", "change of four-option accuracy"
OFF_TARGET, SLOPE = "change of an off-target trait", "off-target change a unit of cosine"
OFF_COSINE = "cosine with an off-target trait"
RELIABILITY = "axis of meaning"
NATS, POINTS, SDS = "nats, mean KL", "points of 100", "standard deviations of unsteered answers"
QUESTIONS = "evaluation questions"
RANDOM_MEAN = "random directions, mean"
BEATS = (
    "area under expression and KL minus that of the mean random direction, over questions: sign flips, corrected over"
    " families, q is at most 0.05; and the interval lies above zero"
)
ENTANGLED = (
    "off-target change on cosine, without means of families and traits: renamed traits, q is at most 0.05; and the"
    " interval over traits lies above zero"
)

Row = dict[str, Any]
Curve = Float[np.ndarray, "target question"]


@dataclass(frozen=True, eq=False)
class _Trait:
    """One trait's ratings as matrices by family, and where it is steered."""

    name: str
    layer: int
    steered: Steered
    here: Effect
    run: ComparisonRun

    def values(self, family: str, target: float | None, what: str, judge: str) -> Float[np.ndarray, " question"]:
        """Ratings of one arm, a question each, in the order of the questions."""
        table = self.steered.ratings
        rows = table[(table["family"] == family) & (table["what"] == what) & (table["judge"] == judge)]
        rows = rows[rows["target"].isna()] if target is None else rows[rows["target"] == target]
        return rows.sort_values("question")["value"].to_numpy(float)

    def change(self, family: str, target: float | None, what: str, judge: str) -> Float[np.ndarray, " question"]:
        """The same minus the unsteered answers to the same questions."""
        return self.values(family, target, what, judge) - self.values(UNSTEERED, None, what, judge)

    @property
    def arms(self) -> list[Row]:
        """Families and targets that were answered at."""
        rows = rows_of(self.steered.strengths)
        return [row for row in rows if row["kl_mean"] is not None]


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
    one = _Trait(trait, layer, steered, here, run)
    headline = max(steered.judges, key=lambda judge: known.get(judge, 0.0))
    areas = {judge: areas_of(one, judge) for judge in steered.judges}
    over = [(judge, *pair) for judge in steered.judges for pair in _over(one, judge, headline, areas[judge])]
    effects = [*_strengths(one), *_answers(one), *_capability(one), *_meanings(one)]
    effects += [effect for judge in steered.judges for effect in _areas(one, judge, areas[judge])]
    effects += [effect for _, _, effect in over]
    effects += _off_target(one)
    slopes = list(_slopes(one))
    effects += [effect for _, effect in slopes]
    effects = [effect.judged_by({trait: known}) for effect in effects]
    q = q_of(effects)
    claims = []
    for effect, value in zip(effects, q, strict=True):
        if effect.metric == OVER and effect.family and effect.judge == headline and effect.role != "null":
            claims.append(_beats(effect, value))
        if effect.metric == SLOPE and effect.family:
            claims.append(_entangled(effect, value))
    return effects, claims


def _arm(one: _Trait, row: Row, metric: str, **more: Any) -> Effect:
    prompt = row["target"] is None
    return replace(
        one.here,
        metric=metric,
        role=role_of(row["family"]),
        method=row["family"],
        substrate="prompt" if prompt else one.here.substrate,
        strength=row["kl_mean"] if prompt else row["target"],
        strength_unit=NATS,
        condition="system prompt" if prompt else "added at the layer",
        **more,
    )


def _strengths(one: _Trait) -> Iterator[Effect]:
    """Coefficients, and the KL that each has."""
    for row in one.arms:
        ends = {"estimate": row["kl_mean"], "low": row["kl_low"], "high": row["kl_high"], "level": CONFIDENCE}
        yield _arm(one, row, KL, unit="nats", cluster="neutral prompt", **ends)
        if row["coefficient"] is not None:
            yield _arm(one, row, COEFFICIENT, unit="mean residual norms", estimate=row["coefficient"])


def _answers(one: _Trait) -> Iterator[Effect]:
    """Expression, coherence and the share of coherent answers of every arm."""
    questions = np.arange(one.run.n_eval).astype(str)
    for row in one.arms:
        family, target = row["family"], row["target"]
        gate = one.values(family, target, "coherent", "")
        coherent = bool(gate.mean() >= 0.8)
        for judge in one.steered.judges:
            found = _mean(one.change(family, target, "expression", judge), questions, one.run.seed)
            yield _arm(one, row, CHANGE, unit=POINTS, judge=judge, coherent=coherent, cluster="question").estimated(
                found
            )
        found = _mean(one.change(family, target, "coherence", ""), questions, one.run.seed)
        yield _arm(one, row, COHERENCE, unit="minimum z", cluster="question").estimated(found)
        yield _arm(one, row, COHERENT, estimate=float(gate.mean()), n=len(gate))


def _mean(values: Float[np.ndarray, " unit"], units: np.ndarray, seed: int) -> Interval:
    known = np.isfinite(values)
    if not known.any():
        nothing = float("nan")
        return Interval(nothing, nothing, nothing, 0, 0)
    return bootstrap_mean(values[known], units[: len(values)][known], seed=seed)


def _capability(one: _Trait) -> Iterator[Effect]:
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
            found = _mean(sides[0] - sides[1], np.arange(len(sides[0])).astype(str), one.run.seed)
            effect = _arm(one, row, metric, unit=unit, cluster=what).estimated(found)
            yield replace(effect, data=f"{what}s", reference="unsteered model")


def areas_of(one: _Trait, judge: str) -> dict[str, Float[np.ndarray, " question"]]:
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


def _areas(one: _Trait, judge: str, areas: Mapping[str, np.ndarray]) -> Iterator[Effect]:
    questions = np.arange(one.run.n_eval).astype(str)
    for family, values in areas.items():
        found = _mean(values, questions, one.run.seed)
        yield _summed(one, family, judge, AREA, role_of(family) if family != RANDOM_MEAN else "null").estimated(found)


def _summed(one: _Trait, family: str, judge: str, metric: str, role: Role) -> Effect:
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


def _over(one: _Trait, judge: str, headline: str, areas: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Effect]]:
    """Every family's area minus that of the mean random direction; the headline judge's are corrected together."""
    if RANDOM_MEAN not in areas:
        return
    questions = np.arange(one.run.n_eval).astype(str)
    for family, values in areas.items():
        if family == RANDOM_MEAN or family.startswith(RANDOM_NAME):
            continue
        difference = values - areas[RANDOM_MEAN]
        known = np.isfinite(difference)
        if known.sum() < 2:
            continue
        test = permutation_test_paired(
            values[known], areas[RANDOM_MEAN][known], questions[: len(known)][known], seed=one.run.seed
        )
        effect = _summed(one, family, judge, OVER, "treatment")
        effect = replace(
            effect.estimated(_mean(difference, questions, one.run.seed)),
            reference=RANDOM_MEAN,
            fixed="random directions",
            test="sign flips of questions",
            p=test.tested,
            family="families over random directions" if judge == headline else f"families over random, {judge}",
        )
        yield family, effect


def _meanings(one: _Trait) -> Iterator[Effect]:
    for row in rows_of(one.steered.axes):
        yield replace(
            one.here,
            metric=RELIABILITY,
            role="control",
            method=row["axis"],
            substrate="residual" if row["space"] == "residual" else None,
            condition=f"{row['metric']}, {row['space']}",
            data="pairs of antonyms",
            reference="chance, 0.5" if row["metric"] == "pairs told apart" else None,
            estimate=row["estimate"],
            low=row["low"],
            high=row["high"],
            level=CONFIDENCE,
            cluster="pair of antonyms",
            n_cluster=row["n"],
        )


def moved(one: _Trait, target: float) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Families, off-target traits and axes, their cosines, and the standardised mean change, family by trait."""
    cosines = one.steered.cosines.pivot(index="family", columns="target", values="cosine")
    reached = {row["family"] for row in one.arms if row["target"] == target}
    families = [family for family in dict.fromkeys(one.steered.cosines["family"]) if family in reached]
    targets = list(dict.fromkeys(one.steered.cosines["target"]))
    meanings = set(one.steered.ratings.loc[one.steered.ratings["what"] == MEANING, "judge"])
    y = np.full((len(families), len(targets)), np.nan)
    for j, name in enumerate(targets):
        what = MEANING if name in meanings else "off target"
        spread = np.nanstd(one.values(UNSTEERED, None, what, name), ddof=1)
        for i, family in enumerate(families):
            change = one.change(family, target, what, name)
            y[i, j] = np.nanmean(change) / spread if spread > 0 and np.isfinite(change).any() else np.nan
    return families, targets, cosines.loc[families, targets].to_numpy(float), y


def _off_target(one: _Trait) -> Iterator[Effect]:
    """Every family's cosine with every off-target trait and axis, and its change of it at every target."""
    for row in rows_of(one.steered.cosines):
        effect = replace(one.here, metric=OFF_COSINE, role=role_of(row["family"]), method=row["family"], reference=None)
        yield replace(effect, condition=row["target"], data="hard pairs, or antonyms", estimate=row["cosine"])
    for target in one.run.targets:
        families, targets, _, y = moved(one, target)
        for i, family in enumerate(families):
            for j, name in enumerate(targets):
                effect = _arm(one, {"family": family, "target": target}, OFF_TARGET, unit=SDS)
                yield replace(effect, condition=name, estimate=_number(y[i, j]), n=one.run.n_eval)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def main_target(run: ComparisonRun) -> float:
    """The target that off-target claims are about: 0.3 nats, or the nearest one."""
    return min(run.targets, key=lambda target: abs(target - 0.3))


def _slopes(one: _Trait) -> Iterator[tuple[CrossedSlope, Effect]]:
    """Off-target change on cosine at every target; that at the main one is the claim's."""
    meanings = set(one.steered.ratings.loc[one.steered.ratings["what"] == MEANING, "judge"])
    for target in one.run.targets:
        families, targets, x, y = moved(one, target)
        known = np.isfinite(y).all(axis=0)
        ways = {
            "traits and axes of meaning": known,
            "traits": known & np.array([name not in meanings for name in targets]),
        }
        for what, kept in ways.items():
            if len(families) < 2 or kept.sum() < 6:
                continue
            found = crossed_slope(x[:, kept], y[:, kept], seed=one.run.seed)
            effect = replace(
                one.here,
                metric=SLOPE,
                method="all families with a direction",
                condition=what,
                strength=target,
                strength_unit=NATS,
                unit=f"{SDS} a unit of cosine",
                estimate=found.estimate,
                low=found.low,
                high=found.high,
                level=CONFIDENCE,
                fixed="families, means of families and traits",
                n=found.shape[0] * found.shape[1],
                cluster="off-target trait or axis",
                n_cluster=found.shape[1],
                test="rank among renamed traits",
                null_kind="traits renamed",
                null_low=found.null_low,
                null_high=found.null_high,
                n_null=found.n_null,
                p=found.p,
                family="entanglement" if target == main_target(one.run) and what != "traits" else None,
            )
            yield found, effect


def _beats(effect: Effect, q: float) -> Claim:
    said = change(effect.estimate, effect.low, effect.high, digits=1)
    sentence = (
        f"{effect.method} raises {effect.trait} by {said} points more than random directions do, on average up to a KL"
        f" of {number(effect.strength)} nats ({effect.judge}; q = {number(q, 3)})."
    )
    return effect.claimed(
        f"{effect.method} steers", sentence[:1].upper() + sentence[1:], BEATS, verdict(q, effect.low, effect.high)
    )


def _entangled(effect: Effect, q: float) -> Claim:
    said = interval(effect.estimate, effect.low, effect.high)
    sentence = (
        f"Steering {effect.trait} moves off-target traits by {said} standard deviations a unit of cosine between the"
        f" family and the trait, at a KL of {number(effect.strength)} nats (q = {number(q, 3)})."
    )
    return effect.claimed(
        "off-target movement follows cosine", sentence, ENTANGLED, verdict(q, effect.low, effect.high)
    )
