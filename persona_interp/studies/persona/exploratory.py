"""What a run measures beside its claims, as effects: maps, baselines, prompting, specificity, geometry, agreement."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Effect, Role
from persona_interp.judges.consensus import CONSENSUS, DEVIATIONS
from persona_interp.judges.validity import OWN_ANSWERS, Validity, headline_auc
from persona_interp.studies.persona.results import TraitSummary
from persona_interp.studies.persona.rows import (
    ALPHA,
    ALPHA_PAIR,
    AUC,
    COMPARED,
    COSINE,
    EXCHANGED,
    EXPRESSION,
    JUDGE_AUC,
    LAYERWISE,
    METHOD,
    NORM,
    PASSING,
    PROMPTED,
    RANDOM,
    RHO,
    SPECIFICITY,
    SWEPT,
    SYSTEM_PROMPT,
    VECTOR_OF,
)
from persona_interp.tables import rows_of
from persona_interp.types import depth_of

_ROLES: Mapping[str, Role] = {"treatment": "treatment", "null_draw": "null"}
NORMS = "mean residual norms of the layer"
POINTS = "points of 100"
STANDARD_FIXED = "vector, judges, mean and deviation of unsteered answers"
CHANCE = "chance, 0.5"
Tables = Mapping[str, DataFrame]


@dataclass(frozen=True)
class Run:
    """What a run leaves: its tables by name, a row of its summary a trait, and the number of blocks of its model."""

    tables: Tables
    summary: Sequence[TraitSummary]
    n_layers: int

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table; none where it is not there."""
        return rows_of(self.tables[name]) if name in self.tables else []


def of_vector(run: Run, trait: str, layer: int | None, metric: str, condition: str) -> Effect:
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


def exploratory_effects(run: Run) -> Iterator[Effect]:
    """Maps, baselines, prompting, specificity, geometry and agreement, none of them a claim."""
    yield from _specificity(run)
    yield from _layer_map(run)
    yield from _sweep(run)
    yield from _prompting(run)
    yield from _baselines(run)
    yield from _geometry(run)
    yield from _agreement(run)
    yield from _validity(run)
    yield from _gate(run)


def unit_by(judge: str) -> str:
    """The unit of a judge's scores and of their changes."""
    return DEVIATIONS if judge == CONSENSUS else POINTS


def validities(run: Run) -> dict[tuple[str | None, str | None], float]:
    """The AUC that stands beside every number of a judge, by trait and judge; none of those that were not tried."""
    found: dict[tuple[str | None, str | None], list[Validity]] = {}
    for row in run.rows("validity"):
        if row["auc"] is not None:
            cells: dict[str, Any] = {field.name: row[field.name] for field in fields(Validity)}
            known: dict[str, Any] = {name: float("nan") if cell is None else cell for name, cell in cells.items()}
            found.setdefault((row["trait"], row["judge"]), []).append(Validity(**known))
    return {key: headline_auc(several) for key, several in found.items()}


def _validity(run: Run) -> Iterator[Effect]:
    """How well each judge tells texts with a trait from texts without it, and the model's own prompted answers."""
    own = "answers to positive against negative system prompts, other than those that the judge reads"
    for row in run.rows("validity"):
        yield Effect(
            metric=JUDGE_AUC,
            role="control",
            trait=row["trait"],
            data=row["texts"],
            condition=own if row["texts"] == OWN_ANSWERS else "answers with the trait against answers without it",
            reference=CHANCE,
            fixed="judge",
            n=row["n"],
            cluster="question" if row["texts"] == OWN_ANSWERS else "pair",
            n_cluster=row["n_clusters"],
            judge=row["judge"],
        ).measured(row, "auc")


def _gate(run: Run) -> Iterator[Effect]:
    """Shares that pass the gate of coherence, of answers whose coherence is known."""
    for row in run.rows("gate"):
        yield Effect(
            metric=PASSING,
            role="control",
            trait=row["trait"],
            data="evaluation questions",
            condition=row["kind"],
            fixed="gate, system prompt",
            n=row["n"],
            cluster="question",
            n_cluster=row["n_questions"],
        ).measured(row)


def _specificity(run: Run) -> Iterator[Effect]:
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
            own = replace(of_vector(run, row.trait, None, AUC, condition), reference=kind, estimate=row.best_auc)
            test = "rank of the largest AUC over layers"
            yield replace(own, test=test, null_kind=kind, p=p, family=SPECIFICITY)
            yield replace(own, role="control", method=kind, reference=CHANCE, estimate=best)


def _layer_map(run: Run) -> Iterator[Effect]:
    """AUC and norm at every layer; the AUC once with each of its nulls, which are of this layer alone."""
    for row in run.rows("separation"):
        own = replace(of_vector(run, row["trait"], row["layer"], AUC, LAYERWISE), pooling=row["pooling"])
        own = replace(own, place="swept", reference=CHANCE, fixed="vector, system prompts").measured(row, "auc")
        yield replace(own, null_kind=EXCHANGED, null_high=row["null_shuffled_95"])
        yield replace(own, null_kind=RANDOM, null_high=row["null_random_95"])
        yield replace(
            of_vector(run, row["trait"], row["layer"], NORM, "mean of positive minus mean of negative answers"),
            pooling=row["pooling"],
            place="swept",
            unit="mean residual norms of the layer",
            data="extraction questions",
            cluster=None,
            estimate=row["relative_norm"],
        )


def _sweep(run: Run) -> Iterator[Effect]:
    for row in run.rows("steering"):
        steered = row["coefficient"] != 0
        yield replace(
            of_vector(run, row["trait"], row["layer"] if steered else None, row["metric"], SWEPT),
            unit=unit_by(row["judge"]) if row["metric"] == "expression" else None,
            role=_ROLES[row["role"]] if steered else "control",
            place="swept" if steered else None,
            strength=row["coefficient"],
            strength_unit=NORMS,
            fixed=STANDARD_FIXED if row["judge"] == CONSENSUS else "vector, judge",
            n=row["n"],
            n_cluster=row["n_questions"],
            judge=row["judge"],
            coherent=row["coherent"],
        ).measured(row)


def _prompting(run: Run) -> Iterator[Effect]:
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


def _baselines(run: Run) -> Iterator[Effect]:
    for row in run.rows("baselines"):
        role = "null" if row["method"].startswith("random") else "treatment" if row["method"] == METHOD else "control"
        own = replace(
            of_vector(run, row["trait"], row["layer"], AUC, COMPARED),
            method=row["method"],
            role=role,
            place="chosen" if row["chosen"] else "swept",
            fixed="vector, system prompts",
            n=total(row["n_positive"], row["n_negative"]),
        )
        yield replace(own, reference=CHANCE).measured(row, "auc")
        if row["method"] != METHOD:
            yield replace(own, metric=COSINE, reference="the persona vector", estimate=row["cosine"])


def _geometry(run: Run) -> Iterator[Effect]:
    seen: set[tuple[int, str, str]] = set()
    for row in run.rows("geometry"):
        pair = row["layer"], *sorted((row["trait_a"], row["trait_b"]))
        if row["trait_a"] != row["trait_b"] and pair not in seen:
            seen.add(pair)
            yield replace(
                of_vector(run, row["trait_a"], row["layer"], COSINE, "cosine of two vectors"),
                data=None,
                cluster=None,
                reference=f"{VECTOR_OF}{row['trait_b']}",
                estimate=row["cosine"],
                null_kind="two random directions with the covariance within poles",
                null_high=row["null_95"],
            )


def _agreement(run: Run) -> Iterator[Effect]:
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


def total(*counts: int | None) -> int | None:
    """The sum of counts; None where one is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
