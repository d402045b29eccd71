"""What was found of repetition as rows of the table of effects, and the claims on it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from persona_interp.effects import Claim, Effect, q_of, rejected
from persona_interp.sections.words import interval, number
from persona_interp.studies.repetition.config import RepetitionRun
from persona_interp.studies.repetition.scores import AGREEING
from persona_interp.tables import rows_of
from persona_interp.types import depth_of

if TYPE_CHECKING:
    from persona_interp.studies.repetition.run import RepetitionResult

STUDY = "repetition"
AGREEMENT, SLOPE, GAIN, OVER = "agreement", "slope of agreement", "gain of agreement", "gain over neutral"
ATTENTION, ATTRIBUTION, CHANGE = "attention to the statements", "moved along the direction", "change of the effect"
REPEATS = (
    "agreement after four statements minus after one, minus the same where a neutral sentence is repeated instead: sign"
    " flips over topics, corrected over verbatim and paraphrased, q is at most 0.05; and the interval over topics lies"
    " above zero"
)
THROUGH = (
    "the effect of four statements without the heads, ranked among random heads of the same layers and sizes: q is at"
    " most 0.05; and the interval of the change over topics lies below zero"
)
_METRICS = {"agreement": AGREEMENT, "slope": SLOPE, "gain": GAIN, "gain over neutral": OVER}
_UNITS = {AGREEMENT: "nats a token", SLOPE: "nats a token, a doubling of 1 + statements"}

Row = dict[str, Any]


def repetition_effects(
    result: "RepetitionResult", *, n_layers: int, run: RepetitionRun
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of doses, of the maps of heads and of their ablation."""
    dosed = [(row, _dose(row)) for row in rows_of(result.doses)]
    mapped = list(_maps(result, n_layers, run))
    ablated = _ablated(result, n_layers, run)
    effects = [*(effect for _, effect in dosed), *mapped, ablated, *_perplexity(result, run)]
    q = dict(zip(map(id, effects), q_of(effects), strict=True))
    claims = [_repeats(effect, q[id(effect)]) for row, effect in dosed if _is_primary(row) and effect.family]
    if ablated.family is not None:
        claims.append(_through(ablated, q[id(ablated)], result, run))
    return effects, claims


def _is_primary(row: Row) -> bool:
    return row["what"] == "gain over neutral" and row["words"] == AGREEING


def _dose(row: Row) -> Effect:
    metric = _METRICS[row["what"]]
    tested = row["p"] is not None
    return Effect(
        metric=metric,
        role="null" if row["condition"] == "neutral repeated" else "treatment",
        method=row["condition"],
        substrate="prompt",
        condition=f"{row['words']} answers",
        data="opinions, topics evaluated on",
        strength=None if row["count"] is None else int(row["count"]),
        strength_unit=None if row["count"] is None else "statements",
        place="swept" if row["count"] is not None else "named",
        unit=_UNITS.get(metric, "nats a token"),
        reference="fillers of equal length" if metric in (AGREEMENT, SLOPE) else "one statement",
        cluster="topic",
        n=int(row["n"]),
        n_cluster=int(row["n"]),
        fixed="sentences, model",
        test="sign flips over topics, larger" if tested else None,
        null_kind="as often less as more" if tested else None,
        p=row["p"],
        family=None if not tested else "repetition" if _is_primary(row) else "repetition, exploratory",
    ).measured(row)


def _maps(result: "RepetitionResult", n_layers: int, run: RepetitionRun) -> Iterator[Effect]:
    maps, chosen = result.maps, set(result.maps.chosen(run.n_heads))
    for layer in range(maps.attention.shape[0]):
        for head in range(maps.attention.shape[1]):
            of = Effect(
                metric=ATTENTION,
                method="paraphrased",
                substrate="head",
                layers=str(layer),
                depth=depth_of(layer, n_layers),
                stream="head_out",
                place="swept",
                role="treatment" if (layer, head) in chosen else "control",
                condition=f"head {layer}.{head}",
                data="opinions, topics chosen on",
                reference="fillers in their place",
                n=2 * run.n_topics,
                estimate=float(maps.attention[layer, head]),
                unit="share of attention",
            )
            yield of
            yield replace(
                of,
                metric=ATTRIBUTION,
                trait=run.trait,
                estimate=float(maps.attribution[layer, head]),
                unit="residual units",
            )


def _ablated(result: "RepetitionResult", n_layers: int, run: RepetitionRun) -> Effect:
    found = result.ablation
    can = found.rank.p == found.rank.p
    return Effect(
        metric=CHANGE,
        method="paraphrased",
        substrate="head",
        layers="+".join(map(str, range(result.layer + 1))),
        depth=depth_of(result.layer, n_layers),
        stream="head_out",
        place="named",
        condition="heads set to their mean",
        data="opinions, topics evaluated on",
        strength=run.n_heads,
        strength_unit="heads ablated",
        unit="nats a token",
        reference="the effect of four statements on agreeing in the whole model",
        cluster="topic",
        fixed="heads, sentences",
        test="rank among random heads, lower",
        null_kind="random heads of the same layers and sizes",
        null_low=-found.rank.high,
        null_high=-found.rank.low,
        n_null=found.rank.n,
        p=found.rank.p if can else None,
        family="heads of repetition" if can else None,
    ).estimated(found.change)


def _perplexity(result: "RepetitionResult", run: RepetitionRun) -> Iterator[Effect]:
    for value, condition in zip(result.ablation.perplexity, ("whole model", "heads set to their mean"), strict=True):
        whole = condition == "whole model"
        yield Effect(
            metric="perplexity of neutral texts",
            role="control" if whole else "treatment",
            substrate="weights" if whole else "head",
            condition=condition,
            data="neutral texts",
            strength=None if whole else run.n_heads,
            strength_unit=None if whole else "heads ablated",
            estimate=value,
        )


def _repeats(effect: Effect, q: float) -> Claim:
    holds = rejected(q) and effect.low is not None and effect.low > 0
    verdict = "holds" if holds else "does not" if effect.high is not None and effect.high < 0 else "undecided"
    does = "raises" if holds else "is not shown to raise"
    sentence = (
        f"Stating an opinion four times instead of once ({effect.method}) {does} agreement more than repeating a"
        f" neutral sentence does: {interval(effect.estimate, effect.low, effect.high)} nats a token, q {number(q)},"
        f" {effect.n_cluster} topics."
    )
    return effect.claimed(f"repetition is agreed with, {effect.method}", sentence, REPEATS, verdict)


def _through(effect: Effect, q: float, result: "RepetitionResult", run: RepetitionRun) -> Claim:
    found = result.ablation
    holds = rejected(q) and found.change.high < 0
    verdict = "holds" if holds else "does not" if found.change.low > 0 else "undecided"
    does = "takes" if holds else "is not shown to take"
    sentence = (
        f"Ablating the {run.n_heads} heads that look at the statements and write toward {run.trait} {does} more of"
        f" their effect than random heads do: {interval(found.change.estimate, found.change.low, found.change.high)} of"
        f" {number(found.whole.estimate)} nats a token, random heads {found.random:+.3f}, q {number(q)}."
    )
    return effect.claimed("it goes through heads", sentence, THROUGH, verdict)
