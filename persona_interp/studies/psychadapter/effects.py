"""Saved tables of an adapter as rows of the table of effects, and the claims made of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pandas import DataFrame

from persona_interp.effects import (
    Claim,
    Effect,
    family_of,
    mean_depth,
    verdict,
)
from persona_interp.sections.words import interval, number
from persona_interp.tables import rows_of

STUDY, METHOD = "psychadapter", "psychadapter"
NATS, SLOPE = "nats a token", "points of 100 for one standard deviation of a trait's score"
SCORE = "standard deviations of a trait's score"
USES = (
    "held-out loss with other texts' scores minus that with each text's own; p exchanges the right scores for the"
    " shuffled ones and is at most 0.05, and the interval lies above zero"
)
FOLLOWS = (
    "slope of expression over the trait's score by the first judge, sign flips over openings, corrected over traits: q"
    " is at most 0.05; and its interval lies above zero"
)

Row = dict[str, Any]


def adapter_effects(tables: Mapping[str, DataFrame], *, n_layers: int) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of the tables nll, expression, offtarget and induced, those that are there."""
    rows = {name: rows_of(tables[name]) if name in tables else [] for name in _READ}
    losses = [(row, _loss(row)) for row in rows["nll"]]
    slopes = [(row, _slope(row)) for row in rows["offtarget"]]
    effects = [effect for _, effect in (*losses, *slopes)]
    effects += [_expression(row) for row in rows["expression"]]
    effects += _induced(rows["induced"], n_layers)
    shuffled = [(row, e) for row, e in losses if (row["metric"], row["condition"]) == ("nll difference", "shuffled")]
    first = slopes[0][0]["judge"] if slopes else None
    claims = [_uses(row, effect) for row, effect in shuffled]
    claims += [_follows(row, effect) for row, effect in slopes if row["on_target"] and row["judge"] == first]
    return effects, claims


_LOSS_TESTS = {"shuffled": "exchange of right and shuffled scores within texts, one-sided"}
_READ = ("nll", "expression", "offtarget", "induced")


def _loss(row: Row) -> Effect:
    difference = row["metric"] == "nll difference"
    return Effect(
        metric="held-out loss" if not difference else "change of held-out loss",
        unit=NATS,
        role="treatment" if row["condition"] == "right" or difference else "control",
        trait=row["trait"],
        method=METHOD,
        substrate="virtual_token",
        condition=f"{row['condition']} scores" if row["condition"] != "no adapter" else "no adapter",
        data=row["data"],
        reference="each text's own scores" if difference else None,
        fixed="adapter, training seed",
        n=row["n"],
        cluster="text",
        n_cluster=row["n"],
        test=_LOSS_TESTS.get(row["condition"], "sign flips over texts, two-sided") if difference else None,
        null_kind="no difference from each text's own scores" if difference else None,
        p=row["p"] if difference else None,
        family=family_of("held-out loss", row["declared"]) if difference else None,
    ).measured(row)


def _slope(row: Row) -> Effect:
    return Effect(
        metric="slope of expression",
        unit=SLOPE,
        trait=row["trait"],
        method=METHOD,
        substrate="virtual_token",
        condition=f"texts written at values of {row['trait']}, judged for {row['judged']}",
        reference="no slope",
        fixed="adapter, training seed, judge",
        n=row["n"],
        cluster="opening",
        n_cluster=row["n_openings"],
        test="sign flips over openings",
        null_kind="no slope",
        null_high=row["null_95"],
        p=row["p"],
        family=family_of("slopes of expression", row["declared"]),
        judge=row["judge"],
    ).measured(row)


def _expression(row: Row) -> Effect:
    return Effect(
        metric="expression",
        unit="points of 100",
        trait=row["trait"],
        method=METHOD,
        substrate="virtual_token",
        condition=f"texts written at values of {row['trait']}, judged for {row['judged']}",
        strength=row["z"],
        strength_unit=SCORE,
        fixed="adapter, training seed, judge",
        n=row["n"],
        cluster="opening",
        judge=row["judge"],
    ).measured(row)


def _induced(rows: list[Row], n_layers: int) -> Iterator[Effect]:
    """Geometry of the induced direction at every layer, and its cosines with references."""
    for row in rows:
        layers, cosine = str(row["layer"]), row["metric"] == "cosine"
        yield Effect(
            metric=row["metric"],
            trait=row["trait"],
            method=row["method"],
            substrate="residual",
            layers=layers,
            depth=mean_depth(layers, n_layers),
            stream="resid_post",
            pooling=row["position"],
            condition="shift from low to high values of the trait inside the adapted model",
            reference=f"vector of {row['reference']}" if cosine else None,
            fixed="adapter, training seed, reference",
            n=row["n"],
            cluster="text",
            n_cluster=row["n"],
            test="rank among directions, two-sided" if cosine else None,
            null_kind="directions with the covariance of the texts' residuals" if cosine else None,
            null_high=row["null_95"] if cosine else None,
            p=row["p"] if cosine else None,
            family="cosines of induced directions" if cosine else None,
        ).measured(row)


def _uses(row: Row, effect: Effect) -> Claim:
    found = verdict(row["q"], row["low"], row["high"])
    change = interval(row["estimate"], row["low"], row["high"], digits=3)
    who = "the scores" if row["trait"] == "all" else f"the score of {row['trait']}"
    return Claim(
        claim="uses the scores",
        trait=row["trait"],
        sentence=(
            f"The adapter {'uses' if found == 'holds' else 'is not shown to use'} {who}: held-out loss is {change}"
            f" nats a token above that with each text's own where scores are {row['condition']}, q {number(row['q'])}."
        ),
        rule=USES,
        effects=[effect],
        verdict=found,
        detectable=row["detectable"],
        unit=NATS,
    )


def _follows(row: Row, effect: Effect) -> Claim:
    found = verdict(row["q"], row["low"], row["high"])
    slope = interval(row["estimate"], row["low"], row["high"], digits=2)
    return Claim(
        claim="expression follows the score",
        trait=row["trait"],
        sentence=(
            f"Expression of {row['trait']} {'follows' if found == 'holds' else 'is not shown to follow'} its score:"
            f" {slope} points of 100 for one standard deviation ({row['judge']}), q {number(row['q'])}."
        ),
        rule=FOLLOWS,
        effects=[effect],
        verdict=found,
        detectable=row["detectable"],
        unit=SLOPE,
    )
