"""High against low of traits, planted to move their own scale or every scale: tables, effects and what is claimed."""

from typing import Any

import pytest
from pandas import DataFrame

from persona_interp.data.inventories import ForcedChoice, load_inventory
from persona_interp.data.inventory_wordings import spoken
from persona_interp.effects import Source, claims_table, effects_table
from persona_interp.figures.style import paper_style
from persona_interp.studies.inventory.administer import administer
from persona_interp.studies.inventory.figures import draw_movement
from persona_interp.studies.inventory.movement import (
    ALL,
    PROMPT,
    RANDOM,
    VECTOR,
    Contrast,
    movement_table,
    validity_table,
)
from persona_interp.studies.inventory.movement_effects import changes_of, movement_effects, scale_of
from persona_interp.studies.inventory.validity import SAID, STATEMENTS, TRAITS, ValidityRun
from tests.unit.studies.inventory.inventory_respondent import RuleModel

SIZES = {"n_resamples": 200, "seed": 0}
INVENTORY = load_inventory(SAID).take(6)
POLES = {
    spoken(option.text, person): (item.scale, option.pole)
    for item in INVENTORY.items
    if isinstance(item, ForcedChoice)
    for option in item.options
    for person in ("I", "You")
}


def answered(moved: str | None, by: float) -> Any:
    """Answers in which the high pole of one scale (of all, where it is "all") is more probable by so many nats."""

    def rule(prompt: str, option: str) -> float:
        del prompt
        scale, pole = POLES[option]
        own = by if moved in (scale, ALL) else 0.0
        return -5.0 - len(option) % 3 + own * (1 if pole == "high" else -1) / 2

    model = RuleModel(rule)
    said = {"wordings": STATEMENTS, "normalise": "sum", "condition": f"{moved} {by:g}"}
    return administer(model, INVENTORY, progress=False, **said)


def contrasts(method: str, moved: dict[str, str]) -> list[Contrast]:
    return [Contrast(method, trait, answered(scale, 3.0), answered(scale, -3.0)) for trait, scale in moved.items()]


def found(contrasts: list[Contrast], run: ValidityRun) -> tuple[DataFrame, DataFrame]:
    tables = movement_table(contrasts, **SIZES), validity_table(contrasts, **SIZES)
    effects, claims = movement_effects(*tables, run, n_layers=10)
    source = Source("inventory", "run", "tiny")
    return effects_table(source, effects), claims_table(source, claims)


@pytest.fixture(scope="module")
def own() -> tuple[DataFrame, DataFrame]:
    return found(contrasts(PROMPT, {trait: trait for trait in TRAITS}), ValidityRun())


def test_traits_that_move_their_own_scales_make_an_inventory_valid(own: tuple[DataFrame, DataFrame]) -> None:
    effects, claims = own
    (whole,) = effects[effects["trait"] == ALL].to_dict("records")
    assert whole["estimate"] > 1 and whole["low"] > 0 and whole["p"] == pytest.approx(1 / 120)
    assert claims["verdict"].tolist() == ["holds"]
    moved = effects[effects["metric"] == "movement of a scale"]
    assert len(moved) == 25
    on = moved[[trait == scale_of(said) for trait, said in zip(moved["trait"], moved["condition"], strict=True)]]
    assert (on["estimate"] > 1).all() and (moved.drop(on.index)["estimate"].abs() < 1e-6).all()
    assert set(moved["substrate"]) == {"prompt"}


def test_traits_that_move_every_scale_alike_do_not() -> None:
    _, claims = found(contrasts(PROMPT, dict.fromkeys(TRAITS, ALL)), ValidityRun())
    assert claims["verdict"].tolist() == ["undecided"]
    assert "is not shown to move its own scale" in claims["sentence"].iloc[0]


def test_what_is_known_of_vectors_and_random_directions_is_told() -> None:
    run = ValidityRun(depth=0.5, coefficient=0.2)
    effects, _ = found([*contrasts(VECTOR, dict.fromkeys(TRAITS[:2], ALL)), *contrasts(RANDOM, {"0": ALL})], run)
    moved = effects[effects["metric"] == "movement of a scale"]
    assert moved.groupby("role").size().to_dict() == {"null": 5, "treatment": 10}
    assert set(effects["layers"]) == {"4"} and set(effects["depth"]) == {0.5} and set(effects["strength"]) == {0.2}
    assert changes_of(run, 10)[VECTOR].strength_unit == "mean residual norms of the layer, on both sides of zero"
    assert effects["null_high"].isna().all()  # one random direction is no range


def test_a_panel_a_method_and_format(own: tuple[DataFrame, DataFrame]) -> None:
    with paper_style():
        drawn = draw_movement(own[0])
    (ax,) = drawn.figure.axes
    assert ax.get_title(loc="left") == "prompt, statements (nats)\ntiny"
    assert len(ax.texts) == 25
