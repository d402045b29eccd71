"""What tuning does to emoji, as effects: shares of answers, and log masses, of every arm and against the others."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from pandas import DataFrame

from persona_interp.effects import Effect, Role
from persona_interp.figures.frames import distinct, keep
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.statistics.power import detectable_effect
from persona_interp.statistics.repeats import Reach, RepeatError, over_repeats, repeat_error, repeats_p
from persona_interp.statistics.resampling import Interval, bootstrap_statistic
from persona_interp.statistics.rows import Labels
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
_FIXED = "training texts and training seed"
_ROLES: dict[str, Role] = {TUNED: "treatment", CONTROL: "control", UNTUNED: "control"}


@dataclass(frozen=True, eq=False)
class Side:
    """Rows of one arm, all its repeats together."""

    trait: str
    arm: str
    rows: DataFrame


@dataclass(frozen=True, eq=False)
class Change:
    """Two arms that are compared, and the error that repeats leave in their difference.

    Args:
        treated, other: their rows have the number that is compared in `value`.
    """

    treated: Side
    other: Side
    repeats: RepeatError

    def paired(self) -> tuple[Float[np.ndarray, " question"], Float[np.ndarray, " question"], Labels]:
        """Means of both sides question by question, and the questions."""
        a, b = (side.rows.groupby("question", sort=True)["value"].mean() for side in (self.treated, self.other))
        both = a.index.intersection(b.index)
        return a.loc[both].to_numpy(float), b.loc[both].to_numpy(float), both.to_numpy(str)


def answer_effects(answers: DataFrame, *, seed: int) -> Iterator[Effect]:
    """Shares and rates of every arm, and changes of the share against the control and against the untuned model."""
    for side, condition in _sides(answers):
        yield _share(side, condition)
        yield _per_100(side, condition, seed)
    hits = answers.assign(value=(answers["n_emoji"] > 0).astype(float))
    for condition in (PLAIN, INVITED):
        for change in _changes(keep(hits, "condition", condition)):
            yield _share_change(change, condition, claimed=condition == PLAIN)
            yield from _by_repeat(change, condition, SHARE_CHANGE, "share")


def mass_effects(masses: DataFrame, *, seed: int) -> Iterator[Effect]:
    """Mean log masses of every arm, and their changes, over held-out questions and repeats."""
    for place in (SENTENCE_ENDS, EVERYWHERE):
        at = keep(masses, "place", place)
        for side, condition in _sides(at):
            yield _of(side, f"{condition}, {place}", MASS, NATS).estimated(_mean(side.rows, seed))
        for condition in (PLAIN, INVITED):
            rows, said = keep(at, "condition", condition), f"{condition}, {place}"
            for change in _changes(rows.assign(value=rows["log_mass"])):
                yield _mass_change(change, said, seed, claimed=condition == PLAIN and place == SENTENCE_ENDS)
                yield from _by_repeat(change, said, MASS_CHANGE, NATS)


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


def _share_change(change: Change, condition: str, *, claimed: bool) -> Effect:
    sides = _hits(change.treated), _hits(change.other), _questions(change.treated), _questions(change.other)
    found = share_difference(*sides)

    def reach(level: float) -> tuple[float, float]:
        at = share_difference(*sides, level=level)
        return at.estimate - at.low, at.high - at.estimate

    of_repeats = _detectable(0.0, np.inf, change.repeats)
    least = float(np.hypot(detectable_rise(*sides), 0.0 if np.isnan(of_repeats) else of_repeats))
    return _tested(change, condition, SHARE_CHANGE, "share", RATE_FAMILY, claimed, found, reach, least)


def _mass_change(change: Change, condition: str, seed: int, *, claimed: bool) -> Effect:
    a, b, questions = change.paired()
    found = bootstrap_mean(a - b, questions, seed=seed)

    def reach(level: float) -> tuple[float, float]:
        at = bootstrap_mean(a - b, questions, level=level, seed=seed)
        return at.estimate - at.low, at.high - at.estimate

    least = _detectable(found.error, found.freedom, change.repeats)
    return _tested(change, condition, MASS_CHANGE, NATS, MASS_FAMILY, claimed, found, reach, least)


def _tested(
    change: Change,
    condition: str,
    metric: str,
    unit: str,
    family: str,
    claimed: bool,
    found: Interval,
    reach: Reach,
    detectable: float,
) -> Effect:
    """A change with its interval over questions and repeats; without a test where nothing was repeated."""
    low, high = over_repeats(found.estimate, reach, change.repeats)
    known = change.repeats.known
    effect = replace(
        _of(change.treated, condition, metric, unit),
        reference=change.other.arm,
        fixed=None if known else _FIXED,
        test="interval over questions and repeats that ends at zero",
        null_kind=f"no difference from {change.other.arm}",
        p=repeats_p(found.estimate, reach, change.repeats),
        family=family if claimed else f"{family}, {EXPLORED}",
        detectable=detectable,
    )
    return effect.estimated(replace(found, low=low, high=high))


def _by_repeat(change: Change, condition: str, metric: str, unit: str) -> Iterator[Effect]:
    """The change of every repeat by itself, without an interval."""
    numbers = distinct(change.treated.rows, "repeat")
    for k in numbers if len(numbers) > 1 else ():
        other = change.other.rows if change.other.arm == UNTUNED else keep(change.other.rows, "repeat", k)
        own = float(keep(change.treated.rows, "repeat", k)["value"].mean() - other["value"].mean())
        of = replace(_of(change.treated, f"{condition}, repeat {k}", metric, unit), level=None)
        yield replace(of, reference=change.other.arm, estimate=own)


def _detectable(error: float, freedom: float, repeats: RepeatError) -> float:
    """`detectable_effect` of both errors, with Satterthwaite's degrees of freedom."""
    own = repeats.error**2 if repeats.known else 0.0
    total = error**2 + own
    if not total > 0:
        return float("nan")
    below = error**4 / freedom + (own**2 / repeats.freedom if repeats.known else 0.0)
    return float(detectable_effect(np.sqrt(total), total**2 / below))


def _changes(rows: DataFrame) -> Iterator[Change]:
    """Every trait's tuned arm against its control and against the untuned model.

    The variance between repeats is pooled over traits and both kinds of tuning, whatever a change is of.
    """
    repeated = rows[rows["arm"].isin([TUNED, CONTROL])]
    means = repeated.groupby(["trait", "arm", "repeat"], sort=False)["value"].mean()
    cells = [cell.tolist() for _, cell in means.groupby(level=[0, 1], sort=False)]
    for trait in (trait for trait in distinct(rows, "trait") if trait):
        own = keep(rows, "trait", trait)
        treated = Side(trait, TUNED, keep(own, "arm", TUNED))
        for reference in (CONTROL, UNTUNED):
            other = keep(rows, "arm", UNTUNED) if reference == UNTUNED else keep(own, "arm", CONTROL)
            n = len(distinct(treated.rows, "repeat"))
            repeats = repeat_error(cells, [n] if reference == UNTUNED else [n, len(distinct(other, "repeat"))])
            yield Change(treated, Side("" if reference == UNTUNED else trait, reference, other), repeats)


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


def _sides(table: DataFrame) -> Iterator[tuple[Side, str]]:
    """Every arm, all repeats together, under every condition."""
    for (trait, arm, condition), rows in table.groupby(["trait", "arm", "condition"], sort=False):
        if arm in _ROLES:
            yield Side(str(trait), str(arm), rows), str(condition)


def _mean(rows: DataFrame, seed: int) -> Interval:
    return bootstrap_mean(rows["log_mass"].to_numpy(float), rows["question"].to_numpy(str), seed=seed)


def _hits(side: Side) -> np.ndarray:
    return side.rows["n_emoji"].to_numpy(int) > 0


def _questions(side: Side) -> np.ndarray:
    return side.rows["question"].to_numpy(str)
