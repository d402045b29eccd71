"""A run of the main job as rows of the table of effects, and its claims; made from its saved results alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Source, claims_table, effects_table, write_effects
from persona_interp.io import check_record, read_record
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.studies.persona.findings import claims, effect_sentence, separation_sentence
from persona_interp.studies.persona.identity import FILE
from persona_interp.studies.persona.results import REMEDY, MainJobResults, TraitSummary, load_results
from persona_interp.tables import rows_of
from persona_interp.types import depth_of

STUDY, PRIMARY, SPECIFICITY = "persona", "claims of the run", "specificity"
METHOD = "persona_vector"
PROMPTED = "answers to positive against negative system prompts"
UNSTEERED = "unsteered answers"
NORMS = "mean residual norms of the layer"
POINTS = "points of 100"
CHANCE = "chance, 0.5"
SEPARATES = (
    "p against exchanged prompts and against random directions, the larger of the two, is corrected with the steering"
    " claims of all traits of the run: q is at most 0.05"
)
STEERS = (
    "rank among random directions, at a layer and a coefficient named before, corrected with the separation claims of"
    " all traits of the run: q is at most 0.05; and the interval at the chosen setting lies above zero"
)
CHANGE = "change of expression"
_SIZES = {"effect": (CHANGE, POINTS), "g": ("Hedges' g", None), "delta": ("Cliff's delta", None)}


def write_main_job_effects(folder: Path) -> None:
    """Write effects.parquet and claims.parquet of a results folder.

    Raises:
        ArtefactError: a result is missing or damaged.
    """
    results = load_results(folder)
    source = _source(results, folder)
    sizes, primary, made = list(_sizes(results)), [], []
    for row in results.summary:
        separation, steering = _separation(row, results), _steering(row, results)
        chosen = [e for e in sizes if (e.trait, e.metric, e.judge) == (row.trait, CHANGE, row.effect_judge)]
        primary += [*separation, *steering]
        made += _claims(row, separation, [*steering, *chosen])
    effects = [*primary, *sizes, *_rest(results)]
    write_effects(folder, STUDY, effects_table(source, effects), claims_table(source, made))


def _source(results: MainJobResults, folder: Path) -> Source:
    own, identity = results.provenance, folder / FILE
    keys = {"model": str, "backend": str, "dtype": str, "n_layers": int}
    check_record(folder / "provenance.json", own, keys, remedy=REMEDY)
    kept = read_record(identity) if identity.is_file() else own  # earlier versions kept no identity
    return Source.of(STUDY, [results.config, kept], own, results.config["seed"])


def _of_vector(results: MainJobResults, trait: str, layer: int | None, metric: str, condition: str) -> Effect:
    """What all numbers of a persona vector share."""
    return Effect(
        metric=metric,
        trait=trait,
        method=METHOD,
        substrate="residual",
        layers=None if layer is None else str(layer),
        depth=None if layer is None else depth_of(layer, results.provenance["n_layers"]),
        stream="resid_post",
        pooling="response_mean",
        condition=condition,
        data="evaluation questions",
        cluster="question",
    )


def _separation(row: TraitSummary, results: MainJobResults) -> list[Effect]:
    """The nested AUC, whose layers are chosen on other questions and prompts; `layers` is the one chosen most often."""
    if row.auc is None:
        return []
    condition = f"{PROMPTED}, layer chosen on other questions and prompts"
    effect = replace(
        _of_vector(results, row.trait, row.best_layer, "AUC", condition),
        reference=CHANCE,
        estimate=row.auc,
        low=row.auc_low,
        high=row.auc_high,
        level=CONFIDENCE,
        fixed="vector, system prompts",
        n=_total(row.n_test_positive, row.n_test_negative),
        n_cluster=row.n_test_questions,
        test="rank of the largest AUC over layers",
        null_kind="random directions, whose p is never below that of exchanged prompts",
        n_null=row.n_null_random,
        p=row.p_random if row.p_shuffled is not None else None,
        family=PRIMARY,
        place="searched",
    )
    return [effect]


def _steering(row: TraitSummary, results: MainJobResults) -> list[Effect]:
    """The effect at a place that no answer chose, with its rank; none where it was not tested."""
    if row.test_effect is None:
        return []
    effect = replace(
        _of_vector(results, row.trait, row.test_layer, CHANGE, "added at a place named before"),
        unit=POINTS,
        strength=row.test_coefficient,
        strength_unit=NORMS,
        reference=UNSTEERED,
        estimate=row.test_effect,
        fixed="vector, judge",
        n=row.n_steering_questions,
        n_cluster=row.n_steering_questions,
        test="rank among directions",
        null_kind="random directions with the covariance within poles",
        null_low=row.effect_random_low,
        null_high=row.effect_random_high,
        n_null=row.n_random,
        p=row.p_steering,
        family=PRIMARY,
        judge=row.effect_judge,
    )
    return [effect]


def _claims(row: TraitSummary, separation: list[Effect], steering: list[Effect]) -> Iterator[Claim]:
    made = claims(row)
    for claim, sentence, rule, effects, against, detectable, unit in (
        ("separation", separation_sentence(row), SEPARATES, separation, _below(row.auc_high, 0.5),
         row.detectable_auc, "AUC"),
        ("steering", effect_sentence(row, vector="the persona vector"), STEERS, steering, _below(row.effect_high, 0.0),
         row.detectable_effect, POINTS),
    ):  # fmt: skip
        yield Claim(
            claim=claim,
            trait=row.trait,
            sentence=f"{sentence[:1].upper()}{sentence[1:]}.",
            rule=rule,
            effects=effects,
            verdict="holds" if claim in made else "does not" if against else "undecided",
            detectable=detectable,
            unit=unit,
        )


def _rest(results: MainJobResults) -> Iterator[Effect]:
    """Maps over layers and coefficients, baselines, prompting, specificity and geometry, none of them a claim."""
    yield from _specificity(results)
    yield from _layer_map(results)
    yield from _sweep(results)
    yield from _prompting(results)
    yield from _baselines(results)
    yield from _geometry(results)


def _specificity(results: MainJobResults) -> Iterator[Effect]:
    """The vector's AUC at its own best layer against that of the best of other directions at theirs."""
    condition = f"{PROMPTED}, at its own best layer"
    for row in results.summary:
        rivals = {
            "vectors of other traits, the best": (row.p_other_traits, row.best_auc_other_traits),
            "principal components of the paired differences, the best": (row.p_components, row.best_auc_components),
        }
        for kind, (p, best) in rivals.items():
            if best is None or row.best_auc is None:
                continue
            own = replace(_of_vector(results, row.trait, None, "AUC", condition), reference=kind, estimate=row.best_auc)
            test = "rank of the largest AUC over layers"
            yield replace(own, test=test, null_kind=kind, p=p, family=SPECIFICITY)
            yield replace(own, role="control", method=kind, reference=CHANCE, estimate=best)


def _layer_map(results: MainJobResults) -> Iterator[Effect]:
    for row in rows_of(results.separation):
        yield replace(
            _of_vector(results, row["trait"], row["layer"], "AUC", f"{PROMPTED}, layer by layer"),
            pooling=row["pooling"],
            reference=CHANCE,
            fixed="vector, system prompts",
            null_kind="exchanged prompts, at this layer alone",
            null_high=row["null_shuffled_95"],
        ).measured(row, "auc")


def _sizes(results: MainJobResults) -> Iterator[Effect]:
    """Effect sizes at the chosen setting, a row a measure and judge."""
    summaries = {row.trait: row for row in results.summary}
    for row in _rows(results.effects):
        chosen = summaries[row["trait"]]
        for name, (metric, unit) in _SIZES.items():
            condition = "added at the setting chosen on extraction questions"
            yield replace(
                _of_vector(results, row["trait"], chosen.chosen_layer, metric, condition),
                unit=unit,
                strength=chosen.chosen_coefficient,
                strength_unit=NORMS,
                reference=UNSTEERED,
                estimate=row[name],
                low=row[f"{name}_low"],
                high=row[f"{name}_high"],
                level=CONFIDENCE,
                fixed="vector, setting, judge",
                n=row["n"],
                n_cluster=row["n_questions"],
                judge=row["judge"],
                place="chosen",
            )


def _sweep(results: MainJobResults) -> Iterator[Effect]:
    for row in rows_of(results.steering):
        steered = row["coefficient"] != 0
        yield replace(
            _of_vector(results, row["trait"], row["layer"] if steered else None, row["metric"], "added, in a sweep"),
            unit=POINTS if row["metric"] == "expression" else None,
            role="treatment" if steered else "control",
            strength=row["coefficient"],
            strength_unit=NORMS,
            fixed="vector, judge",
            n=row["n"],
            n_cluster=row["n_questions"],
            judge=row["judge"],
        ).measured(row)


def _prompting(results: MainJobResults) -> Iterator[Effect]:
    for row in _rows(results.prompted):
        yield Effect(
            metric="expression",
            unit=POINTS,
            role="control",
            trait=row["trait"],
            method="system prompt",
            substrate="prompt",
            condition=f"{row['condition']} system prompts",
            data="evaluation questions",
            fixed="system prompts, judge",
            n=row["n"],
            cluster="question",
            judge=row["judge"],
        ).measured(row)


def _baselines(results: MainJobResults) -> Iterator[Effect]:
    for row in _rows(results.baselines):
        random = row["method"].startswith("random")
        condition = f"{PROMPTED}, methods compared on the same prompts"
        yield replace(
            _of_vector(results, row["trait"], row["layer"], "AUC", condition),
            method=row["method"],
            role="null" if random else "treatment" if row["method"] == METHOD else "control",
            reference=CHANCE,
            fixed="vector, system prompts",
            n=_total(row["n_positive"], row["n_negative"]),
        ).measured(row, "auc")


def _geometry(results: MainJobResults) -> Iterator[Effect]:
    for row in _rows(results.geometry):
        if row["trait_a"] < row["trait_b"]:
            yield replace(
                _of_vector(results, row["trait_a"], row["layer"], "cosine", "cosine of two vectors"),
                data=None,
                cluster=None,
                reference=f"vector of {row['trait_b']}",
                estimate=row["cosine"],
                null_kind="two random directions with the covariance within poles",
                null_high=row["null_95"],
            )


def _rows(table: DataFrame | None) -> list[dict[str, Any]]:
    return [] if table is None else rows_of(table)


def _below(high: float | None, bound: float) -> bool:
    return high is not None and high < bound


def _total(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
