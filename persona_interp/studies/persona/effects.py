"""A run of the main job as rows of the table of effects, and its claims."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from persona_interp.effects import Claim, Effect
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.studies.persona.exploratory import (
    CHANCE,
    NORMS,
    Run,
    Tables,
    exploratory_effects,
    of_vector,
    total,
    unit_by,
    validities,
)
from persona_interp.studies.persona.findings import claims, effect_sentence, separation_sentence, unit_of
from persona_interp.studies.persona.results import TraitSummary
from persona_interp.studies.persona.rows import (
    AUC,
    CHANGE,
    CHOSEN,
    NAMED,
    PRIMARY,
    PROMPTED,
    SIZES,
)

UNSTEERED = "unsteered answers"
SEPARATES = (
    "p against exchanged prompts and against random directions, the larger of the two, is corrected with the steering"
    " claims of all traits of the run: q is at most 0.05"
)
STEERS = (
    "rank among random directions, at a layer and a coefficient named before, corrected with the separation claims of"
    " all traits of the run: q is at most 0.05; and the interval at the chosen setting lies above zero"
)


def persona_effects(
    tables: Tables, summary: Sequence[TraitSummary], *, n_layers: int
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of a run.

    Args:
        tables: separation, steering, effects, baselines, prompted, geometry, agreement and alpha; those that are there.
        summary: a row a trait.
        n_layers: of the model.
    """
    run = Run(tables, summary, n_layers)
    sizes, primary, made = list(_sizes(run)), [], []
    for row in summary:
        separation, steering = _separation(row, run), _steering(row, run)
        chosen = [e for e in sizes if (e.trait, e.metric, e.judge) == (row.trait, CHANGE, row.effect_judge)]
        primary += [*separation, *steering]
        made += _claims(row, separation, [*steering, *chosen])
    everything = [*primary, *sizes, *exploratory_effects(run)]
    known = validities(run)
    return [replace(e, judge_validity=known.get((e.trait, e.judge))) for e in everything], made


def _separation(row: TraitSummary, run: Run) -> list[Effect]:
    """The nested AUC, whose layers are chosen on other questions and prompts; `layers` is the one chosen most often."""
    if row.auc is None:
        return []
    condition = f"{PROMPTED}, layer chosen on other questions and prompts"
    effect = replace(
        of_vector(run, row.trait, row.best_layer, AUC, condition),
        reference=CHANCE,
        estimate=row.auc,
        low=row.auc_low,
        high=row.auc_high,
        level=CONFIDENCE,
        fixed="vector, system prompts",
        n=total(row.n_test_positive, row.n_test_negative),
        n_cluster=row.n_test_questions,
        test="rank of the largest AUC over layers",
        null_kind="random directions, whose p is never below that of exchanged prompts",
        n_null=row.n_null_random,
        p=row.p_random if row.p_shuffled is not None else None,
        detectable=row.detectable_auc,
        family=PRIMARY,
        place="searched",
    )
    return [effect]


def _steering(row: TraitSummary, run: Run) -> list[Effect]:
    """The effect at a place that no answer chose, with its rank; none where it was not tested."""
    if row.test_effect is None:
        return []
    effect = replace(
        of_vector(run, row.trait, row.test_layer, CHANGE, NAMED),
        unit=unit_of(row),
        place="named",
        strength=row.test_coefficient,
        strength_unit=NORMS,
        reference=UNSTEERED,
        estimate=row.test_effect,
        fixed="vector, judge" if row.effect_unit is None else "vector, judges, mean and deviation of unsteered answers",
        n=row.n_steering_questions,
        n_cluster=row.n_steering_questions,
        test="rank among directions",
        null_kind="random directions with the covariance within poles",
        null_low=row.effect_random_low,
        null_high=row.effect_random_high,
        n_null=row.n_random,
        p=row.p_steering,
        detectable=row.detectable_effect,
        family=PRIMARY,
        judge=row.effect_judge,
    )
    return [effect]


def _claims(row: TraitSummary, separation: list[Effect], steering: list[Effect]) -> Iterator[Claim]:
    made = claims(row)
    for claim, sentence, rule, effects, against, detectable, unit in (
        ("separation", separation_sentence(row), SEPARATES, separation, _below(row.auc_high, 0.5),
         row.detectable_auc, AUC),
        ("steering", effect_sentence(row, vector="the persona vector"), STEERS, steering, _below(row.effect_high, 0.0),
         row.detectable_effect, unit_of(row)),
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


def _sizes(run: Run) -> Iterator[Effect]:
    """Effect sizes at the chosen setting, a row a measure and judge."""
    summaries = {row.trait: row for row in run.summary}
    for row in run.rows("effects"):
        chosen = summaries[row["trait"]]
        for metric, name in zip(SIZES, ("effect", "g", "delta"), strict=True):
            yield replace(
                of_vector(run, row["trait"], chosen.chosen_layer, metric, CHOSEN),
                unit=unit_by(row["judge"]) if metric == CHANGE else None,
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


def _below(high: float | None, bound: float) -> bool:
    return high is not None and high < bound
