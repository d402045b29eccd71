"""What moves beside the trait as rows of the table of effects: off-target traits, axes of meaning, and the slope."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from persona_interp.effects import Claim, Effect, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.crossed_slope import CrossedSlope, crossed_slope
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.studies.comparison.arm_rows import NATS, SDS, Steering, arm_effect
from persona_interp.studies.comparison.axes_effects import role_of
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.steered import MEANING
from persona_interp.studies.comparison.strength import UNSTEERED
from persona_interp.tables import rows_of

OFF_TARGET, SLOPE = "change of an off-target trait", "off-target change a unit of cosine"
OFF_COSINE = "cosine with an off-target trait"
RELIABILITY = "axis of meaning"
ENTANGLED = (
    "off-target change on cosine, without means of families and traits: renamed traits, q is at most 0.05; and the"
    " interval over traits lies above zero"
)


def meaning_effects(one: Steering) -> Iterator[Effect]:
    """How reliable the axes of meaning are in either space."""
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


def moved(one: Steering, target: float) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
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


def off_target_effects(one: Steering) -> Iterator[Effect]:
    """Every family's cosine with every off-target trait and axis, and its change of it at every target."""
    for row in rows_of(one.steered.cosines):
        effect = replace(one.here, metric=OFF_COSINE, role=role_of(row["family"]), method=row["family"], reference=None)
        yield replace(effect, condition=row["target"], data="hard pairs, or antonyms", estimate=row["cosine"])
    for target in one.run.targets:
        families, targets, _, y = moved(one, target)
        for i, family in enumerate(families):
            for j, name in enumerate(targets):
                effect = arm_effect(one, {"family": family, "target": target}, OFF_TARGET)
                yield replace(effect, unit=SDS, condition=name, estimate=_number(y[i, j]), n=one.run.n_eval)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def main_target(run: ComparisonRun) -> float:
    """The target that off-target claims are about: 0.3 nats, or the nearest one."""
    return min(run.targets, key=lambda target: abs(target - 0.3))


def slope_effects(one: Steering) -> Iterator[tuple[CrossedSlope, Effect]]:
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


def entangled(effect: Effect, q: float) -> Claim:
    """Whether what moves off target goes with the cosine."""
    said = interval(effect.estimate, effect.low, effect.high)
    sentence = (
        f"Steering {effect.trait} moves off-target traits by {said} standard deviations a unit of cosine between the"
        f" family and the trait, at a KL of {number(effect.strength)} nats (q = {number(q, 3)})."
    )
    return effect.claimed(
        "off-target movement follows cosine", sentence, ENTANGLED, verdict(q, effect.low, effect.high)
    )
