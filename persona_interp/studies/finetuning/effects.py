"""The shift inside finetuned models, and what their data say before, as effects and claims; made from saved tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Source, mean_depth, q_of, rejected, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.families import PRIMARY
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
    named = [_named(row, layer, n_layers) for row in rows_of(correlations)]
    best = [_best(row, n_layers) for row in rows_of(nulls) if row["p"] is not None]
    before = [_before(row, n_layers) for row in rows_of(predictors)]
    primary = [effect for effect in before if effect.family == f"{BEFORE}, {PRIMARY}"]
    claims = [_tells(*one) for one in with_q(effect for effect in named if effect.family == OWN)]
    claims += [*_outdoing(best), *(_foretells(*one) for one in with_q(primary))]
    return [*named, *best, *before], claims


def with_q(effects: Iterable[Effect]) -> list[tuple[Effect, float]]:
    """Each of these with its q among them; NaN where there is no test."""
    effects = list(effects)
    return list(zip(effects, q_of(effects), strict=True))


def residual(trait: str, layer: int, n_layers: int, metric: str, condition: str) -> Effect:
    """What all numbers of a persona vector at one block share."""
    return Effect(
        metric=metric,
        trait=trait,
        method=VECTOR,
        substrate="residual",
        layers=str(layer),
        depth=mean_depth(str(layer), n_layers),
        place="named",
        stream="resid_post",
        condition=condition,
        data="evaluation questions",
    )


def _correlation(trait: str, layer: int, n_layers: int, condition: str) -> Effect:
    effect = residual(trait, layer, n_layers, CORRELATION, condition)
    return replace(effect, pooling="prompt_last", cluster="training set")


def _over_sets(effect: Effect, row: Row) -> Effect:
    """With the r of a row over training sets, its interval and its test."""
    return replace(
        effect.measured(row),
        reference="no correlation, 0",
        n=row["n"],
        n_cluster=row["n_data"],
        p=row["p"],
        judge=row["judge"],
        detectable=row.get("detectable"),
    )


def _named(row: Row, layer: int, n_layers: int) -> Effect:
    """The correlation of a trait's own direction with its expression, or of another trait's, which is a control."""
    direction, trait, own = row["direction_trait"], row["outcome_trait"], row["direction_trait"] == row["outcome_trait"]
    along = "the trait's own direction" if own else "the direction of another trait"
    condition = f"{SHIFT} along {along} and change of expression by {row['judge']}"
    return replace(
        _over_sets(_correlation(trait, layer, n_layers, condition), row),
        role="treatment" if own else "control",
        method=VECTOR if own else f"{VECTOR} of {direction}",
        fixed="vectors, judge, evaluation questions, training seed",
        test="exchanged training sets, one-sided" if own else "exchanged training sets",
        null_kind="shifts of other training sets",
        family=OWN if own else OTHERS,
    )


def _best(row: Row, n_layers: int) -> Effect:
    """The largest correlation over layers beside that of one family of a null; it has no interval."""
    trait, _, judge = row["test"].partition(", ")
    condition = f"{SHIFT} and change of expression by {judge}, best layer"
    return replace(
        _correlation(trait, int(row["best_layer"]), n_layers, condition),
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
    condition = f"{row['predictor']}{OF_DATA}{SHIFT if row['against'] == SHIFT else 'change of expression'}"
    return replace(
        _over_sets(_correlation(row["trait"], row["layer"], n_layers, condition), row),
        fixed="vectors, judge, training seed",
        test="exchanged training sets, one-sided",
        null_kind="outcomes of other training sets",
        family=f"{BEFORE}, {row['declared']}",
    )


def _tells(effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)
    sentence = (
        f"The shift of finetuned models along the persona vector of {effect.trait}"
        f" {'goes' if found == 'holds' else 'is not shown to go'} with the change of its expression, judged by"
        f" {effect.judge}: r {interval(effect.estimate, effect.low, effect.high)} over {effect.n} runs at layer"
        f" {effect.layers}, q {number(q)}."
    )
    return effect.claimed(f"shift tells expression, {effect.judge}", sentence, TELLS, found)


def _outdoing(best: Sequence[Effect]) -> Iterator[Claim]:
    """A claim a trait and judge, over all families of its null; no interval could exclude it."""
    tests: dict[tuple[str | None, str | None], list[tuple[Effect, float]]] = {}
    for effect, q in with_q(best):
        tests.setdefault((effect.trait, effect.judge), []).append((effect, q))
    for (trait, judge), found in tests.items():
        first, holds = found[0][0], all(rejected(q) for _, q in found)
        against = ", ".join(f"q {number(q)} against {effect.null_kind}" for effect, q in found)
        yield Claim(
            claim=f"own direction outdoes others, {judge}",
            trait=trait,
            sentence=(
                f"The persona vector of {trait} {'tells' if holds else 'is not shown to tell'} its expression"
                f" after finetuning, judged by {judge}, better than other directions at their best layers: r"
                f" {number(first.estimate, 2)} at layer {first.layers}, {against}."
            ),
            rule=OUTDOES,
            effects=[effect for effect, _ in found],
            verdict="holds" if holds else "undecided",
        )


def _foretells(effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)
    predictor, _, followed = (effect.condition or "").partition(OF_DATA)
    sentence = (
        f"Before training, the {predictor} of the data"
        f" {'tells' if found == 'holds' else 'is not shown to tell'} the {followed} of {effect.trait}"
        f"{'' if effect.judge is None else f' judged by {effect.judge}'}: r"
        f" {interval(effect.estimate, effect.low, effect.high)} over {effect.n_cluster} training sets, q {number(q)}."
    )
    return effect.claimed(f"{predictor} foretells {followed}", sentence, FORETELLS, found)
