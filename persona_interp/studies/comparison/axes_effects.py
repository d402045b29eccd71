"""What was found on the same axes as rows of the table of effects, and a claim a pair with the persona vector."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Role, Verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.shared_direction import SAME, UNRELATED
from persona_interp.studies.comparison.families.answers import NAME
from persona_interp.studies.comparison.families.random import NAME as RANDOM_NAME
from persona_interp.tables import rows_of
from persona_interp.types import depth_of

COSINE, RAW = "cosine without scatter", "cosine"
PROJECTIONS, VARIANCE, STABILITY = "rank correlation of projections", "share of variance", "stability"
ANSWERS, HELD_OUT = "contrastive answers, or texts", "contrastive answers to evaluation questions"
MATCHED = "random directions with the covariance of the answers within the poles"
EXCHANGED = "poles exchanged in half of the units of each half"
PLURAL = {
    "question": "questions",
    "pair of texts": "pairs of texts",
    "prompt pair": "prompt pairs",
    "seed": "seeds",
    "text": "texts",
}
WHERE = "high-norm dimensions left out"
RULE = (
    f"interval of the cosine without scatter: same above {SAME:g}; related above what 95 % of random directions stay"
    f" below in size; opposed below minus that; unrelated within plus and minus {UNRELATED:g}, or that where it is"
    f" more; else undecided. The claim holds where it is same, and does not where the interval lies below {SAME:g}"
)

Row = dict[str, Any]


def axes_effects(
    trait: str, layer: int, axes: Mapping[str, DataFrame], n_layers: int
) -> tuple[list[Effect], list[Claim]]:
    """Cosines, projections, variance, subspaces and stability of one trait."""
    here = Effect(metric=COSINE, trait=trait, substrate="residual", stream="resid_post", data=ANSWERS, place="named")
    at = _placed(here, layer, n_layers)
    pairs = [(row, _cosine(row, at)) for row in rows_of(axes["cosines"])]
    effects = [effect for _, effect in pairs]
    effects += [replace(effect, metric=RAW, estimate=row["cosine"], low=None, high=None, level=None, null_high=None,
                        null_kind=None, n_null=None) for row, effect in pairs]  # fmt: skip
    for row in rows_of(axes["cosines by layer"]):
        if NAME in (row["first"], row["second"]):
            effects.append(replace(_cosine(row, _placed(here, int(row["layer"]), n_layers)), place="swept"))
    effects += list(_projections(axes["projections"], at))
    effects += list(_variance(axes["variance"], at))
    effects += list(_subspaces(axes["subspaces"], at))
    effects += list(_stability(axes["stability"], at))
    claims = [_claim(row, effect) for row, effect in pairs if NAME in (row["first"], row["second"])]
    return effects, [claim for claim in claims if claim is not None]


def _placed(effect: Effect, layer: int, n_layers: int) -> Effect:
    return replace(effect, layers=str(layer), depth=depth_of(layer, n_layers))


def role_of(*families: str) -> Role:
    """Null where one of them is random."""
    return "null" if any(name.startswith(RANDOM_NAME) for name in families) else "treatment"


def _cosine(row: Row, here: Effect) -> Effect:
    effect = replace(
        here,
        role=role_of(row["first"], row["second"]),
        method=row["first"],
        condition=f"with {row['second']}, {WHERE}",
        cluster=row["cluster"] or None,
        n_cluster=row["n_cluster"] or None,
        fixed="layer; halves of as many units",
        null_kind=MATCHED,
        null_high=row["null_high"],
        n_null=row["n_null"],
    )
    return measured(effect, row)


def measured(effect: Effect, row: Row) -> Effect:
    """With a row's estimate, and its interval where it has both ends."""
    ends = {name: _known(row.get(name)) for name in ("estimate", "low", "high")}
    if ends["low"] is None or ends["high"] is None:
        return replace(effect, estimate=ends["estimate"])
    return replace(effect, **ends, level=CONFIDENCE)


def _known(value: Any) -> Any:
    return None if value is None or value != value else value


def _projections(table: DataFrame, here: Effect) -> Iterator[Effect]:
    for row in rows_of(table):
        effect = replace(
            here,
            metric=PROJECTIONS,
            role=role_of(row["first"], row["second"]),
            method=row["first"],
            condition=f"with {row['second']}, {row['condition']}",
            data=HELD_OUT,
            pooling="response_mean",
            fixed="directions",
            n=row["n"],
            cluster="question",
            n_cluster=row["n_cluster"],
            null_kind="projections on random directions, size of the correlation",
            null_high=row["null_high"],
            n_null=row["n_null"],
        )
        yield measured(effect, row)


def _variance(table: DataFrame, here: Effect) -> Iterator[Effect]:
    for row in rows_of(table):
        effect = replace(
            here,
            metric=VARIANCE,
            role=role_of(row["family"]),
            method=row["family"],
            condition=f"within the poles, {WHERE}",
            data=HELD_OUT,
            pooling="response_mean",
            fixed="directions",
            n=row["n"],
            cluster="question",
            n_cluster=row["n_cluster"],
            null_kind=MATCHED,
            null_low=row["null_low"],
            null_high=row["null_high"],
            n_null=row["n_null"],
        )
        yield measured(effect, row)


def _subspaces(table: DataFrame, here: Effect) -> Iterator[Effect]:
    for row in rows_of(table):
        yield replace(
            here,
            metric=row["measure"],
            method=row["first"],
            condition=f"with {row['second']}, {WHERE}" if row["second"] else WHERE,
            unit="degrees" if "angle" in row["measure"] else None,
            estimate=row["estimate"],
            n=row["n"],
            null_kind=MATCHED,
            null_low=row["null_low"],
            null_high=row["null_high"],
            n_null=row["n_null"],
        )


def _stability(table: DataFrame, here: Effect) -> Iterator[Effect]:
    for row in rows_of(table):
        effect = replace(
            here,
            metric=STABILITY,
            method=row["family"],
            condition=f"halves over {PLURAL[row['over']]}, stepped up (Spearman-Brown), {WHERE}",
            cluster=row["over"],
            n_cluster=row["n_cluster"],
            null_kind=EXCHANGED,
            null_high=_known(row["null_high"]),
            n_null=row["n_null"],
        )
        yield measured(effect, row)


def _claim(row: Row, effect: Effect) -> Claim | None:
    """Whether another family has the direction of the persona vector."""
    if effect.role == "null":
        return None
    other = row["second"] if row["first"] == NAME else row["first"]
    found: Verdict = "undecided"
    if row["relation"] == "same":
        found = "holds"
    elif effect.high is not None and effect.high < SAME:
        found = "does not"
    pair = f"The {NAME} of {effect.trait} and {_article(other)}"
    if effect.estimate is None:
        sentence = f"{pair}: the halves of one of them do not agree at layer {effect.layers}, so nothing is said."
    else:
        said = interval(effect.estimate, effect.low, effect.high)
        numbers = f"cosine without scatter {said}, random directions up to {number(effect.null_high, 2)}"
        sentence = f"{pair} are {_said(row['relation'], found)} at layer {effect.layers}: {numbers}."
    return effect.claimed(f"same direction as {other}", sentence, RULE, found)


def _said(relation: str, verdict: Verdict) -> str:
    """A relation in words: undecided ones may still be known not to be the same."""
    if relation == "same":
        return "the same direction"
    if relation == "undecided":
        return "not the same direction, related or not," if verdict == "does not" else "undecided"
    return (
        f"{relation}, not the same direction," if verdict == "does not" else f"{relation}, if not the same direction,"
    )


def _article(name: str) -> str:
    return f"the {name}" if name[:1].islower() else name


def relations(rows: Sequence[Row]) -> list[str]:
    """The verdict on each row of cosines in the table of effects."""
    from math import nan

    from persona_interp.statistics.shared_direction import SharedDirection, relation

    found = []
    for row in rows:
        low, high = (nan if row[name] is None else row[name] for name in ("low", "high"))
        one = SharedDirection(row["estimate"] or nan, low, high, (nan, nan), (0, 0))
        found.append(relation(one, nan if row["null_high"] is None else row["null_high"]))
    return found
