"""The summary of a screening as rows of the table of effects, and the claims that samples pass a clean threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pandas import DataFrame

from persona_interp.directions.direction import Direction
from persona_interp.effects import Claim, Effect, Verdict, rejected
from persona_interp.sections.words import interval, number
from persona_interp.statistics.exceedances import Exceedances, exceedances
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.studies.screening.config import Channel, Score, ScreenConfig
from persona_interp.tables import rows_of

STUDY = "screening"
FAMILY = "samples above the threshold of clean data"
SHARE = "share above the clean threshold"
PASSES = (
    "number of exceedances of the threshold at one layer or more, against a beta-binomial null that knows the threshold"
    " for an order statistic of the clean samples, corrected over directions and layers: q is at most 0.05. Samples of"
    " either data set are taken for independent"
)
_COMPARED = {"prompt": "the last prompt token", "generate": "the model's own answer to the same prompt", "none": None}
_MEANS: Mapping[str, tuple[str, str | None]] = {
    "projection": ("mean projection", "response_mean"),
    "prompt_last": ("mean projection", "prompt_last"),
    "difference": ("mean projection difference", "response_mean"),
    "judge": ("mean score of a text judge", None),
}


@dataclass(frozen=True)
class Limit:
    """A threshold: the k-th smallest of n clean samples."""

    value: float
    n: int
    k: int


@dataclass(frozen=True)
class Screened:
    """What the summary is of.

    Args:
        source, clean: the data set, and the one that sets the thresholds.
        score: what the limits are for.
    """

    source: str
    channels: Sequence[Channel]
    directions: Sequence[Direction]
    config: ScreenConfig
    score: Score
    clean: str | None = None
    limits: Mapping[Channel, Limit] | None = None


def screening_effects(summary: DataFrame, of: Screened) -> list[Effect]:
    """The mean of every score, and the share of samples above every clean threshold with its test."""
    places = {(channel.name, channel.layer): channel for channel in of.channels}
    effects = []
    for row in rows_of(summary):
        channel = places[row["direction"], row["layer"]]
        if row["score"] == "judge" and channel.layer != of.config.layers[0]:
            continue  # a judge reads text: its score is of no layer
        mean = _mean(row, channel, of)
        effects.append(mean)
        if row["score"] == of.score and of.limits:
            limit = of.limits[channel]
            found = exceedances(row["n_above"], row["n"], n_reference=limit.n, k=limit.k)
            effects.append(_share(mean, found, of))
    return effects


def screening_claims(effects: Sequence[Effect], q: Sequence[float], of: Screened) -> list[Claim]:
    """A claim a direction where there is clean data, over the layers.

    Args:
        q: of every effect.
    """
    shares = [(e, one) for e, one in zip(effects, q, strict=True) if e.metric == SHARE]
    named = {(of.directions[c.direction].trait, of.directions[c.direction].method): c for c in of.channels}
    tests = [(channel, [s for s in shares if (s[0].trait, s[0].method) == key]) for key, channel in named.items()]
    return [_passes(channel, own, of) for channel, own in tests if own]


def _mean(row: Mapping[str, Any], channel: Channel, of: Screened) -> Effect:
    direction, judged = of.directions[channel.direction], row["score"] == "judge"
    metric, pooling = _MEANS[row["score"]]
    effect = Effect(
        metric=metric,
        unit="points of 100" if judged else "residual units",
        trait=direction.trait,
        method=direction.method,
        pooling=pooling,
        condition="samples of a data set",
        data=named(of.source),
        reference=_COMPARED[of.config.delta] if row["score"] == "difference" else None,
        fixed="judge" if judged else "direction",
        n=row["n"],
        cluster="sample",
        n_cluster=row["n"],
        judge=of.config.judge if judged else None,
    ).measured(row, "mean")
    return effect if judged else replace(effect, place="named").at_block(channel.layer, direction.provenance.n_layers)


def _share(mean: Effect, found: Exceedances, of: Screened) -> Effect:
    return replace(
        mean,
        metric=SHARE,
        unit="share of samples",
        condition=f"{mean.metric.removeprefix('mean ')} of a sample above the threshold",
        reference=f"samples such as those of {named(of.clean or '')}",
        estimate=found.share,
        low=found.low,
        high=found.high,
        level=CONFIDENCE,
        fixed=f"{mean.fixed}, threshold",
        test="number of exceedances",
        null_kind="samples of the clean data's distribution above an order statistic of the clean data",
        null_high=found.null_high,
        p=found.p,
        family=FAMILY,
        detectable=found.detectable,
    )


def _passes(channel: Channel, tests: Sequence[tuple[Effect, float]], of: Screened) -> Claim:
    best, q = min(tests, key=lambda test: (test[1], -(test[0].estimate or 0)))
    found: Verdict = "holds" if rejected(q) else "undecided"
    place = "" if best.layers is None else f" at layer {best.layers}"
    place += f", the clearest of {len(tests)}," if len(tests) > 1 else ""
    said = "passes" if found == "holds" else "is not shown to pass"
    sentence = (
        f"{named(of.source)} {said} the threshold of {channel.name}{place} more often than clean samples would:"
        f" {interval(best.estimate, best.low, best.high, digits=3)} of {best.n:,}, up to"
        f" {number(float(best.null_high or 0), 3)} without a difference, q {number(q)}."
    )
    claim = best.claimed("more samples pass than of clean data", sentence, PASSES, found)
    return replace(claim, trait=channel.name, effects=[effect for effect, _ in tests])


def named(source: str) -> str:
    """A data set by its name: the file's, without its folder, or the hub's."""
    return Path(source).name if Path(source).suffix else source
