"""Strengths of the main job: those that were given, or at each layer those with the effects that were asked for."""

import pandas as pd

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.measurements.strengths import strength_table
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.persona.bench import Bench


def calibrated(bench: Bench, trait: Trait, direction: Direction) -> pd.DataFrame | None:
    """What reaches the targets at every steered layer (`strength_table`); None where coefficients were given.

    Found once a trait, on neutral prompts that evaluate nothing and that no judge rates, before any steered answer is
    made; kept in the folder, each layer as it is done. All traits share the unsteered answers.
    """
    config = bench.config
    if config.coefficients:
        return None
    return strength_table(
        bench.model,
        direction,
        config.kl_targets(),
        layers=config.steered_layers(bench.model.n_layers),
        seed=derived_seed(config.seed, "strengths"),
        folder=bench.folder / "steering" / trait.name / "strengths",
        answers_folder=bench.folder / "neutral",
    )


def coefficients_by_layer(bench: Bench, trait: Trait, direction: Direction) -> dict[int, tuple[float, ...]]:
    """The coefficients of every steered layer, in order."""
    layers, table = bench.config.steered_layers(bench.model.n_layers), calibrated(bench, trait, direction)
    if table is None:
        return dict.fromkeys(layers, bench.config.coefficients)
    return {layer: tuple(sorted(table.loc[table["layer"] == layer, "coefficient"])) for layer in layers}


def place_of_test(bench: Bench, trait: Trait, direction: Direction) -> tuple[int, float]:
    """The layer and the coefficient of the test against random directions, which no answer chose.

    Where strengths are by KL, the coefficient of the middle target at that layer, where answers are still coherent,
    unless one was given. Random directions are added with the same coefficient: they have the norm of the vector, and
    not its KL.
    """
    layer = bench.config.test_layer(bench.model.n_layers)
    if bench.config.test_coefficient is not None:
        return layer, bench.config.test_coefficient
    positive = sorted(c for c in coefficients_by_layer(bench, trait, direction)[layer] if c > 0)
    return layer, positive[-1] if bench.config.coefficients else positive[len(positive) // 2]
