"""The quality of a dictionary as rows of the table of effects, and the claim that it is good."""

from math import isnan

from persona_interp.directions.sae.quality import LEAST_RECOVERED, MOST_DEAD, MOST_FVU, Quality
from persona_interp.directions.sae.settings import SAETraining
from persona_interp.effects import Claim, Effect, Verdict
from persona_interp.sections.words import interval, number
from persona_interp.types import depth_of

STUDY = "dictionary"
FVU, RECOVERED = "fraction of variance unexplained", "share of the loss recovered"
L0, DEAD = "latents that fire on a token", "share of latents that never fire"
GOOD = (
    f"on held-out text the interval of the fraction of variance unexplained ends below {MOST_FVU:g}, that of the share"
    f" of the loss recovered begins above {LEAST_RECOVERED:g}, and at most {MOST_DEAD:g} of the latents never fire"
)


def quality_effects(quality: Quality, training: SAETraining, n_layers: int) -> list[Effect]:
    """An effect a number of the quality card; intervals are over texts."""
    place = training.hookpoint
    one = Effect(
        metric=FVU,
        method=training.architecture,
        substrate="latent",
        layers=str(place.layer),
        depth=depth_of(place.layer, n_layers),
        place="named",
        stream=place.stream,
        condition=f"{training.n_latents} latents, trained on {training.n_tokens} tokens",
        data="held-out texts",
        n=quality.n_tokens,
        cluster="text",
        n_cluster=quality.n_texts,
    )
    found = {FVU: quality.fvu, RECOVERED: quality.ce_recovered}
    references = {FVU: "the mean activation", RECOVERED: "zeros in their place"}
    shares = [_named(one, metric, references[metric]).estimated(found[metric]) for metric in found]
    counts = [_counted(one, L0, quality.l0), _counted(one, DEAD, quality.dead)]
    return [*shares, *counts]


def quality_claims(effects: list[Effect], model: str) -> list[Claim]:
    """Whether a dictionary is good, by the thresholds that were stated before."""
    fvu, recovered, l0, dead = effects
    found = _verdict(fvu, recovered, dead)
    shown = {"holds": "is good", "does not": "is poor", "undecided": "is not shown to be good or poor"}[found]
    sentence = (
        f"The {fvu.method} dictionary of {model} at layer {fvu.layers} ({fvu.condition}) {shown}: it leaves"
        f" {interval(fvu.estimate, fvu.low, fvu.high)} of the variance, gets back"
        f" {interval(recovered.estimate, recovered.low, recovered.high)} of the loss, {number(l0.estimate)} latents"
        f" fire on a token, and {number(dead.estimate)} of them never do in {fvu.n_cluster} held-out texts."
    )
    claim = fvu.claimed(f"dictionary at layer {fvu.layers}", sentence, GOOD, found)
    return [Claim(**{**vars(claim), "effects": [fvu, recovered, dead]})]


def _verdict(fvu: Effect, recovered: Effect, dead: Effect) -> Verdict:
    ends = [fvu.low, fvu.high, recovered.low, recovered.high]
    if any(end is None or isnan(end) for end in ends):
        return "undecided"
    low, high, least, most = (float(end) for end in ends if end is not None)
    too_many = (dead.estimate or 0.0) > MOST_DEAD
    if low > MOST_FVU or most < LEAST_RECOVERED or too_many:
        return "does not"
    return "holds" if high <= MOST_FVU and least >= LEAST_RECOVERED else "undecided"


def _named(one: Effect, metric: str, reference: str) -> Effect:
    return Effect(**{**vars(one), "metric": metric, "reference": reference, "unit": "share"})


def _counted(one: Effect, metric: str, estimate: float) -> Effect:
    return Effect(**{**vars(one), "metric": metric, "estimate": estimate})
