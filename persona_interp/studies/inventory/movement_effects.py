"""High against low of traits as rows of the table of effects, and the claim that an inventory is valid."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, verdict
from persona_interp.sections.words import interval, number
from persona_interp.studies.inventory.conditions import NORMS, SCORE, Change
from persona_interp.studies.inventory.movement import ADAPTER, ALL, PROMPT, RANDOM, VECTOR
from persona_interp.studies.inventory.scores import JUDGE
from persona_interp.studies.inventory.validity import ADAPTER_Z, ValidityRun
from persona_interp.tables import rows_of
from persona_interp.types import layer_at_depth

MOVEMENT, VALIDITY = "movement of a scale", "own movement minus that by other traits"
VALID = (
    "high against low of a trait moves its own scale more than other traits do, mean over traits; p over assignments of"
    " traits to scales, corrected over models, methods and inventories: q is at most 0.05; and the interval over items"
    " and wordings lies above zero"
)
BOTH_SIDES = ", on both sides of zero"
_SCALE = ", on the scale "

Row = dict[str, Any]


def movement_effects(
    movement: DataFrame, validity: DataFrame, run: ValidityRun, *, n_layers: int
) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of the tables of movement and validity of one model.

    Args:
        movement: as `movement_table` gives it, with a null range or without.
        validity: as `validity_table` gives it, of this model, q over all that are reported together.
    """
    changes = changes_of(run, n_layers)
    moved = [_movement(row, _about(row, changes, n_layers), run) for row in rows_of(movement)]
    valid = [(row, _validity(row, _about(row, changes, n_layers))) for row in rows_of(validity)]
    return [*moved, *(effect for _, effect in valid)], [_valid(*each) for each in valid if each[0]["scale"] == ALL]


def changes_of(run: ValidityRun, n_layers: int) -> dict[str, Change]:
    """What is known of every method, by its name in the tables."""
    layers = str(layer_at_depth(run.depth, n_layers))
    added = "residual", layers, "resid_post", run.coefficient, NORMS + BOTH_SIDES
    return {
        PROMPT: Change("prompt", "prompt"),
        VECTOR: Change("persona_vector", *added),
        RANDOM: Change(RANDOM, *added),
        ADAPTER: Change("psychadapter", "virtual_token", None, None, ADAPTER_Z, SCORE + BOTH_SIDES),
    }


def scale_of(condition: str) -> str:
    """The scale that was moved, by the column `condition` of a movement."""
    return condition.partition(_SCALE)[2]


def _about(row: Row, changes: Mapping[str, Change], n_layers: int) -> Effect:
    judge, fixed = f"{JUDGE} ({row['format']})", "model, prompts, vectors, orders of the options"
    about = changes[row["method"]].effect(MOVEMENT, row, n_layers)
    return replace(about, unit=row["unit"], fixed=fixed, judge=judge).measured(row)


def _movement(row: Row, about: Effect, run: ValidityRun) -> Effect:
    ranged = row.get("null_high") is not None
    return replace(
        about,
        role="null" if row["method"] == RANDOM else "treatment",
        trait=row["trait"],
        condition=f"high against low {row['trait']}{_SCALE}{row['scale']}",
        reference="low",
        null_kind="random directions of equal norm" if ranged else None,
        null_low=row.get("null_low"),
        null_high=row.get("null_high"),
        n_null=run.n_random if ranged else None,
    )


def _validity(row: Row, about: Effect) -> Effect:
    tested = row["p"] is not None
    return replace(
        about,
        metric=VALIDITY,
        trait=row["scale"],
        condition="high against low of every trait",
        reference="movement by the other traits",
        test="rank among assignments of traits to scales, one-sided" if tested else None,
        null_kind="other assignments of traits to scales" if tested else None,
        p=row["p"],
        family="validity of inventories" if tested else None,
    )


def _valid(row: Row, effect: Effect) -> Claim:
    found = verdict(row["q"], row["low"], row["high"])
    sentence = (
        f"{row['model']}: high against low of a trait by {row['method']}"
        f" {'moves' if found == 'holds' else 'is not shown to move'} its own scale of {row['inventory']}"
        f" ({row['format']}) more than other traits do: by {interval(row['estimate'], row['low'], row['high'])}"
        f" {row['unit']}, q {number(row['q'])}."
    )
    claim = effect.claimed(f"{row['inventory']} ({row['format']}) sees traits, {row['method']}", sentence, VALID, found)
    return replace(claim, trait=None)
