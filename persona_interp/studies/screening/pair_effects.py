"""What preference pairs teach along directions, as rows of the table of effects and as claims."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.directions.direction import Direction
from persona_interp.effects import Claim, Effect, verdict
from persona_interp.sections.words import interval, number
from persona_interp.studies.screening.config import Channel
from persona_interp.studies.screening.effects import named
from persona_interp.tables import rows_of

PAIR_DIFFERENCE = "mean difference of chosen and rejected"
PAIR_SHARE = "share of pairs in which the chosen answer has more"
FAMILY = "preference pairs along a direction"
TEACHES = (
    "mean projection of chosen minus rejected answers, prompts as the unit: q is at most 0.05, corrected over"
    " directions and layers, and its interval lies above zero"
)
_NULL = "a difference of either sign is equally likely, prompt by prompt"


def pair_effects(
    summary: DataFrame, channels: Sequence[Channel], directions: Sequence[Direction], source: str
) -> list[Effect]:
    """The mean difference with its test, and the share of positive ones, of every direction and layer."""
    places = {(channel.name, channel.layer): directions[channel.direction] for channel in channels}
    effects = []
    for row in rows_of(summary):
        mean = _difference(row, places[row["direction"], row["layer"]], source)
        effects += [mean, _share(row, mean)]
    return effects


def pair_claims(
    effects: Sequence[Effect], q: Sequence[float], channels: Sequence[Channel], directions: Sequence[Direction]
) -> list[Claim]:
    """A claim a direction, over the layers.

    Args:
        q: of every effect.
    """
    tests = [(e, one) for e, one in zip(effects, q, strict=True) if e.metric == PAIR_DIFFERENCE]
    names = {(directions[c.direction].trait, directions[c.direction].method): c.name for c in channels}
    own = {name: [t for t in tests if (t[0].trait, t[0].method) == key] for key, name in names.items()}
    return [_teaches(name, found) for name, found in own.items() if found]


def _difference(row: Mapping[str, Any], direction: Direction, source: str) -> Effect:
    return (
        Effect(
            metric=PAIR_DIFFERENCE,
            unit="residual units",
            trait=direction.trait,
            method=direction.method,
            place="named",
            pooling="response_mean",
            condition="preference pairs",
            data=named(source),
            reference="the rejected answer to the same prompt",
            fixed="direction",
            n=row["n"],
            cluster="prompt",
            n_cluster=row["n_prompts"],
            test=row["test"],
            null_kind=_NULL,
            p=row["p"],
            family=FAMILY,
            detectable=row["detectable"],
        )
        .measured(row, "mean")
        .at_block(row["layer"], direction.provenance.n_layers)
    )


def _share(row: Mapping[str, Any], mean: Effect) -> Effect:
    return replace(
        mean,
        metric=PAIR_SHARE,
        unit="share of pairs",
        reference="one half",
        test=None,
        null_kind=None,
        p=None,
        family=None,
        detectable=None,
    ).measured(row, "share_higher", "share_low", "share_high")


def _teaches(name: str, tests: Sequence[tuple[Effect, float]]) -> Claim:
    best, q = min(tests, key=lambda test: (test[1] if test[1] == test[1] else 2.0, -abs(test[0].estimate or 0)))
    found = verdict(q, best.low, best.high)
    place = f" at layer {best.layers}" + (f", the clearest of {len(tests)}" if len(tests) > 1 else "")
    said = {"holds": "have more", "does not": "have less"}.get(found, "are not shown to have more")
    sentence = (
        f"The chosen answers of {best.data} {said} of {name} than the rejected ones{place}: the mean difference is"
        f" {interval(best.estimate, best.low, best.high, digits=3)} residual units over {best.n:,} pairs of"
        f" {best.n_cluster:,} prompts, q {number(q)}."
    )
    claim = best.claimed("the chosen answers have more of the trait", sentence, TEACHES, found)
    return replace(claim, trait=name, effects=[effect for effect, _ in tests])
