"""The shift inside finetuned models, and what their data say before, as effects and claims; made from saved tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Source, effects_table, mean_depth, rejected, verdict
from persona_interp.sections.words import interval, number
from persona_interp.studies.finetuning.prediction import SHIFT
from persona_interp.tables import rows_of

STUDY = "finetuning"
PREDICTORS = ("raw projection", "projection difference", "last-prompt proxy")
"""What data say before training, in the order of `projection_difference.METRICS`."""
POINTS = "points of 100"
CORRELATION = "Pearson r"
VECTOR, OF_DATA = "persona_vector", " of the data and the "
OWN, OTHERS = "shift and expression, the trait's own direction", "shift and expression, directions of other traits"
BEST, BEFORE = "shift and expression, best layer against nulls", "the data before training and what follows"
TELLS = (
    "r over runs at the layer named before, one-sided against exchanged data sets, corrected over traits and judges: q"
    " is at most 0.05, and the interval lies above zero"
)
OUTDOES = (
    "r at the best layer against every family of directions of which enough were drawn, searched in the same way,"
    " corrected over traits, judges and families: the largest q is at most 0.05"
)
FORETELLS = (
    "r over data sets, one-sided against exchanged data sets, corrected over predictors, traits and what follows (the"
    " expression by the first judge): q is at most 0.05, and the interval lies above zero"
)

Row = dict[str, Any]


def source_of(name: str, provenance: Mapping[str, Any]) -> Source:
    """Where the effects of a run come from, by its `provenance.json`.

    Args:
        name: which of the questions of this study was asked, since they share models, data and judges.
    """
    model = provenance["model"]
    made_from = {key: provenance[key] for key in ("config", "data", "judges")}
    weights = {key: model[key] for key in ("weights", "chat_template", "backend", "dtype")}
    return Source.of(STUDY, [name, made_from, weights], model, provenance["config"]["setup"]["seed"])


def shift_effects(
    correlations: DataFrame, nulls: DataFrame, predictors: DataFrame, *, layer: int, n_layers: int
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of a grid of finetuned models. Every judge's view of a trait is a claim of its own.

    Args:
        correlations: those of `shift_correlations` at the named layer, which is `layer`.
        nulls: of `shift_nulls`; families too small for a test have no p and are left out.
        predictors: of `predictor_table`. Here, as in the others, bounds may be missing.
    """
    named = [(row, _named(row, layer, n_layers)) for row in rows_of(correlations)]
    own = [(row, effect) for row, effect in named if effect.family == OWN]
    best = [(row, _best(row, n_layers)) for row in rows_of(nulls) if row["p"] is not None]
    before = [(row, _before(row, n_layers)) for row in rows_of(predictors)]
    claims = [_tells(*one, q) for one, q in zip(own, q_of([effect for _, effect in own]), strict=True)]
    claims += _outdoing(best)
    primary = [(row, effect) for row, effect in before if row["declared"] == "primary"]
    claims += [_foretells(*one, q) for one, q in zip(primary, q_of([effect for _, effect in primary]), strict=True)]
    return [effect for _, effect in (*named, *best, *before)], claims


def q_of(effects: Sequence[Effect]) -> list[float | None]:
    """The q of each as the table of these effects has it; None where there is no test."""
    return [row["q"] for row in rows_of(effects_table(Source(STUDY, STUDY), effects))]


def measured(effect: Effect, row: Row) -> Effect:
    """With estimate and interval of a row; a level only where there is an interval."""
    found = effect.measured(row)
    return replace(found, level=None) if row["low"] is None else found


def residual(trait: str, layer: int, n_layers: int, metric: str, condition: str) -> Effect:
    """What all numbers of a persona vector at one block share."""
    return Effect(
        metric=metric,
        trait=trait,
        method=VECTOR,
        substrate="residual",
        layers=str(layer),
        depth=mean_depth(str(layer), n_layers),
        stream="resid_post",
        condition=condition,
        data="evaluation questions",
    )


def _correlation(trait: str, layer: int, n_layers: int, condition: str) -> Effect:
    effect = residual(trait, layer, n_layers, CORRELATION, condition)
    return replace(effect, pooling="prompt_last", reference="no correlation, 0", cluster="training set")


def _named(row: Row, layer: int, n_layers: int) -> Effect:
    """The correlation of a trait's own direction with its expression, or of another trait's, which is a control."""
    direction, trait, own = row["direction_trait"], row["outcome_trait"], row["direction_trait"] == row["outcome_trait"]
    along = "the trait's own direction" if own else "the direction of another trait"
    effect = replace(
        _correlation(trait, layer, n_layers, f"{SHIFT} along {along} and change of expression by {row['judge']}"),
        role="treatment" if own else "control",
        method=VECTOR if own else f"{VECTOR} of {direction}",
        fixed="vectors, judge, evaluation questions, training seed",
        n=row["n"],
        n_cluster=row["n_data"],
        test="exchanged training sets, one-sided" if own else "exchanged training sets",
        null_kind="shifts of other training sets",
        p=row["p"],
        family=OWN if own else OTHERS,
        judge=row["judge"],
        detectable=row.get("detectable"),
    )
    return measured(effect, row)


def _best(row: Row, n_layers: int) -> Effect:
    """The largest correlation over layers beside that of one family of a null; it has no interval."""
    trait, _, judge = row["test"].partition(", ")
    layer = int(row["best_layer"])
    return replace(
        _correlation(trait, layer, n_layers, f"{SHIFT} and change of expression by {judge}, best layer"),
        reference=None,
        estimate=row["observed"],
        test="rank of the largest r over layers",
        null_kind=row["family"].replace("_", " "),
        null_high=row["null_95"],
        n_null=row["n"],
        p=row["p"],
        family=BEST,
        judge=judge,
        place="searched",
    )


def _before(row: Row, n_layers: int) -> Effect:
    """The correlation of what the data say before training with what follows."""
    condition = f"{row['predictor']}{OF_DATA}{_followed(row)}"
    effect = replace(
        _correlation(row["trait"], row["layer"], n_layers, condition),
        fixed="vectors, judge, training seed",
        n=row["n"],
        n_cluster=row["n_data"],
        test="exchanged training sets, one-sided",
        null_kind="outcomes of other training sets",
        p=row["p"],
        family=f"{BEFORE}, {row['declared']}",
        judge=row["judge"],
        detectable=row.get("detectable"),
    )
    return measured(effect, row)


def _followed(row: Row) -> str:
    return SHIFT if row["against"] == SHIFT else "change of expression"


def _tells(row: Row, effect: Effect, q: float | None) -> Claim:
    found = verdict(q, effect.low, effect.high)
    return Claim(
        claim=f"shift tells expression, {effect.judge}",
        trait=effect.trait,
        sentence=(
            f"The shift of finetuned models along the persona vector of {effect.trait}"
            f" {'goes' if found == 'holds' else 'is not shown to go'} with the change of its expression, judged by"
            f" {effect.judge}: r {interval(effect.estimate, effect.low, effect.high)} over {row['n']} runs at layer"
            f" {effect.layers}, q {number(q)}."
        ),
        rule=TELLS,
        effects=[effect],
        verdict=found,
        detectable=row.get("detectable"),
        unit=CORRELATION,
    )


def _outdoing(best: Sequence[tuple[Row, Effect]]) -> Iterator[Claim]:
    """A claim a trait and judge, over all families of its null; no interval could exclude it."""
    q_values = dict(zip((id(effect) for _, effect in best), q_of([effect for _, effect in best]), strict=True))
    for test in dict.fromkeys(row["test"] for row, _ in best):
        effects = [effect for row, effect in best if row["test"] == test]
        first, found = effects[0], {effect.null_kind: q_values[id(effect)] for effect in effects}
        holds = all(rejected(q) for q in found.values())
        against = ", ".join(f"q {number(q)} against {kind}" for kind, q in found.items())
        yield Claim(
            claim=f"own direction outdoes others, {first.judge}",
            trait=first.trait,
            sentence=(
                f"The persona vector of {first.trait} {'tells' if holds else 'is not shown to tell'} its expression"
                f" after finetuning, judged by {first.judge}, better than other directions at their best layers: r"
                f" {number(first.estimate, 2)} at layer {first.layers}, {against}."
            ),
            rule=OUTDOES,
            effects=effects,
            verdict="holds" if holds else "undecided",
        )


def _foretells(row: Row, effect: Effect, q: float | None) -> Claim:
    found = verdict(q, effect.low, effect.high)
    return Claim(
        claim=f"{row['predictor']} foretells {_followed(row)}",
        trait=effect.trait,
        sentence=(
            f"Before training, the {row['predictor']} of the data"
            f" {'tells' if found == 'holds' else 'is not shown to tell'} the {_followed(row)} of {effect.trait}"
            f"{'' if effect.judge is None else f' judged by {effect.judge}'}: r"
            f" {interval(effect.estimate, effect.low, effect.high)} over {row['n_data']} training sets, q {number(q)}."
        ),
        rule=FORETELLS,
        effects=[effect],
        verdict=found,
        detectable=row.get("detectable"),
        unit=CORRELATION,
    )
