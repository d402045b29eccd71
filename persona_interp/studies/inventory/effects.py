"""Saved tables of inventories as rows of the table of effects, and the claims of what moves a scale."""

from pathlib import Path
from typing import Any

from persona_interp.effects import Claim, Effect, Source, claims_table, effects_table, family_of, reached, write_effects
from persona_interp.findings import interval, number
from persona_interp.measurements.forms import INVENTORY_CHANGES, INVENTORY_RELIABILITY, INVENTORY_SCORES
from persona_interp.statistics.families import PRIMARY
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.tables import Form, read_table, rows_of

STUDY = "inventory"
MOVES = (
    "change of a scale, sign flips over items with keys balanced, in the first format, corrected over scales and"
    " conditions: q is at most 0.05"
)
_UNITS = {"keyed": "points of the scale", "log_odds": "nats"}

Row = dict[str, Any]


def write_inventory_effects(folder: Path, source: Source) -> None:
    """Write effects and claims of the inventory tables in a folder.

    Raises:
        ArtefactError: a table is missing or damaged.
    """
    changes = [(row, _change(row)) for row in _rows(folder, INVENTORY_CHANGES)]
    effects = [_score(row) for row in _rows(folder, INVENTORY_SCORES)] + [effect for _, effect in changes]
    effects += [_reliability(row) for row in _rows(folder, INVENTORY_RELIABILITY)]
    claims = [_moves(row, effect) for row, effect in changes if row["declared"] == PRIMARY]
    write_effects(folder, effects_table(source, effects), claims_table(source, claims))


def _rows(folder: Path, form: Form) -> list[Row]:
    path = folder / "tables" / f"{form.name}.csv"
    return rows_of(read_table(path, form)) if path.is_file() else []


def _score(row: Row) -> Effect:
    return Effect(
        metric="inventory score",
        unit=f"points from {row['minimum']:g} to {row['maximum']:g}",
        role="control" if row["condition"] == "baseline" else "treatment",
        trait=row["scale"],
        method="inventory",
        condition=row["condition"],
        data=row["inventory"],
        reference=f"neither pole, {row['midpoint']:g}",
        estimate=row["estimate"],
        low=row["low"],
        high=row["high"],
        level=CONFIDENCE,
        n=row["n"],
        cluster="item",
        n_cluster=row["n"],
        judge=f"{row['judge']} ({row['format']}, {row['normalise']})",
    )


def _change(row: Row) -> Effect:
    return Effect(
        metric="change of inventory score",
        unit=_UNITS[row["measure"]],
        trait=row["scale"],
        method="inventory",
        condition=row["condition"],
        data=row["inventory"],
        reference=row["compared_with"],
        estimate=row["estimate"],
        low=row["low"],
        high=row["high"],
        level=CONFIDENCE,
        n=row["n"],
        cluster="item",
        n_cluster=row["n"],
        test="sign flips over items, two-sided",
        null_kind="no change",
        p=row["p"],
        family=family_of("changes of scales", row["declared"]),
        judge=f"{row['judge']} ({row['format']}, {row['normalise']}, {row['measure']})",
    )


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
        estimate=row["estimate"],
        low=row["low"],
        high=row["high"],
        level=CONFIDENCE,
        n=row["n"],
        null_low=row["null_low"],
        null_high=row["null_high"],
        p=row["p"],
        family=family_of("reliability", row["declared"]),
        judge=f"{row['judge']} ({row['format']})",
    )


def _moves(row: Row, effect: Effect) -> Claim:
    moved = reached(row["q"])
    change = interval(row["estimate"], row["low"], row["high"], digits=2)
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
