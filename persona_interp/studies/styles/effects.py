"""What was found of styles as rows of the table of effects, and the claims of a study of styles."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import (
    Claim,
    Effect,
    Role,
    family_of,
    mean_depth,
    verdict,
)
from persona_interp.sections.words import interval, number
from persona_interp.statistics.families import PRIMARY
from persona_interp.studies.styles.arms import PROMPT
from persona_interp.studies.styles.probe import VECTOR
from persona_interp.tables import rows_of

STUDY = "styles"
NORMS = "mean residual norms of a token of the unsteered answers, shared by the layers"
POINTS = "points of 100"
TELLS = (
    "AUC of the best layer against that of shuffled labels, whose best layer is searched too, corrected over styles: q"
    " is at most 0.05; and the interval at that layer lies above 0.5"
)
MOVES = (
    "rank among random directions at the layers and the coefficient named before, by the judge that chooses, corrected"
    " over styles, vectors and sets of prompts: q is at most 0.05; and the interval of the change lies above zero"
)
CHANGE, VALIDITY = "change of expression", "AUC of a judge"
TOLD = "held-out sentences of a style against the others"
_CHANCE = Effect(metric="AUC", reference="chance, 0.5", condition=TOLD, cluster="sentence, or pair of parallel ones")
_ROLES: Mapping[str, Role] = {
    **{"control": "control", "unsteered": "control"},
    **{"treatment": "treatment", "null": "null"},
}

Row = dict[str, Any]


def style_effects(
    probe: DataFrame, steering: DataFrame, rated: DataFrame, *, n_layers: int
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of the tables of probe, steering and judges."""
    validity = {(row["style"], row["judge"]): row["auc"] for row in rows_of(rated)}
    told_apart = list(_probe(probe, n_layers))
    levels = [(row, _expression(row, n_layers, validity)) for row in rows_of(steering)]
    effects = [effect for _, effect in (*told_apart, *levels)]
    claims = [_tells(row, effect) for row, effect in told_apart if effect.family == PRIMARY_PROBE]
    for row, level in levels:
        if row["role"] != "unsteered":
            effects.append(_changed(row, level))
            if row["n_random"]:
                effects.append(_ranked(row, level))
                claims.append(_moves(row, effects[-1]))
    return effects + [_validity(row) for row in rows_of(rated) if row["auc"] is not None], claims


PRIMARY_PROBE, OTHER_PROBE = "styles told apart", "styles told apart by a fresh probe"


def _probe(probe: DataFrame, n_layers: int) -> Iterator[tuple[Row, Effect]]:
    """A row a style, readout and place, and one for the best block of each readout, which has the p of the maximum.

    What enters block 0 is the token's embedding, at depth 0: a control, which knows of no other token.
    """
    rows = rows_of(probe)
    best: dict[tuple[str, str], tuple[Row, Effect]] = {}
    for row in rows:
        layers, vector, inner = str(row["layer"]), row["readout"] == VECTOR, row["stream"] == "resid_post"
        effect = replace(
            _CHANCE,
            role="treatment" if vector and inner else "control",
            trait=row["style"],
            method="style_vector" if vector else row["readout"],
            substrate="residual",
            layers=layers,
            depth=mean_depth(layers, n_layers) if inner else row["layer"] / n_layers,
            stream=row["stream"],
            pooling="last token",
            data=row["corpus"],
            place="swept",
            fixed="vector or probe",
            n=row["n_test"],
            null_kind="shuffled labels, at this layer alone",
            null_high=row["null_95"],
        ).measured(row, "auc")
        yield row, effect
        key = row["style"], row["readout"]
        if inner and row["auc"] is not None and (key not in best or row["auc"] > best[key][0]["auc"]):
            best[key] = row, effect
    for row, effect in best.values():
        yield (
            row,
            replace(
                effect,
                condition=f"{effect.condition}, best block",
                place="searched",
                test="rank of the largest AUC over layers",
                null_kind="shuffled labels, best layer",
                null_high=row["null_max_95"],
                p=row["p_max"],
                family=PRIMARY_PROBE if row["readout"] == VECTOR else OTHER_PROBE,
                detectable=row["detectable"],
            ),
        )


def _validity(row: Row) -> Effect:
    """How well a judge tells sentences of a style that its exemplars are not from: it bounds what steering can show."""
    return replace(
        _CHANCE,
        metric=VALIDITY,
        role="control",
        trait=row["style"],
        data=row["corpus"],
        fixed="exemplars of the judge",
        n=row["n"],
        judge=row["judge"],
    ).measured(row, "auc")


def _expression(row: Row, n_layers: int, validity: Mapping[tuple[str, str], float | None]) -> Effect:
    """How much of a style an arm's answers have."""
    layers = row["layers"] or ""
    return Effect(
        metric="expression",
        unit=POINTS,
        role=_ROLES[row["role"]],
        trait=row["style"],
        method=row["method"],
        substrate="prompt" if row["method"] == PROMPT else "residual",
        layers=layers,
        depth=mean_depth(layers, n_layers) if layers else None,
        stream="resid_post" if layers else None,
        condition=f"answers to {row['prompts']} prompts",
        data=row["corpus"],
        place=None if not layers else "named" if row["declared"] == PRIMARY else "chosen" if row["chosen"] else "swept",
        strength=row["coefficient"] if layers else None,
        strength_unit=NORMS if layers else None,
        fixed="vector, judge",
        n=row["n"],
        cluster="question",
        n_cluster=row["n_questions"],
        judge=row["judge"],
        judge_validity=validity.get((row["style"], row["judge"])),
        coherent=row["coherent"],
    ).measured(row)


def _changed(row: Row, expression: Effect) -> Effect:
    return replace(
        expression,
        metric=CHANGE,
        reference="unsteered answers",
        test="sign flips over questions",
        null_kind="no difference from unsteered answers",
        p=row["p"],
        family=family_of("change against unsteered answers", row["declared"]),
        detectable=row["detectable"],
    ).measured(row, "effect", "effect_low", "effect_high")


def _ranked(row: Row, expression: Effect) -> Effect:
    return replace(
        _changed(row, expression),
        test="rank among directions",
        null_kind="random directions with the covariance of the sentences within styles",
        null_low=row["null_low"],
        null_high=row["null_high"],
        n_null=row["n_random"],
        p=row["p_random"],
        family=family_of("rank among random directions", row["declared"]),
        detectable=None,
    )


def _tells(row: Row, effect: Effect) -> Claim:
    low, high = (None if end is None else end - 0.5 for end in (row["low"], row["high"]))
    found = verdict(row["q"], low, high)
    holds = found == "holds"
    sentence = (
        f"The style vector {'tells' if holds else 'is not shown to tell'} held-out sentences of the style"
        f" {row['style']} from the others: AUC {interval(row['auc'], row['low'], row['high'])} at layer"
        f" {row['layer']}, q {number(row['q'])}."
    )
    return effect.claimed("told apart", sentence, TELLS, found)


def _moves(row: Row, effect: Effect) -> Claim:
    """What is detectable in the table is against unsteered answers, and not what this rank would find."""
    found = verdict(row["q_random"], row["effect_low"], row["effect_high"])
    change = interval(row["effect"], row["effect_low"], row["effect_high"], digits=1)
    sentence = (
        f"Adding the vector ({row['method']}) at {row['layers']}, coefficient {row['coefficient']:g},"
        f" {'raises' if found == 'holds' else 'is not shown to raise'} {row['style']} in answers to"
        f" {row['prompts']} prompts: {change} points of 100 against unsteered ({row['judge']}), q"
        f" {number(row['q_random'])} among {row['n_random']:g} random directions."
    )
    claim = effect.claimed(f"{row['method']} steers, {row['prompts']} prompts", sentence, MOVES, found)
    return replace(claim, unit=None)
