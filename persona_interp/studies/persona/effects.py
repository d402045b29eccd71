"""A run of the main job as rows of the table of effects, and its claims."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Role
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.studies.persona.findings import claims, effect_sentence, separation_sentence
from persona_interp.studies.persona.results import TraitSummary
from persona_interp.studies.persona.rows import (
    ALPHA,
    ALPHA_PAIR,
    AUC,
    CHANGE,
    CHOSEN,
    COMPARED,
    COSINE,
    EXCHANGED,
    EXPRESSION,
    LAYERWISE,
    METHOD,
    NAMED,
    NORM,
    PRIMARY,
    PROMPTED,
    RANDOM,
    RHO,
    SIZES,
    SPECIFICITY,
    SWEPT,
    SYSTEM_PROMPT,
    VECTOR_OF,
)
from persona_interp.tables import rows_of
from persona_interp.types import depth_of

_ROLES: Mapping[str, Role] = {"treatment": "treatment", "null_draw": "null"}
UNSTEERED = "unsteered answers"
NORMS = "mean residual norms of the layer"
POINTS = "points of 100"
CHANCE = "chance, 0.5"
Tables = Mapping[str, DataFrame]
SEPARATES = (
    "p against exchanged prompts and against random directions, the larger of the two, is corrected with the steering"
    " claims of all traits of the run: q is at most 0.05"
)
STEERS = (
    "rank among random directions, at a layer and a coefficient named before, corrected with the separation claims of"
    " all traits of the run: q is at most 0.05; and the interval at the chosen setting lies above zero"
)
_SIZES = {"effect": POINTS, "g": None, "delta": None}


def persona_effects(
    tables: Tables, summary: Sequence[TraitSummary], *, n_layers: int
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of a run.

    Args:
        tables: separation, steering, effects, baselines, prompted, geometry, agreement and alpha; those that are there.
        summary: a row a trait.
        n_layers: of the model.
    """
    run = _Run(tables, summary, n_layers)
    sizes, primary, made = list(_sizes(run)), [], []
    for row in summary:
        separation, steering = _separation(row, run), _steering(row, run)
        chosen = [e for e in sizes if (e.trait, e.metric, e.judge) == (row.trait, CHANGE, row.effect_judge)]
        primary += [*separation, *steering]
        made += _claims(row, separation, [*steering, *chosen])
    return [*primary, *sizes, *_rest(run)], made


@dataclass(frozen=True)
class _Run:
    tables: Tables
    summary: Sequence[TraitSummary]
    n_layers: int

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table; none where it is not there."""
        return rows_of(self.tables[name]) if name in self.tables else []


def _of_vector(run: _Run, trait: str, layer: int | None, metric: str, condition: str) -> Effect:
    """What all numbers of a persona vector share."""
    return Effect(
        metric=metric,
        trait=trait,
        method=METHOD,
        substrate="residual",
        layers=None if layer is None else str(layer),
        depth=None if layer is None else depth_of(layer, run.n_layers),
        stream="resid_post",
        pooling="response_mean",
        condition=condition,
        data="evaluation questions",
        cluster="question",
    )


def _separation(row: TraitSummary, run: _Run) -> list[Effect]:
    """The nested AUC, whose layers are chosen on other questions and prompts; `layers` is the one chosen most often."""
    if row.auc is None:
        return []
    condition = f"{PROMPTED}, layer chosen on other questions and prompts"
    effect = replace(
        _of_vector(run, row.trait, row.best_layer, AUC, condition),
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
        detectable=row.detectable_auc if row.p_shuffled is not None else None,
        family=PRIMARY,
        place="searched",
    )
    return [effect]


def _steering(row: TraitSummary, run: _Run) -> list[Effect]:
    """The effect at a place that no answer chose, with its rank; none where it was not tested."""
    if row.test_effect is None:
        return []
    effect = replace(
        _of_vector(run, row.trait, row.test_layer, CHANGE, NAMED),
        unit=POINTS,
        place="named",
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


def _rest(run: _Run) -> Iterator[Effect]:
    """Maps, baselines, prompting, specificity, geometry and agreement, none of them a claim."""
    yield from _specificity(run)
    yield from _layer_map(run)
    yield from _sweep(run)
    yield from _prompting(run)
    yield from _baselines(run)
    yield from _geometry(run)
    yield from _agreement(run)


def _specificity(run: _Run) -> Iterator[Effect]:
    """The vector's AUC at its own best layer against that of the best of other directions at theirs."""
    condition = f"{PROMPTED}, at its own best layer"
    for row in run.summary:
        rivals = {
            "vectors of other traits, the best": (row.p_other_traits, row.best_auc_other_traits),
            "principal components of the paired differences, the best": (row.p_components, row.best_auc_components),
        }
        for kind, (p, best) in rivals.items():
            if best is None or row.best_auc is None:
                continue
            own = replace(_of_vector(run, row.trait, None, AUC, condition), reference=kind, estimate=row.best_auc)
            test = "rank of the largest AUC over layers"
            yield replace(own, test=test, null_kind=kind, p=p, family=SPECIFICITY)
            yield replace(own, role="control", method=kind, reference=CHANCE, estimate=best)


def _layer_map(run: _Run) -> Iterator[Effect]:
    """AUC and norm at every layer; the AUC once with each of its nulls, which are of this layer alone."""
    for row in run.rows("separation"):
        own = replace(_of_vector(run, row["trait"], row["layer"], AUC, LAYERWISE), pooling=row["pooling"])
        own = replace(own, place="swept", reference=CHANCE, fixed="vector, system prompts").measured(row, "auc")
        yield replace(own, null_kind=EXCHANGED, null_high=row["null_shuffled_95"])
        yield replace(own, null_kind=RANDOM, null_high=row["null_random_95"])
        yield replace(
            _of_vector(run, row["trait"], row["layer"], NORM, "mean of positive minus mean of negative answers"),
            pooling=row["pooling"],
            place="swept",
            unit="mean residual norms of the layer",
            data="extraction questions",
            cluster=None,
            estimate=row["relative_norm"],
        )


def _sizes(run: _Run) -> Iterator[Effect]:
    """Effect sizes at the chosen setting, a row a measure and judge."""
    summaries = {row.trait: row for row in run.summary}
    for row in run.rows("effects"):
        chosen = summaries[row["trait"]]
        for metric, (name, unit) in zip(SIZES, _SIZES.items(), strict=True):
            yield replace(
                _of_vector(run, row["trait"], chosen.chosen_layer, metric, CHOSEN),
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


def _sweep(run: _Run) -> Iterator[Effect]:
    for row in run.rows("steering"):
        steered = row["coefficient"] != 0
        yield replace(
            _of_vector(run, row["trait"], row["layer"] if steered else None, row["metric"], SWEPT),
            unit=POINTS if row["metric"] == "expression" else None,
            role=_ROLES[row["role"]] if steered else "control",
            place="swept" if steered else None,
            strength=row["coefficient"],
            strength_unit=NORMS,
            fixed="vector, judge",
            n=row["n"],
            n_cluster=row["n_questions"],
            judge=row["judge"],
            coherent=row["coherent"],
        ).measured(row)


def _prompting(run: _Run) -> Iterator[Effect]:
    for row in run.rows("prompted"):
        yield Effect(
            metric=EXPRESSION,
            unit=POINTS,
            role="control",
            trait=row["trait"],
            method=SYSTEM_PROMPT,
            substrate="prompt",
            condition=f"{row['condition']} system prompts",
            data="evaluation questions",
            fixed="system prompts, judge",
            n=row["n"],
            cluster="question",
            judge=row["judge"],
        ).measured(row)


def _baselines(run: _Run) -> Iterator[Effect]:
    for row in run.rows("baselines"):
        role = "null" if row["method"].startswith("random") else "treatment" if row["method"] == METHOD else "control"
        own = replace(
            _of_vector(run, row["trait"], row["layer"], AUC, COMPARED),
            method=row["method"],
            role=role,
            place="chosen" if row["chosen"] else "swept",
            fixed="vector, system prompts",
            n=_total(row["n_positive"], row["n_negative"]),
        )
        yield replace(own, reference=CHANCE).measured(row, "auc")
        if row["method"] != METHOD:
            yield replace(own, metric=COSINE, reference="the persona vector", estimate=row["cosine"])


def _geometry(run: _Run) -> Iterator[Effect]:
    seen: set[tuple[int, str, str]] = set()
    for row in run.rows("geometry"):
        pair = row["layer"], *sorted((row["trait_a"], row["trait_b"]))
        if row["trait_a"] != row["trait_b"] and pair not in seen:
            seen.add(pair)
            yield replace(
                _of_vector(run, row["trait_a"], row["layer"], COSINE, "cosine of two vectors"),
                data=None,
                cluster=None,
                reference=f"{VECTOR_OF}{row['trait_b']}",
                estimate=row["cosine"],
                null_kind="two random directions with the covariance within poles",
                null_high=row["null_95"],
            )


def _agreement(run: _Run) -> Iterator[Effect]:
    """How judges agree on the same answers, two by two and all together."""
    for row in run.rows("agreement"):
        of_two = Effect(
            metric=RHO,
            role="control",
            trait=row["trait"],
            condition=row["condition"],
            reference=row["judge_b"],
            fixed="answers",
            n=row["n"],
            cluster="question",
            n_cluster=row["n_questions"],
            judge=row["judge_a"],
        )
        yield of_two.measured(row, "spearman")
        yield replace(of_two, metric=ALPHA_PAIR, estimate=row["alpha"])
    for row in run.rows("alpha"):
        yield Effect(
            metric=ALPHA,
            role="control",
            trait=row["trait"],
            condition=f"{row['condition']}, {row['scale']}",
            reference=f"all {row['n_judges']} judges",
            fixed="answers",
            n=row["n"],
            cluster="question",
            n_cluster=row["n_questions"],
        ).measured(row, "alpha")


def _below(high: float | None, bound: float) -> bool:
    return high is not None and high < bound


def _total(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
