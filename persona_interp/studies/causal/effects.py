"""A panel of layers as rows of the table of effects, and the claims on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from persona_interp.effects import Claim, Effect, q_of, rejected
from persona_interp.sections.words import change, interval, number
from persona_interp.statistics.draws import Rank
from persona_interp.statistics.means import bootstrap_difference
from persona_interp.studies.causal.config import CausalRun
from persona_interp.studies.causal.found import SIGNS, Changed
from persona_interp.studies.causal.panel import RANDOM, UNDER, WHATS

if TYPE_CHECKING:
    from persona_interp.studies.causal.run import CausalResult

STUDY = "causal"
AUC, DISTANCE = "AUC", "distance of the poles"
PREFERENCE, CHANGE, SHARE = "preference", "change of preference", "share of the prompt's effect"
EXPRESSION, MATCH, KL = "change of expression", "correlation over layers", "KL divergence reached"
LAYER, CUMULATIVE = "this layer alone", "all layers up to it"
ALL = "mean over the layers"
SAID = {
    "steered": "direction added",
    "ablated": "direction ablated under the trait's prompt",
    "patched": "component patched in from the trait's prompt",
    "patched whole": "whole residual patched in from the trait's prompt",
    "withheld": "component patched in from the opposite prompt",
}
NAMED = {"steered": "steerable", "ablated": "necessary", "patched": "sufficient"}
_PROMPT = {"positive": "the trait's prompt", "negative": "the opposite prompt", "none": "no prompt"}
_RULES = {
    what: (
        f"{SAID[what]}: the mean change of preference over the layers that are looked at, ranked among random"
        " directions with the covariance of answers within the poles, corrected over the three: q is at most 0.05; and"
        f" its interval over questions lies {'above' if SIGNS[what] > 0 else 'below'} zero"
    )
    for what in RANDOM
}
_TOGETHER = (
    "correlation over the layers of the distance of the poles with the effect, debiased, tested over questions and"
    " corrected over the three: q is at most 0.05 and the correlation is positive"
)


_APART = (
    "at a layer, decodable with q at most 0.05 over layers while the interval of adding the direction lies below half"
    " of its largest effect at any; or added beyond random directions with q at most 0.05 over layers while the"
    " interval of the AUC lies below half of its largest rise above chance"
)


def causal_effects(
    result: "CausalResult", trait: str, *, n_layers: int, known: Mapping[str, float], run: CausalRun
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of a panel.

    Args:
        known: AUC of every judge on texts whose trait is known.
    """
    here = Effect(
        metric=CHANGE,
        trait=trait,
        method=result.direction.method,
        stream="resid_post",
        pooling="response_mean",
        data="answers to evaluation questions",
        cluster="question",
        fixed="direction, system prompts, answers",
    )
    means = {what: _mean(result, what, here) for what in WHATS}
    matches = {what: _match(result, what, here) for what in RANDOM}
    effects = [
        *_arms(result, here),
        *_decoded(result, here, n_layers),
        *_layers(result, here, n_layers),
        *means.values(),
        *matches.values(),
        *_judged(result, here, n_layers, known, run),
    ]
    q = dict(zip(map(id, effects), q_of(effects), strict=True))
    claims = [_acts(what, means[what], q[id(means[what])]) for what in RANDOM if means[what].family]
    claims.append(_apart([(effect, q[id(effect)]) for effect in effects if effect.place == "swept"]))
    claims += [_together(what, matches[what], q[id(matches[what])]) for what in RANDOM if matches[what].family]
    return effects, claims


def _arms(result: "CausalResult", here: Effect) -> Iterator[Effect]:
    """Preference after every prompt, and what the prompt does."""
    of = replace(here, metric=PREFERENCE, substrate="prompt", method="system prompt", stream=None, pooling=None)
    of = replace(of, unit="nats a token", role="control")
    for arm, found in result.panel.arms.items():
        yield replace(of, condition=_PROMPT[arm]).estimated(found)
    yield replace(of, metric=CHANGE, condition=_PROMPT["positive"], reference=_PROMPT["negative"]).estimated(
        result.panel.total
    )


def _decoded(result: "CausalResult", here: Effect, n_layers: int) -> Iterator[Effect]:
    for layer, found in result.panel.decoded.items():
        of = replace(here, condition="answers under either prompt", place="swept", fixed="direction, system prompts")
        of = of.at_block(layer, n_layers)
        tested = found.p == found.p
        yield replace(
            of,
            metric=AUC,
            reference="chance, 0.5",
            test="two-sided, AUC of 0.5" if tested else None,
            null_kind="no difference of the poles" if tested else None,
            p=found.p if tested else None,
            family="layers, decodable" if tested else None,
        ).estimated(found.auc)
        if found.distance == found.distance:
            yield replace(of, metric=DISTANCE, unit="standard deviations within the poles", estimate=found.distance)


def _layers(result: "CausalResult", here: Effect, n_layers: int) -> Iterator[Effect]:
    for (scope, what, layer), found in result.panel.changed.items():
        of = replace(_done(here, what), place="swept").at_block(layer, n_layers)
        if scope == "cumulative":
            of = replace(of, layers="+".join(map(str, range(layer + 1))), condition=f"{of.condition}, {CUMULATIVE}")
        else:
            of = replace(of, condition=f"{of.condition}, {LAYER}")
        if what == "steered":
            of = replace(of, strength=result.coefficients[scope, layer], strength_unit="mean residual norms")
            kl = replace(of, metric=KL, unit="nats", estimate=result.reached[scope, layer], role="control")
            yield replace(kl, reference="unsteered answers to neutral prompts", data="neutral prompts", cluster=None)
        yield _ranked(of, found.rank, f"layers, {what}").estimated(found.change)
        if found.share is not None:
            yield replace(of, metric=SHARE, unit="of the prompt's effect").estimated(found.share)


def _done(here: Effect, what: str) -> Effect:
    under = UNDER[what]  # pyright: ignore[reportArgumentType]
    return replace(
        here,
        condition=SAID[what],
        role="control" if what == "patched whole" else "treatment",
        unit="nats a token",
        reference=f"the same answers after {_PROMPT[under]}",
    )


def _ranked(of: Effect, rank: Rank | None, family: str) -> Effect:
    if rank is None:
        return of
    sign = 1 if "ablated" not in family else -1
    ends = sorted([sign * rank.low, sign * rank.high])
    can = rank.p == rank.p
    return replace(
        of,
        test=f"rank among random directions, {'larger' if sign > 0 else 'lower'}",
        null_kind="random directions with the covariance within the poles, at the same KL",
        null_low=ends[0] if ends[0] == ends[0] else None,
        null_high=ends[1] if ends[1] == ends[1] else None,
        n_null=rank.n,
        p=rank.p if can else None,
        family=family if can else None,
    )


def _mean(result: "CausalResult", what: str, here: Effect) -> Effect:
    found: Changed = result.panel.means[what]
    of = replace(_done(here, what), place="named", substrate="residual", condition=f"{SAID[what]}, {ALL}")
    of = replace(of, layers="+".join(map(str, result.panel.layers)))
    ranked = _ranked(of, found.rank, "causal panel, ablated" if what == "ablated" else "causal panel")
    return replace(ranked, family=None if ranked.family is None else "causal panel").estimated(found.change)


def _match(result: "CausalResult", what: str, here: Effect) -> Effect:
    found = result.panel.matches[what]
    known = {name: value for name, value in vars(found).items() if value == value}
    tested = "p" in known
    row = {"estimate": known.get("correlation"), "low": known.get("low"), "high": known.get("high")}
    return replace(
        here,
        metric=MATCH,
        substrate="residual",
        layers="+".join(map(str, result.panel.layers)),
        condition=f"distance of the poles with: {SAID[what]}",
        place="named",
        unit="correlation",
        reference="no covariance over these layers",
        n=len(result.panel.layers),
        n_cluster=result.panel.total.n_clusters,
        fixed="layers, direction, system prompts, answers",
        test="covariance of profiles, jackknife over questions" if tested else None,
        null_kind="profiles that do not covary" if tested else None,
        p=known.get("p"),
        family="decodable and causal" if tested else None,
    ).measured(row)


def _judged(
    result: "CausalResult", here: Effect, n_layers: int, known: Mapping[str, float], run: CausalRun
) -> Iterator[Effect]:
    """Change of expression of greedy answers at every layer, by every judge."""
    for what in ("steered", "ablated"):
        table = result.answers[result.answers["what"] == what]
        for judge in result.judges:
            whole = table[table["layer"] == -1].set_index("question")[judge]
            for layer in result.panel.layers:
                own = table[table["layer"] == layer].set_index("question")[judge]
                both = own.index[own.notna() & whole.reindex(own.index).notna()]
                if both.empty:
                    continue
                names = both.to_numpy(object).astype(str)
                values = own[both].to_numpy(float), whole[both].to_numpy(float)
                of = replace(
                    _done(here, what),
                    metric=EXPRESSION,
                    unit="points",
                    place="swept",
                    condition=f"{SAID[what]}, {LAYER}",
                    data="evaluation questions",
                    reference=f"greedy answers after {_PROMPT[UNDER[what]]}",
                    fixed="direction, system prompt, judge",
                    judge=judge,
                    judge_validity=known.get(judge),
                ).at_block(layer, n_layers)
                if what == "steered":
                    of = replace(of, strength=result.coefficients["layer", layer], strength_unit="mean residual norms")
                yield of.estimated(bootstrap_difference(*values, names, names, seed=run.seed))


def _acts(what: str, effect: Effect, q: float) -> Claim:
    sign = SIGNS[what]  # pyright: ignore[reportArgumentType]
    ends = [] if effect.low is None or effect.high is None else sorted([sign * effect.low, sign * effect.high])
    holds = rejected(q) and bool(ends) and ends[0] > 0
    verdict = "holds" if holds else "does not" if ends and ends[1] < 0 else "undecided"
    found = change(effect.estimate, effect.low, effect.high, digits=3)
    sentence = (
        f"The direction of {effect.trait} is {'' if holds else 'not shown to be '}{NAMED[what]} beyond random ones:"
        f" {SAID[what]}, preference {found} nats a token over {len((effect.layers or '').split('+'))} layers,"
        f" q {number(q)}, {effect.n_cluster} questions."
    )
    return effect.claimed(NAMED[what], sentence, _RULES[what], verdict)


def _together(what: str, effect: Effect, q: float) -> Claim:
    sure, found = rejected(q), effect.estimate
    holds = sure and found is not None and found > 0
    does = "are" if holds else "are not" if sure else "are not shown to be"
    sentence = (
        f"Layers at which {effect.trait} is more decodable {does} those at which it is more {NAMED[what]}: correlation"
        f" {interval(found, effect.low, effect.high)} over {effect.n} layers, q {number(q)},"
        f" {effect.n_cluster} questions."
    )
    verdict = "holds" if holds else "does not" if sure else "undecided"
    return effect.claimed(f"decodable where {NAMED[what]}", sentence, _TOGETHER, verdict)


def _apart(effects: Sequence[tuple[Effect, float]]) -> Claim:
    """Layers at which one of reading and adding is shown and the other is shown to be small."""
    reads = {effect.layers: (effect, q) for effect, q in effects if effect.metric == AUC}
    alone = f"{SAID['steered']}, {LAYER}"
    acts = {e.layers: (e, q) for e, q in effects if e.metric == CHANGE and e.condition == alone}
    rise = max(float(effect.estimate or 0) - 0.5 for effect, _ in reads.values())
    most = max(float(effect.estimate or 0) for effect, _ in acts.values())
    read_only = [at for at, (_, q) in reads.items() if rejected(q) and _below(acts[at][0], most / 2)]
    act_only = [at for at, (_, q) in acts.items() if rejected(q) and _below(reads[at][0], 0.5 + rise / 2)]
    first = next(iter(acts.values()))[0]
    parts = [f"read and hardly acting at {_blocks(read_only)}"] if read_only else []
    parts += [f"acting and hardly read at {_blocks(act_only)}"] if act_only else []
    found = ", ".join(parts) if parts else "no layer is shown to have one without the other"
    sentence = f"The direction of {first.trait}: {found} ({len(acts)} layers, {first.n_cluster} questions)."
    return Claim(
        claim="reading and acting come apart",
        trait=first.trait,
        sentence=sentence,
        rule=_APART,
        effects=[effect for effect, _ in (*reads.values(), *acts.values())],
        verdict="holds" if parts else "undecided",
    )


def _below(effect: Effect, bound: float) -> bool:
    return effect.high is not None and effect.high < bound


def _blocks(layers: Sequence[str | None]) -> str:
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"
