"""What tuning does to emoji, as effects: shares of answers, and log masses, of every arm and against the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pandas import DataFrame

from persona_interp.effects import Effect, Role
from persona_interp.figures.frames import distinct, keep
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.statistics.permutation import permutation_test_paired
from persona_interp.statistics.power import detectable_effect
from persona_interp.statistics.resampling import Interval, bootstrap_statistic
from persona_interp.statistics.shares import clustered_share, detectable_rise, share_difference
from persona_interp.studies.emoji.arms import CONTROL, TUNED, UNTUNED
from persona_interp.studies.emoji.measure import EVERYWHERE, SENTENCE_ENDS
from persona_interp.studies.emoji.texts import INVITED, PLAIN
from persona_interp.types import depth_of

SHARE, PER_100 = "share of answers with an emoji", "emoji per 100 tokens"
SHARE_CHANGE = "change of the share of answers with an emoji"
MASS, MASS_CHANGE = "log mass of emoji", "change of the log mass of emoji"
LENS = "log mass of emoji by the logit lens"
NATS = "nats"
RATE_FAMILY, MASS_FAMILY = "emoji rate after tuning", "emoji mass after tuning"
EXPLORED = "explored"
_FIXED = "training texts, training seeds"
_ROLES: dict[str, Role] = {TUNED: "treatment", CONTROL: "control", UNTUNED: "control"}


@dataclass(frozen=True, eq=False)
class Side:
    """Rows of one arm that are compared with those of another one."""

    trait: str
    arm: str
    rows: DataFrame


def answer_effects(answers: DataFrame, *, seed: int) -> Iterator[Effect]:
    """Shares and rates of every arm, and changes of the share against the control and against the untuned model."""
    for side, condition in _sides(answers):
        yield _share(side, condition)
        yield _per_100(side, condition, seed)
    for condition in (PLAIN, INVITED):
        rows = keep(answers, "condition", condition)
        for trait in _traits(rows):
            for reference in (CONTROL, UNTUNED):
                treated, other = _pair(rows, trait, reference)
                yield _share_change(treated, other, condition, seed, claimed=condition == PLAIN)
                yield from (
                    _share_change(*_pair(rows, trait, reference, k), f"{condition}, training seed {k}", seed)
                    for k in _seeds(treated)
                )


def mass_effects(masses: DataFrame, *, seed: int) -> Iterator[Effect]:
    """Mean log masses of every arm, and their changes, over held-out questions."""
    for place in (SENTENCE_ENDS, EVERYWHERE):
        at = keep(masses, "place", place)
        for side, condition in _sides(at):
            yield _mass(side, f"{condition}, {place}", seed)
        for condition in (PLAIN, INVITED):
            rows, said = keep(at, "condition", condition), f"{condition}, {place}"
            claimed = condition == PLAIN and place == SENTENCE_ENDS
            for trait in _traits(rows):
                for reference in (CONTROL, UNTUNED):
                    treated, other = _pair(rows, trait, reference)
                    yield _mass_change(treated, other, said, seed, claimed=claimed)
                    yield from (
                        _mass_change(*_pair(rows, trait, reference, k), f"{said}, training seed {k}", seed)
                        for k in _seeds(treated)
                    )


def lens_effects(lens: DataFrame, *, n_layers: int, seed: int) -> Iterator[Effect]:
    """The mean log mass at ends of sentences, read from the output of every block, of every arm."""
    for side, condition in _sides(lens):
        for layer, rows in side.rows.groupby("layer"):
            found = _mean(rows, seed)
            block = _of(side, f"{condition}, {SENTENCE_ENDS}", LENS, NATS)
            yield replace(
                block.at_block(int(layer), n_layers).estimated(found),  # pyright: ignore[reportArgumentType]
                depth=depth_of(int(layer), n_layers),  # pyright: ignore[reportArgumentType]
                place="swept",
                cluster="question",
            )


def _share(side: Side, condition: str) -> Effect:
    found = clustered_share(_hits(side), _questions(side))
    return _of(side, condition, SHARE, "share").estimated(found)


def _per_100(side: Side, condition: str, seed: int) -> Effect:
    emoji, tokens = (side.rows[name].to_numpy(float) for name in ("n_emoji", "n_tokens"))
    found = bootstrap_statistic(_rate, (emoji, tokens), _questions(side), bounds=(0.0, np.inf), seed=seed)
    if not emoji.any():  # equal rows give a bootstrap no width
        found = Interval(0.0, np.nan, np.nan, found.n, found.n_clusters)
    return _of(side, condition, PER_100, "emoji").estimated(found)


def _rate(emoji: np.ndarray, tokens: np.ndarray) -> float:
    return 100 * float(emoji.sum()) / float(tokens.sum()) if tokens.sum() else float("nan")


def _share_change(treated: Side, other: Side, condition: str, seed: int, *, claimed: bool | None = None) -> Effect:
    sides = _hits(treated), _hits(other), _questions(treated), _questions(other)
    found = share_difference(*sides)
    means = _paired(treated, other, lambda side: side.rows.assign(value=_hits(side).astype(float)))
    tested = permutation_test_paired(*means, seed=seed)
    effect = replace(
        _of(treated, condition, SHARE_CHANGE, "share"),
        reference=other.arm,
        test="sign flips over questions",
        null_kind=f"no difference from {other.arm}",
        p=tested.tested,
        family=_family(RATE_FAMILY, claimed),
        detectable=detectable_rise(*sides),
    )
    return effect.estimated(found)


def _mass(side: Side, condition: str, seed: int) -> Effect:
    return _of(side, condition, MASS, NATS).estimated(_mean(side.rows, seed))


def _mass_change(treated: Side, other: Side, condition: str, seed: int, *, claimed: bool | None = None) -> Effect:
    a, b, questions = _paired(treated, other, lambda side: side.rows.assign(value=side.rows["log_mass"]))
    found = bootstrap_mean(a - b, questions, seed=seed)
    tested = permutation_test_paired(a, b, questions, seed=seed)
    effect = replace(
        _of(treated, condition, MASS_CHANGE, NATS),
        reference=other.arm,
        test="sign flips over questions",
        null_kind=f"no difference from {other.arm}",
        p=tested.tested,
        family=_family(MASS_FAMILY, claimed),
        detectable=detectable_effect(found.error, found.freedom),
    )
    return effect.estimated(found)


def _of(side: Side, condition: str, metric: str, unit: str) -> Effect:
    """An effect of one arm."""
    return Effect(
        metric=metric,
        unit=unit,
        role=_ROLES.get(side.arm, "control"),
        trait=side.trait or None,
        method=side.arm,
        substrate="weights" if side.arm in (TUNED, CONTROL) else None,
        condition=condition,
        data="held-out questions",
        fixed=_FIXED if side.trait else None,
        cluster="question",
        level=CONFIDENCE,
    )


def _family(name: str, claimed: bool | None) -> str | None:
    """Of claims, of what is explored beside them, or none."""
    return None if claimed is None else name if claimed else f"{name}, {EXPLORED}"


def _sides(table: DataFrame) -> Iterator[tuple[Side, str]]:
    """Every arm, all training seeds together, under every condition."""
    for (trait, arm, condition), rows in table.groupby(["trait", "arm", "condition"], sort=False):
        if arm in _ROLES:
            yield Side(str(trait), str(arm), rows), str(condition)


def _pair(rows: DataFrame, trait: str, reference: str, seed: int | None = None) -> tuple[Side, Side]:
    """The tuned arm of a trait, and what it is compared with, of one training seed or of all."""
    own = keep(rows, "trait", trait)
    others = keep(rows, "arm", UNTUNED) if reference == UNTUNED else keep(own, "arm", CONTROL)
    treated = keep(own, "arm", TUNED)
    if seed is not None:
        treated = keep(treated, "seed", seed)
        others = others if reference == UNTUNED else keep(others, "seed", seed)
    return Side(trait, TUNED, treated), Side("" if reference == UNTUNED else trait, reference, others)


def _paired(treated: Side, other: Side, valued) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of both sides question by question, and the questions."""
    a, b = (valued(side).groupby("question", sort=True)["value"].mean() for side in (treated, other))
    both = a.index.intersection(b.index)
    return a.loc[both].to_numpy(float), b.loc[both].to_numpy(float), both.to_numpy(str)


def _mean(rows: DataFrame, seed: int) -> Interval:
    return bootstrap_mean(rows["log_mass"].to_numpy(float), rows["question"].to_numpy(str), seed=seed)


def _hits(side: Side) -> np.ndarray:
    return side.rows["n_emoji"].to_numpy(int) > 0


def _questions(side: Side) -> np.ndarray:
    return side.rows["question"].to_numpy(str)


def _traits(rows: DataFrame) -> list[str]:
    return [trait for trait in distinct(rows, "trait") if trait]


def _seeds(side: Side) -> Sequence[int]:
    """The training seeds, where there are several."""
    seeds = [int(seed) for seed in distinct(side.rows, "seed")]
    return seeds if len(seeds) > 1 else ()
