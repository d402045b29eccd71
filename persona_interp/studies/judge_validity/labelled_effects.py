"""A judge's validity on labelled answers as rows of the table of effects, and the claim that it sees the trait."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from persona_interp.data.labelled import Labelled
from persona_interp.effects import Claim, Effect, q_of, verdict
from persona_interp.sections.words import interval, number
from persona_interp.studies.judge_validity.labelled import Bin, Found

AUC, RHO = "AUC", "Spearman's rho with labels"
SLOPE, BIAS = "calibration slope", "mean score minus mean label"
SHARE, MEAN_LABEL, BIN_SCORE = "share with the trait in a bin of scores", "mean label in a bin of scores", "mean score"
POINTS = "points of 100"
FAMILY = "judges on labelled answers"
CONDITIONS = {
    False: "answers labelled as with the trait against those labelled as without it",
    True: "answers with graded labels",
}
SEES = (
    "AUC against one half (of graded labels: rank correlation against zero) by its error over groups, corrected over"
    " judges: q is at most 0.05; and the interval lies above that value"
)
_FIXED = "judge, labels"


def labelled_effects(trait: str, data: Labelled, found: Sequence[Found]) -> tuple[list[Effect], list[Claim]]:
    """What was found of the judges, those that cannot rate the trait among the claims too."""
    shared = Effect(metric=AUC, trait=trait, data=data.source, condition=CONDITIONS[data.graded], cluster="group")
    orders = [_orders(replace(shared, judge=one.judge), one, data) for one in found]
    corrected = q_of(orders)
    claims = [_claim(*each, data) for each in zip(orders, found, corrected, strict=True)]
    effects = []
    for effect, one in zip(orders, found, strict=True):
        effects += [effect, *_calibration(effect, one, data)]
    return effects, claims


def _orders(plain: Effect, found: Found, data: Labelled) -> Effect:
    metric, reference = (RHO, "no relation, 0") if data.graded else (AUC, "chance, 0.5")
    effect = replace(plain, metric=metric, reference=reference, n=found.n_rated)
    if found.orders is None:
        return effect
    tested = None if np.isnan(found.p) else found.p
    test = "Student's t of the bootstrap error" if data.graded else "Student's t of the error on log-odds"
    asked = {"test": test, "null_kind": "no relation of scores and labels", "family": FAMILY}
    return replace(replace(effect, fixed=_FIXED).estimated(found.orders), p=tested, **asked)


def _calibration(orders: Effect, found: Found, data: Labelled) -> list[Effect]:
    bare = {"p": None, "test": None, "null_kind": None, "family": None, "fixed": _FIXED}
    plain = replace(orders, estimate=None, low=None, high=None, level=None, **bare)
    made = []
    for metric, reference, size in ((SLOPE, "calibrated, 1", found.slope), (BIAS, "unbiased, 0", found.bias)):
        if size is not None:
            unit = POINTS if metric == BIAS else "points of label a point of score"
            made.append(replace(plain, metric=metric, reference=reference, unit=unit).estimated(size))
    for k, one in enumerate(found.bins, start=1):
        made += _bin(replace(plain, reference=None), one, f"bin {k} of {len(found.bins)}", data)
    return made


def _bin(plain: Effect, one: Bin, place: str, data: Labelled) -> list[Effect]:
    where = f"{place}: scores {number(one.lowest, 1)} to {number(one.highest, 1)}"
    label = replace(plain, condition=where, metric=MEAN_LABEL if data.graded else SHARE)
    score = replace(
        plain, condition=where, metric=BIN_SCORE, unit=POINTS, estimate=one.score, n=one.label.n, fixed=None
    )
    return [
        replace(label, unit=POINTS if data.graded else None).estimated(one.label),
        replace(score, n_cluster=one.label.n_clusters),
    ]


def _claim(effect: Effect, found: Found, q: float, data: Labelled) -> Claim:
    trait, given = effect.trait, effect.data
    verb = "orders" if data.graded else "tells"
    what = f"answers in {given} by {trait}" if data.graded else f"answers in {given} with {trait} from those without"
    name = f"{found.judge} sees the trait in {given}"
    if found.orders is None:
        sentence = f"{found.judge} is not tried on {given}: {found.unable}."
        return effect.claimed(name, sentence, SEES, "undecided")
    chance = 0.0 if data.graded else 0.5
    known = None if np.isnan(q) else q
    low, high = (None if np.isnan(end) else end - chance for end in (found.orders.low, found.orders.high))
    came = verdict(known, low, high)
    tested = f"q {number(known)}" if known is not None else "without a test"
    rated = "" if found.n_rated == found.n else f" of {found.n}, the others it could not rate"
    size = interval(found.orders.estimate, found.orders.low, found.orders.high)
    sentence = (
        f"{found.judge} {verb if came == 'holds' else f'is not shown to {verb[:-1]}'} {what}:"
        f" {'rho' if data.graded else 'AUC'} {size}, {tested}, n = {found.n_rated}{rated},"
        f" {found.orders.n_clusters} groups{_calibrated(found)}."
    )
    return effect.claimed(name, sentence, SEES, came)


def _calibrated(found: Found) -> str:
    assert found.slope is not None and found.bias is not None, "what orders answers was calibrated too"
    slope, bias = found.slope, found.bias
    return (
        f"; a point of its score is {interval(slope.estimate, slope.low, slope.high)} points of label, and its scores"
        f" are {interval(bias.estimate, bias.low, bias.high, digits=1)} points off on average"
    )
