"""What is claimed of an adapter: that it uses the scores, that texts follow them, what its shift is, what it costs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from persona_interp.effects import Claim, Effect, rejected, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.power import detectable_cosine
from persona_interp.studies.psychadapter.induced_cosines import EQUAL_COSINE

USES = (
    "held-out loss with other texts' scores minus that with each text's own; p exchanges the right scores for the"
    " shuffled ones and is at most 0.05, and the interval lies above zero"
)
FOLLOWS = (
    "slope of expression over the trait's score by the first judge, sign flips over openings, corrected over traits: q"
    " is at most 0.05; and its interval lies above zero"
)
ELSEWHERE = "a slope of another trait's expression has q of 0.05 or less, corrected over the exploratory effects"
RELATED = "cosine with the trait's own vector beyond random directions at a layer, corrected over layers and traits"
SAME = (
    f"the whole interval of the cosine with the trait's own vector is above {EQUAL_COSINE} at a layer; it does not hold"
    " where the intervals of all layers lie below"
)
SMALL = "the adapter alone has less than 0.1 % of the base's parameters"
SMALL_SHARE = 0.001
"""As published."""

Row = dict[str, Any]
Measured = tuple[Row, Effect]


def adapter_claims(
    losses: Sequence[Measured], slopes: Sequence[Measured], cosines: Sequence[Measured], cost: Sequence[Measured]
) -> list[Claim]:
    """Claims of rows and the effects made from them."""
    shuffled = [(row, e) for row, e in losses if (row["metric"], row["condition"]) == ("nll difference", "shuffled")]
    first = slopes[0][0]["judge"] if slopes else None
    claims = [_uses(*each) for each in shuffled]
    claims += [_follows(row, effect) for row, effect in slopes if row["on_target"] and row["judge"] == first]
    for judge in dict.fromkeys(row["judge"] for row, _ in slopes):
        others = [(row, e) for row, e in slopes if row["judge"] == judge and not row["on_target"]]
        claims += [_elsewhere(judge, others)] if others else []
    own = [(row, effect) for row, effect in cosines if row["own"]]
    for trait in dict.fromkeys(row["trait"] for row, _ in own):
        claims += _vector(trait, [each for each in own if each[0]["trait"] == trait])
    return claims + [_small(row, effect, cost) for row, effect in cost if row["metric"] == "share of the base"]


def _uses(row: Row, effect: Effect) -> Claim:
    found = verdict(row["q"], row["low"], row["high"])
    change = interval(row["estimate"], row["low"], row["high"], digits=3)
    who = "the scores" if row["trait"] == "all" else f"the score of {row['trait']}"
    sentence = (
        f"The adapter {'uses' if found == 'holds' else 'is not shown to use'} {who}: held-out loss is {change}"
        f" nats a token above that with each text's own where scores are {row['condition']}, q {number(row['q'])}."
    )
    return effect.claimed("uses the scores", sentence, USES, found)


def _follows(row: Row, effect: Effect) -> Claim:
    found = verdict(row["q"], row["low"], row["high"])
    slope = interval(row["estimate"], row["low"], row["high"], digits=2)
    least = row.get("detectable")
    power = "" if found == "holds" or least is None else f"; {number(least)} would be found in 80 % of repetitions"
    sentence = (
        f"Expression of {row['trait']} {'follows' if found == 'holds' else 'is not shown to follow'} its score:"
        f" {slope} points of 100 for one standard deviation ({row['judge']}), q {number(row['q'])}{power}."
    )
    return effect.claimed("expression follows the score", sentence, FOLLOWS, found)


def _elsewhere(judge: str, others: Sequence[Measured]) -> Claim:
    found = sum(rejected(row["q"]) for row, _ in others)
    least = [row["detectable"] for row, _ in others if row.get("detectable") is not None]
    power = f"; {_range(least)} points would be found in 80 % of repetitions" if least else ""
    return Claim(
        claim=f"moves other traits, {judge}",
        trait=None,
        sentence=f"Of {len(others)} off-target effects by {judge}, {found} have a q of 0.05 or less{power}.",
        rule=ELSEWHERE,
        effects=[effect for _, effect in others],
        verdict="holds" if found else "undecided",
        detectable=max(least) if least else None,
        unit=others[0][1].unit,
    )


def _vector(trait: str, own: Sequence[Measured]) -> Iterator[Claim]:
    """Related to the own vector, and equal to it."""
    effects, rows = [effect for _, effect in own], [row for row, _ in own]
    name = f"the vector of {rows[0]['reference']}"
    clear = [row for row in rows if row["estimate"] is not None]
    best = max(clear, key=lambda row: abs(row["estimate"]), default=None)
    beyond = sum(rejected(row["q"]) for row in rows)
    known = [row for row in rows if row["low"] is not None and row["high"] is not None]
    ends = (np.array([row[end] for row in known], dtype=float) for end in ("low", "high", "n", "null_95"))
    least = [value for value in (detectable_cosine(*ends) if known else ()) if np.isfinite(value)]
    most = (
        "no layer has a shift clear enough for a cosine"
        if best is None
        else f"the largest is {interval(best['estimate'], best['low'], best['high'])} at layer {best['layer']}"
    )
    power = f"; {_range(least)} would exceed them in 80 % of repetitions" if least and not beyond else ""
    yield Claim(
        claim="the induced direction is related to the trait's vector",
        trait=trait,
        sentence=(
            f"The induced direction of {trait} is {'' if beyond else 'not shown to be '}nearer to {name} than random"
            f" directions are: the cosine has a q of 0.05 or less at {beyond} of {len(rows)} layers, and {most}{power}."
        ),
        rule=RELATED,
        effects=effects,
        verdict="holds" if beyond else "undecided",
        detectable=min(least) if least else None,
        unit="cosine",
    )
    equal = sum(bool(row["equal"]) for row in known)
    counted = (
        f"the whole interval of their cosine is above {EQUAL_COSINE} at {equal} of {len(rows)} layers"
        if known
        else "no layer has an interval of their cosine"
    )
    below = len(known) == len(rows) and all(row["high"] < EQUAL_COSINE for row in known)
    yield Claim(
        claim="the induced direction is the trait's vector",
        trait=trait,
        sentence=(
            f"The induced direction of {trait} is {'not ' if below else '' if equal else 'not shown to be '}{name}:"
            f" {counted}."
        ),
        rule=SAME,
        effects=effects,
        verdict="holds" if equal else "does not" if below else "undecided",
        unit="cosine",
    )


def _small(row: Row, effect: Effect, cost: Sequence[Measured]) -> Claim:
    own = next(each for each, _ in cost if each["metric"] == "parameters")["estimate"]
    sentence = f"The adapter has {int(own):,} parameters, {number(100 * row['estimate'])} % of the base's."
    return effect.claimed("small", sentence, SMALL, "holds" if row["estimate"] < SMALL_SHARE else "does not")


def _range(values: Sequence[float]) -> str:
    low, high = number(float(min(values))), number(float(max(values)))
    return low if low == high else f"{low} to {high}"
