"""Tables of inventories as rows of the table of effects, and claims on scales, their changes, and types."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, family_of, rejected
from persona_interp.sections.words import interval, number
from persona_interp.statistics.families import NO_TEST
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.studies.inventory.conditions import UNCHANGED, Change
from persona_interp.tables import rows_of

STUDY = "inventory"
SCORE, CHANGE = "inventory score", "change of inventory score"
AGREEING, AGREEING_CHANGE = "yes-saying", "change of yes-saying"
PROBABILITY = "probability of the first pole"
LEVEL = CONFIDENCE
"""Share of the draws on one side from which a dichotomy is decided."""
OFF = "the interval over items and wordings leaves out the midpoint; each scale by itself, not corrected over scales"
TYPED = "every dichotomy has 95 % of the draws of items and wordings on one side"
MOVES = (
    "change of a scale, sign flips over items with keys balanced, in the first format, corrected over scales and"
    " conditions: q is at most 0.05; and the interval over items and wordings leaves out zero"
)
_UNITS = {"keyed": "points of the scale", "log_odds": "nats"}
_AGAINST = " against "

Row = dict[str, Any]


def inventory_effects(
    scores: DataFrame,
    changes: DataFrame,
    reliability: DataFrame,
    types: DataFrame,
    *,
    reference: str,
    changed: Mapping[str, Change],
    n_layers: int,
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of the tables of scores, changes, reliability and types; an empty one has none.

    Args:
        types: dichotomies, as `TypeResult.frame` has them.
        reference: the condition that the others are compared with.
        changed: what is known of every condition.
    """

    def about(row: Row) -> Effect:
        how = [row[name] for name in ("format", "normalise", "measure") if row.get(name) is not None]
        return replace(
            changed.get(row["condition"], UNCHANGED).effect(SCORE, row, n_layers),
            role="control" if row["condition"] == reference else "treatment",
            trait=row["scale"],
            condition=row["condition"],
            judge=f"{row['judge']} ({', '.join(how)})",
        )

    scored = [(row, _score(row, about(row))) for row in rows_of(scores)]
    moved = [(row, _change(row, about(row))) for row in rows_of(changes)]
    poled = [(row, _pole(row, about(row))) for row in rows_of(types)]
    effects = [effect for _, effect in (*scored, *moved, *poled)]
    effects += [_agreeing(row, effect) for row, effect in scored if row["acquiescence"] is not None]
    effects += [_agreeing_change(row, effect) for row, effect in moved if row.get("acquiescence_change") is not None]
    effects += [_reliability(row, about(row)) for row in rows_of(reliability) if row["estimate"] is not None]
    planned = {row["inventory"]: (row["format"], row["measure"]) for row, _ in reversed(moved)}
    claimed = [each for each in moved if (each[0]["format"], each[0]["measure"]) == planned[each[0]["inventory"]]]
    return effects, [
        *(_off(*each) for each in scored if each[0]["maximum"] > 1 and each[0]["low"] is not None),
        *_typed(poled),
        *(_moves(*each) for each in claimed),
    ]


def bounds_of(unit: str) -> tuple[float, float]:
    """Least and most that a score with this unit can be."""
    low, high = unit.removeprefix("points from ").split(" to ")
    return float(low), float(high)


def format_of(judge: str) -> str:
    """How items were asked, by the column `judge`: rating, choice or statement."""
    return judge.rpartition("(")[2].rstrip(")").split(", ")[0]


def poles_of(reference: str) -> tuple[str, str]:
    """First and second pole of a dichotomy, by the column `reference`."""
    first, _, second = reference.partition(_AGAINST)
    return first, second


def _score(row: Row, about: Effect) -> Effect:
    return replace(
        about,
        unit=f"points from {row['minimum']:g} to {row['maximum']:g}",
        reference=f"neither pole, {row['midpoint']:g}",
        detectable=row.get("detectable"),
    ).measured(row)


def _agreeing(row: Row, score: Effect) -> Effect:
    """Agreeing whatever the item says: the balanced mean of the answers as given."""
    found = replace(score, metric=AGREEING, reference=f"the midpoint, {row['midpoint']:g}", detectable=None)
    return found.measured(row, "acquiescence", "acquiescence_low", "acquiescence_high")


def _change(row: Row, about: Effect) -> Effect:
    return replace(
        about,
        metric=CHANGE,
        unit=_UNITS[row["measure"]],
        role="treatment",
        reference=row["compared_with"],
        test="sign flips over items, two-sided",
        null_kind="no change",
        p=row["p"],
        family=family_of("changes of scales", row["declared"]),
        detectable=row["detectable"],
    ).measured(row)


def _agreeing_change(row: Row, change: Effect) -> Effect:
    """A change of yes-saying; its interval is not made."""
    blank = dict.fromkeys(("low", "high", "level", "test", "null_kind", "p", "family", "detectable"))
    return replace(change, **blank, metric=AGREEING_CHANGE, unit=_UNITS["keyed"], estimate=row["acquiescence_change"])


def _pole(row: Row, about: Effect) -> Effect:
    """Share of the draws of items and wordings on the side of the first pole."""
    likely = row["letter"] == row["first"]
    return replace(
        about,
        metric=PROBABILITY,
        unit="share of the draws",
        estimate=row["probability"] if likely else 1 - row["probability"],
        reference=f"{row['first']}{_AGAINST}{row['second']}",
    )


def _reliability(row: Row, about: Effect) -> Effect:
    """Agreement of items, wordings and orders, or mass of the options: a property of the measurement."""
    tested = row["null_high"] is not None
    return replace(
        about,
        metric=row["metric"],
        role="control",
        reference=row["over"],
        fixed=None,
        cluster="item" if row["over"] == "items" else row["over"],
        n_cluster=None,
        test="rank among shuffled keys, one-sided" if tested else None,
        null_kind="keys shuffled over items" if tested else None,
        null_low=row["null_low"],
        null_high=row["null_high"],
        p=row.get("p"),
        family=family_of("reliability", row.get("declared", NO_TEST)),
    ).measured(row)


def _off(row: Row, effect: Effect) -> Claim:
    off = not row["low"] <= row["midpoint"] <= row["high"]
    least = row.get("detectable")
    found = "" if off or least is None else f"; {number(least, 2)} points off would be found in 80 % of repetitions"
    sentence = (
        f"{row['condition']}: {row['scale']} of {row['inventory']} ({row['format']}) is"
        f" {'' if off else 'not shown to be '}off the midpoint, {row['midpoint']:g}:"
        f" {interval(row['estimate'], row['low'], row['high'])} of {row['minimum']:g} to {row['maximum']:g}{found}."
    )
    name = f"{row['condition']}: off the midpoint of {row['inventory']} ({row['format']})"
    claim = effect.claimed(name, sentence, OFF, "holds" if off else "undecided")
    return replace(claim, unit=_UNITS["keyed"])


def _typed(poled: list[tuple[Row, Effect]]) -> Iterator[Claim]:
    """A claim a condition and inventory."""
    groups: dict[tuple[str, str], list[tuple[Row, Effect]]] = {}
    for row, effect in poled:
        groups.setdefault((row["condition"], row["inventory"]), []).append((row, effect))
    for (condition, inventory), group in groups.items():
        row = group[0][0]
        listed = row["credible"].split()
        shown = ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
        yield Claim(
            claim=f"{condition}: a type by {inventory}",
            trait=None,
            sentence=(
                f"{condition}: the type by {inventory} is {row['type']}; most probable {row['modal']}"
                f" ({number(row['modal_probability'], 2)} of the draws), and 95 % of them are among {shown}."
            ),
            rule=TYPED,
            effects=[effect for _, effect in group],
            verdict="holds" if all(each["decided"] for each, _ in group) else "undecided",
        )


def _moves(row: Row, effect: Effect) -> Claim:
    low, high = row["low"], row["high"]
    moved = rejected(row["q"]) and low is not None and high is not None and (low > 0 or high < 0)
    change = interval(row["estimate"], row["low"], row["high"], digits=3)
    sentence = (
        f"{row['condition']} {'moves' if moved else 'is not shown to move'} {row['scale']} of {row['inventory']}"
        f" against {row['compared_with']}: {change} {effect.unit}, q {number(row['q'])}."
    )
    name = f"{row['condition']} moves the scale of {row['inventory']}"
    return effect.claimed(name, sentence, MOVES, "holds" if moved else "undecided")
