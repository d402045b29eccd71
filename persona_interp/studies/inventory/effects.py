"""Saved tables of inventories as rows of the table of effects, and the claims of what moves a scale."""

from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, family_of, rejected
from persona_interp.sections.words import interval, number
from persona_interp.tables import rows_of

STUDY = "inventory"
MOVES = (
    "change of a scale, sign flips over items with keys balanced, in the first format, corrected over scales and"
    " conditions: q is at most 0.05; and the interval over items and wordings leaves out zero"
)
_UNITS = {"keyed": "points of the scale", "log_odds": "nats"}

Row = dict[str, Any]


def inventory_effects(
    scores: DataFrame, changes: DataFrame, reliability: DataFrame, *, reference: str
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of the tables of scores, changes and reliability.

    Args:
        reference: the condition that the others are compared with.
    """
    changed = [(row, _change(row)) for row in rows_of(changes)]
    effects = [_score(row, reference) for row in rows_of(scores)] + [effect for _, effect in changed]
    effects += [_reliability(row) for row in rows_of(reliability)]
    planned: dict[str, tuple[str, str]] = {}
    for row, _ in changed:
        planned.setdefault(row["inventory"], (row["format"], row["measure"]))
    claimed = [each for each in changed if (each[0]["format"], each[0]["measure"]) == planned[each[0]["inventory"]]]
    return effects, [_moves(row, effect) for row, effect in claimed]


def _score(row: Row, reference: str) -> Effect:
    return Effect(
        metric="inventory score",
        unit=f"points from {row['minimum']:g} to {row['maximum']:g}",
        role="control" if row["condition"] == reference else "treatment",
        trait=row["scale"],
        method="inventory",
        condition=row["condition"],
        data=row["inventory"],
        reference=f"neither pole, {row['midpoint']:g}",
        n=row["n"],
        cluster="item",
        n_cluster=row["n"],
        judge=f"{row['judge']} ({row['format']}, {row['normalise']})",
    ).measured(row)


def _change(row: Row) -> Effect:
    return Effect(
        metric="change of inventory score",
        unit=_UNITS[row["measure"]],
        trait=row["scale"],
        method="inventory",
        condition=row["condition"],
        data=row["inventory"],
        reference=row["compared_with"],
        n=row["n"],
        cluster="item",
        n_cluster=row["n"],
        test="sign flips over items, two-sided",
        null_kind="no change",
        p=row["p"],
        family=family_of("changes of scales", row["declared"]),
        judge=f"{row['judge']} ({row['format']}, {row['normalise']}, {row['measure']})",
    ).measured(row)


def _reliability(row: Row) -> Effect:
    """Agreement of items, wordings and orders: a property of the measurement, beside its scores."""
    return Effect(
        metric=row["metric"],
        role="control",
        trait=row["scale"],
        method="inventory",
        condition=row["condition"],
        data=row["inventory"],
        reference=row["over"],
        n=row["n"],
        cluster="item",
        test=None if row["null_high"] is None else "rank among shuffled keys, one-sided",
        null_kind=None if row["null_high"] is None else "keys shuffled over items",
        null_low=row["null_low"],
        null_high=row["null_high"],
        p=row["p"],
        family=family_of("reliability", row["declared"]),
        judge=f"{row['judge']} ({row['format']})",
    ).measured(row)


def _moves(row: Row, effect: Effect) -> Claim:
    low, high = row["low"], row["high"]
    moved = rejected(row["q"]) and low is not None and high is not None and (low > 0 or high < 0)
    change = interval(row["estimate"], row["low"], row["high"], digits=3)
    return Claim(
        claim=f"{row['condition']} moves the scale of {row['inventory']}",
        trait=row["scale"],
        sentence=(
            f"{row['condition']} {'moves' if moved else 'is not shown to move'} {row['scale']} of {row['inventory']}"
            f" against {row['compared_with']}: {change} {_UNITS[row['measure']]}, q {number(row['q'])}."
        ),
        rule=MOVES,
        effects=[effect],
        verdict="holds" if moved else "undecided",
        detectable=row["detectable"],
        unit=_UNITS[row["measure"]],
    )
