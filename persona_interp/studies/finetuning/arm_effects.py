"""What each way of preventing or correcting a trait leaves of it and costs, as effects and claims; from saved rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, joined, mean_depth, verdict
from persona_interp.effects.effect import Substrate
from persona_interp.measurements.steering import COHERENT_SHARE
from persona_interp.sections.words import interval, number
from persona_interp.studies.finetuning.effects import POINTS, measured, q_of
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
RAISES = (
    "change of expression by the first judge from the base model, tested and corrected as the changes of the methods"
    " are: q is at most 0.05, and the interval lies above zero"
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
    gate = {
        (row["method"], row["strength"]): row["estimate"] >= COHERENT_SHARE
        for row in rows_of(rows)
        if row["metric"] == "coherent"
    }
    effects, changes = [], []
    for row in rows_of(rows):
        if (row["method"], row["metric"]) == (PLAIN, CHANGE):
            continue  # it is zero by definition
        arm = _arm(row, layer, ablation_layers, n_layers)
        effect = _measure(row, arm, trait, gate[row["method"], row["strength"]])
        if row["metric"] == CHANGE:
            effect = replace(
                effect,
                reference=f"{PLAIN}, the same questions",
                test=test,
                null_kind=f"no difference from {PLAIN}",
                p=row["p"],
                family=CHANGE,
                detectable=row.get("detectable"),
            )
            changes.append((row, effect))
        effects.append(effect)
    q_values = q_of([effect for _, effect in changes])
    claims = [
        (_raises if row["method"] == BASE else _lowers)(row, effect, q)
        for (row, effect), q in zip(changes, q_values, strict=True)
    ]
    return effects, claims


def _arm(row: Row, layer: int, ablation_layers: Sequence[str], n_layers: int) -> Effect:
    """A method at one strength: where it works and how strongly."""
    method, strength, unit = row["method"], row["strength"], UNITS.get(row["method"])
    everywhere = method == ALL_LAYERS or (method == ABLATION and ablation_layers[int(strength) - 1] == "all")
    at_layers = unit is not None or method == ABLATION
    layers = (joined(range(n_layers)) if everywhere else str(layer)) if at_layers else None
    substrate: Substrate | None = "residual" if at_layers else "prompt" if method == PROMPTING else None
    where = {
        **{BASE: "the model before finetuning", PLAIN: PLAIN},
        **{PROMPTING: f"{method}, system prompt {strength:g} of the graded ones"},
        **{ABLATION: f"{method} at {'every layer' if everywhere else 'one layer'}"},
    }
    return Effect(
        metric="",
        role="control" if method in (BASE, PLAIN) else "treatment",
        method=method,
        substrate=substrate,
        layers=layers,
        depth=None if layers is None else mean_depth(layers, n_layers),
        stream=None if layers is None else "resid_post",
        condition=where.get(method, f"{method} of {strength:g}"),
        strength=None if unit is None else strength,
        strength_unit=unit,
    )


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
    return measured(effect, row)


def _lowers(row: Row, effect: Effect, q: float | None) -> Claim:
    found = verdict(q, *_turned(effect))
    change = interval(effect.estimate, effect.low, effect.high, digits=1)
    return Claim(
        claim=f"{row['method']} {row['strength']:g} lowers expression",
        trait=effect.trait,
        sentence=(
            f"Against {PLAIN}, {effect.condition} {'lowers' if found == 'holds' else 'is not shown to lower'} the"
            f" expression of {effect.trait}: {change} points of 100 ({effect.judge}), q {number(q)}"
            f"{'' if effect.coherent else '; too few answers are coherent'}."
        ),
        rule=LOWERS,
        effects=[effect],
        verdict=found,
        detectable=row.get("detectable"),
        unit=POINTS,
    )


def _raises(row: Row, effect: Effect, q: float | None) -> Claim:
    """The base model against plain finetuning, said the other way round."""
    low, high = _turned(effect)
    found = verdict(q, low, high)
    change = interval(None if effect.estimate is None else -effect.estimate, low, high, digits=1)
    return Claim(
        claim=f"{PLAIN} raises expression",
        trait=effect.trait,
        sentence=(
            f"{PLAIN.capitalize()} {'raises' if found == 'holds' else 'is not shown to raise'} the expression of"
            f" {effect.trait} over the base model's: {change} points of 100 ({effect.judge}), q {number(q)}."
        ),
        rule=RAISES,
        effects=[effect],
        verdict=found,
        detectable=row.get("detectable"),
        unit=POINTS,
    )


def _turned(effect: Effect) -> tuple[float | None, float | None]:
    """The interval of how much lower than plain finetuning an arm is."""
    low, high = (None if end is None else -float(end) for end in (effect.high, effect.low))
    return low, high
