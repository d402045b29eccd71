"""What each way of preventing or correcting a trait leaves of it and costs, as effects and claims; from saved rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, joined, mean_depth, verdict
from persona_interp.measurements.setting import COHERENT_SHARE
from persona_interp.sections.words import interval, number
from persona_interp.studies.finetuning.effects import POINTS, with_q
from persona_interp.tables import rows_of

BASE, PLAIN, CAP = "base", "plain finetuning", "cap afterwards"
PROMPTING, ABLATION, ALL_LAYERS = "preventative prompting", "concept ablation", "preventative steering, all layers"
CHANGE = "change from plain finetuning"
COSTS = ("task loss", "neutral loss", "accuracy")
NORMS = "mean residual norms of the layer"
UNITS: Mapping[str, str] = {
    "preventative steering": NORMS,
    ALL_LAYERS: "increments of the direction from layer to layer",
    "projection penalty": "weight of the squared shift",
    "steering afterwards": NORMS,
    CAP: "percentile of the base model's projections",
}
LOWERS = (
    "change of expression by the first judge, against plain finetuning on the same questions, corrected over methods"
    " and strengths and the base model: q is at most 0.05, and the interval lies below zero"
)
_MEASURES: Mapping[str, tuple[str, str, str, str]] = {
    "expression": ("expression", POINTS, "evaluation questions", "question"),
    CHANGE: ("change of expression", POINTS, "evaluation questions", "question"),
    "coherent": ("coherent answers", "share", "evaluation questions", "question"),
    "accuracy": ("accuracy", "share", "four-option questions", "question"),
    "task loss": ("loss", "nats a token", "held-out answers of the task", "conversation"),
    "neutral loss": ("loss", "nats a token", "neutral texts", "text"),
}

Row = dict[str, Any]


def prevention_effects(
    rows: DataFrame, *, trait: str, layer: int, ablation_layers: Sequence[str], n_layers: int, test: str
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of the arms; every method at every strength is a claim of its own.

    Args:
        rows: `method, strength, metric, trait, judge, estimate, low, high, n, n_clusters`, and `p` of changes.
        trait: that the training set teaches.
        layer: at which methods of one layer work.
        ablation_layers: "one" or "all", by the strength of concept ablation, from 1 on.
        test: how p was found.
    """
    measures = [row for row in rows_of(rows) if (row["method"], row["metric"]) != (PLAIN, CHANGE)]  # that is zero
    gate = {
        (row["method"], row["strength"]): row["estimate"] >= COHERENT_SHARE
        for row in measures
        if row["metric"] == "coherent"
    }
    effects = []
    for row in measures:
        arm = _arm(row, layer, ablation_layers, n_layers)
        effect = _measure(row, arm, trait, gate[row["method"], row["strength"]])
        effects.append(_tested(row, effect, test) if row["metric"] == CHANGE else effect)
    changes = [row for row in measures if row["metric"] == CHANGE]
    tested = with_q(effect for effect in effects if effect.family == CHANGE)
    return effects, [_changes(row, effect, q) for row, (effect, q) in zip(changes, tested, strict=True)]


def _arm(row: Row, layer: int, ablation_layers: Sequence[str], n_layers: int) -> Effect:
    """A method at one strength: where it works and how strongly."""
    method, strength, unit = row["method"], row["strength"], UNITS.get(row["method"])
    everywhere = method == ALL_LAYERS or (method == ABLATION and ablation_layers[int(strength) - 1] == "all")
    where = {
        **{BASE: "the model before finetuning", PLAIN: PLAIN},
        **{PROMPTING: f"{method}, system prompt {strength:g} of the graded ones"},
        **{ABLATION: f"{method} at {'every layer' if everywhere else 'one layer'}"},
    }
    arm = Effect(
        metric="",
        role="control" if method in (BASE, PLAIN) else "treatment",
        method=method,
        substrate="prompt" if method == PROMPTING else None,
        condition=where.get(method, f"{method} of {strength:g}"),
        strength=None if unit is None else strength,
        strength_unit=unit,
    )
    if unit is None and method != ABLATION:
        return arm
    layers = joined(range(n_layers)) if everywhere else str(layer)
    depth = mean_depth(layers, n_layers)
    return replace(arm, substrate="residual", layers=layers, depth=depth, place="named", stream="resid_post")


def _measure(row: Row, arm: Effect, trait: str, coherent: bool) -> Effect:
    """A number of an arm. Losses and accuracy are of no trait, but of the training set that teaches one."""
    metric, unit, data, cluster = _MEASURES[row["metric"]]
    effect = replace(
        arm,
        metric=metric,
        unit=unit,
        trait=row["trait"] or trait,
        data=data,
        fixed="vectors, judge, training set, training seed",
        n=row["n"],
        cluster=cluster,
        n_cluster=row["n_clusters"],
        judge=row["judge"],
        coherent=coherent,
    )
    return effect.measured(row)


def _tested(row: Row, effect: Effect, test: str) -> Effect:
    return replace(
        effect,
        reference=f"{PLAIN}, the same questions",
        test=test,
        null_kind=f"no difference from {PLAIN}",
        p=row["p"],
        family=CHANGE,
        detectable=row.get("detectable"),
    )


def _changes(row: Row, effect: Effect, q: float) -> Claim:
    """That an arm lowers expression against plain finetuning, or that the model before it has less."""
    low, high = (None if end is None else -float(end) for end in (effect.high, effect.low))
    found = verdict(q, low, high)
    change = interval(effect.estimate, effect.low, effect.high, digits=1)
    shown, tail = found == "holds", "" if effect.coherent else "; too few answers are coherent"
    if row["method"] == BASE:
        name = f"less expression before {PLAIN}"
        said = f"Before {PLAIN}, the model {'expresses less' if shown else 'is not shown to express less'}"
        said, tail = f"{said} {effect.trait} than after it", ""
    else:
        name = f"{row['method']} {row['strength']:g} lowers expression"
        said = f"Against {PLAIN}, {effect.condition} {'lowers' if shown else 'is not shown to lower'} the"
        said += f" expression of {effect.trait}"
    sentence = f"{said}: {change} points of 100 ({effect.judge}), q {number(q)}{tail}."
    return effect.claimed(name, sentence, LOWERS, found)
