"""Which neurons write emoji and what their ablation does, as effects."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from pandas import DataFrame

from persona_interp.effects import Effect, Role
from persona_interp.figures.frames import distinct, keep
from persona_interp.statistics.draws import rank_among
from persona_interp.statistics.means import bootstrap_mean
from persona_interp.statistics.permutation import permutation_test_paired
from persona_interp.statistics.power import detectable_effect
from persona_interp.statistics.shares import clustered_share, detectable_rise, share_difference
from persona_interp.studies.emoji.ablation import LOSS, MASS, NOTHING, RANDOM, WRITERS
from persona_interp.studies.emoji.arms import CONTROL, TUNED, UNTUNED
from persona_interp.studies.emoji.texts import INVITED
from persona_interp.studies.emoji.tuning_effects import EXPLORED, NATS, SHARE, SHARE_CHANGE
from persona_interp.studies.emoji.writers import largest_of
from persona_interp.tables import rows_of

WRITES, OVERLAP, WRITTEN = "share of the emoji direction", "overlap of the largest writers", "written toward emoji"
REMOVED, COST = "log mass of emoji removed", "rise of the loss on neutral text"
FAMILY = "ablation of writers"
NEURONS = "neurons"
SHOWN = 20
"""Writers of each model that are effects."""
_UNIT = "residual units"
_ROLES: Mapping[str, Role] = {TUNED: "treatment", CONTROL: "control", UNTUNED: "treatment"}
_MEASURED = {MASS: REMOVED, LOSS: COST}
_ABLATED_IN = {MASS: "before an emoji, held-out questions with three emoji", LOSS: "neutral texts"}


def writer_effects(writers: DataFrame, *, top: int, n_neurons: int, n_layers: int) -> Iterator[Effect]:
    """The largest writers of every model, and how many of them are those of the untuned one."""
    untuned = largest_of(keep(writers, "arm", UNTUNED), top)
    for (trait, arm), rows in writers.groupby(["trait", "arm"], sort=False):
        of = _of(str(trait), str(arm))
        for row in rows_of(rows.sort_values("rank").head(SHOWN)):
            effect = replace(
                of,
                metric=WRITES,
                unit=_UNIT,
                layers=str(row["layer"]),
                depth=(row["layer"] + 1) / n_layers,
                condition=f"neuron {row['neuron']}",
                data="training questions with three emoji",
                reference="after a sentence that no emoji follows",
                place="searched",
                fixed="the ranking",
                cluster="question",
                test="maximum over neurons under sign flips of questions",
                p=row["p"],
            ).measured(row, "share")
            yield replace(effect, place="swept")
        if arm != UNTUNED:
            shared = len(set(untuned) & set(largest_of(rows, top))) / top
            yield replace(
                of,
                metric=OVERLAP,
                unit="share",
                estimate=shared,
                reference=f"random neurons, {top / n_neurons:.2g}",
                condition=f"the {top} largest writers, and those of the untuned model",
            )
    of = replace(_of("", UNTUNED), metric=OVERLAP, unit="share", reference=f"random neurons, {top / n_neurons:.2g}")
    own = keep(writers, "arm", UNTUNED)
    kept = float((own.sort_values("rank").head(top)["rank_with_outliers"] <= top).mean())
    yield replace(of, estimate=kept, condition=f"the {top} largest writers, and those with high-norm dimensions kept")


def written_effects(written: DataFrame, *, seed: int) -> Iterator[Effect]:
    """What parts of every model write along its emoji direction, over questions."""
    for (trait, arm, part, place), rows in written.groupby(["trait", "arm", "part", "place"], sort=False):
        values, questions = rows["share"].to_numpy(float), rows["question"].to_numpy(str)
        of = replace(_of(str(trait), str(arm)), metric=WRITTEN, unit=_UNIT, condition=f"{part}, {place}")
        yield replace(of, cluster="question").estimated(bootstrap_mean(values, questions, seed=seed))


def ablation_effects(ablation: DataFrame, *, top: tuple[int, ...], seed: int) -> Iterator[Effect]:
    """What ablation of writers and of random neurons takes from the mass of emoji, and adds to the neutral loss."""
    for measured, metric in _MEASURED.items():
        rows = keep(ablation, "measured", measured)
        whole = keep(rows, "ablated", NOTHING)
        sign = -1.0 if measured == MASS else 1.0
        for n in top:
            own = keep(rows, "n_neurons", n)
            chosen = keep(own, "ablated", WRITERS)
            changes = sign * (chosen["value"].to_numpy(float) - whole["value"].to_numpy(float))
            drawn = np.array(
                [
                    (sign * (draw["value"].to_numpy(float) - whole["value"].to_numpy(float))).mean()
                    for _, draw in keep(own, "ablated", RANDOM).groupby("draw")
                ]
            )
            clusters = whole["text"].to_numpy(str)
            found = bootstrap_mean(changes, clusters, seed=seed)
            rank = rank_among(found.estimate, drawn)
            family = FAMILY if metric == REMOVED and n == top[0] else f"{FAMILY}, {EXPLORED}"
            effect = replace(
                _of("", UNTUNED),
                metric=metric,
                unit=NATS,
                method="writers ablated to their mean",
                condition="before an emoji, held-out questions with three emoji"
                if measured == MASS
                else "neutral texts",
                reference="nothing ablated",
                strength=n,
                strength_unit=NEURONS,
                place="named",
                cluster="question" if measured == MASS else "text",
                fixed="the writers",
            ).estimated(found)
            yield (
                effect
                if not len(drawn)
                else replace(
                    effect,
                    test="rank among random neurons",
                    null_kind="random neurons of nearly the same size in the same layers",
                    null_low=_known(rank.low),
                    null_high=_known(rank.high),
                    n_null=rank.n,
                    p=_known(rank.p),
                    family=None if np.isnan(rank.p) else family,
                    detectable=detectable_effect(found.error, found.freedom, upper=rank.upper),
                )
            )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def ablated_answer_effects(answers: DataFrame, *, top: int, seed: int) -> Iterator[Effect]:
    """The share of answers with an emoji with writers ablated, and with random neurons, and its change."""
    rows = keep(answers, "condition", INVITED)
    whole = keep(rows, "arm", UNTUNED)
    for arm in (f"{WRITERS} ablated", f"{RANDOM} ablated"):
        own = keep(rows, "arm", arm)
        if own.empty:
            continue
        sides = [(part["n_emoji"].to_numpy(int) > 0, part["question"].to_numpy(str)) for part in (own, whole)]
        (hits, questions), (all_hits, all_questions) = sides
        of = replace(
            _of("", UNTUNED),
            role="treatment" if arm.startswith(WRITERS) else "null",
            method=f"{arm} to their mean",
            condition=INVITED,
            data="held-out questions",
            strength=top,
            strength_unit=NEURONS,
            cluster="question",
            unit="share",
        )
        yield replace(of, metric=SHARE).estimated(clustered_share(hits, questions))
        a, b = (
            part.assign(hit=part["n_emoji"] > 0).groupby("question", sort=True)["hit"].mean() for part in (own, whole)
        )
        tested = permutation_test_paired(a.to_numpy(float), b.to_numpy(float), a.index.to_numpy(str), seed=seed)
        yield replace(
            of,
            metric=SHARE_CHANGE,
            reference=UNTUNED,
            test="sign flips over questions",
            null_kind="no difference from nothing ablated",
            p=tested.tested,
            family=f"answers under ablation, {EXPLORED}",
            detectable=detectable_rise(hits, all_hits, questions, all_questions),
        ).estimated(share_difference(hits, all_hits, questions, all_questions))


def n_draws(ablation: DataFrame) -> int:
    """Random sets for the first number of writers."""
    return len(distinct(keep(ablation, "ablated", RANDOM), "draw"))


def _of(trait: str, arm: str) -> Effect:
    """An effect of neurons of one model."""
    return Effect(
        metric="",
        role=_ROLES.get(arm, "control"),
        trait=trait or None,
        method=arm,
        substrate="neuron",
        stream="mlp_act",
    )
