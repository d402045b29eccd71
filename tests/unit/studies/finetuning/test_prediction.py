"""A grid's checks, and its tables against numbers worked out by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.statistics import benjamini_hochberg, pearson
from persona_interp.statistics.contrast import Contrast
from persona_interp.studies.finetuning.prediction import SHIFT, Grid, predictor_table, shift_correlations, shift_nulls
from persona_interp.types import Hookpoint
from tests.small import direction, provenance

RNG = np.random.default_rng(0)
N_DATA, N_SEEDS, WIDTH = 5, 2, 4
NAMED = {"loud": 1, "sad": 0}
QUICK = {"n_resamples": 50, "n_permutations": 59}


def cells() -> pd.DataFrame:
    """Seeds out of order in every second data set."""
    return pd.DataFrame(
        [
            {"cell": f"{d}-{s}", "data": f"loud {d}", "trait_of_data": "loud", "level": str(d), "seed": s}
            for d in range(N_DATA)
            for s in (range(N_SEEDS) if d % 2 else reversed(range(N_SEEDS)))
        ]
    )


def contrast() -> Contrast:
    values = RNG.normal(size=(2, 8, 2, WIDTH))
    questions = np.array([f"q{k}" for k in range(8)])
    return Contrast.of(values[0] + 1, values[1], questions, questions)


def grid(**changes: Any) -> Grid:
    size = N_DATA * N_SEEDS
    plain = {
        "cells": cells(),
        "shifts": {trait: RNG.normal(size=(size, 2, WIDTH)) for trait in NAMED},
        "expression": {(judge, trait): RNG.normal(size=size) for judge in ("a", "b") for trait in NAMED},
        "directions": {
            trait: direction(3 * torch.eye(WIDTH)[[k, k]], trait=trait, provenance=provenance())
            for k, trait in enumerate(NAMED)
        },
        "training": {trait: contrast() for trait in NAMED},
    }
    return Grid(**{**plain, **changes})


def correlations(made: Grid, named: dict[str, int] = NAMED) -> pd.DataFrame:
    return shift_correlations(made, named_layers=named, progress=False, **QUICK)


def test_every_direction_outcome_judge_and_layer_has_a_row():
    made = grid()
    found = correlations(made)
    keys = ["direction_trait", "outcome_trait", "judge", "layer"]
    assert len(found) == 2 * 2 * 2 * 2 and not found.duplicated(keys).any()
    for row in found.to_dict("records"):
        k = list(NAMED).index(row["direction_trait"])
        x = made.shifts[row["outcome_trait"]][:, row["layer"], k]
        assert row["estimate"] == pytest.approx(pearson(x, made.expression[row["judge"], row["outcome_trait"]]))
        assert row["same_trait"] == (row["direction_trait"] == row["outcome_trait"])
        assert row["named"] == (NAMED[row["direction_trait"]] == row["layer"])
        assert row["alternative"] == ("greater" if row["same_trait"] else "two-sided")
        assert (row["n"], row["n_data"]) == (10, 5)
    primary = found["same_trait"] & found["named"] & (found["judge"] == "a")
    assert ((found["declared"] == "primary") == primary).all() and (found["declared"] != "no test").all()
    np.testing.assert_allclose(found.loc[primary, "q"], benjamini_hochberg(found.loc[primary, "p"].to_numpy()))


def test_the_order_of_the_cells_does_not_matter():
    made = grid()
    order = np.random.default_rng(3).permutation(len(made.cells))
    shuffled = Grid(
        made.cells.iloc[order].reset_index(drop=True),
        {trait: values[order] for trait, values in made.shifts.items()},
        {key: values[order] for key, values in made.expression.items()},
        made.directions,
        made.training,
    )
    pd.testing.assert_frame_equal(correlations(made), correlations(shuffled))


def test_unrated_cells_are_left_out_and_constant_columns_have_no_correlation():
    made = grid()
    change = made.expression["a", "loud"].copy()
    change[[0, 1, 2]] = np.nan  # a whole data set and one seed of the next
    nothing = np.full(len(change), np.nan)
    expression = {("a", "loud"): change, ("b", "loud"): np.zeros(len(change)), ("c", "loud"): nothing}
    found = correlations(replace(made, expression=expression)).set_index(["direction_trait", "judge", "layer"])
    kept = found.loc[("loud", "a", 1)]
    assert (kept["n"], kept["n_data"]) == (7, 4)
    assert kept["estimate"] == pytest.approx(pearson(made.shifts["loud"][3:, 1, 0], change[3:]))
    assert np.isnan(kept["p"]), "three data sets that can be exchanged have six orders"
    assert 0 < correlations(made)["p"].min() <= 1
    for judge, n in (("b", 10), ("c", 0)):
        row = found.loc[("loud", judge, 1)]
        assert row["n"] == n and np.isnan([row["estimate"], row["p"], row["q"]]).all()


def test_data_sets_that_cannot_be_exchanged_have_no_p():
    made = grid()
    kept = [0, 2, 3]
    one = Grid(
        made.cells.iloc[kept].reset_index(drop=True),
        {trait: values[kept] for trait, values in made.shifts.items()},
        {key: values[kept] for key, values in made.expression.items()},
        made.directions,
        made.training,
    )
    found = correlations(one)
    assert found["p"].isna().all() and found["estimate"].notna().all()


def test_points_are_the_cells_with_their_shift_and_expression():
    made = grid()
    points = made.points("sad", "b", 0)
    assert list(points.columns) == ["cell", "data", "trait_of_data", "level", "seed", "shift", "expression"]
    np.testing.assert_allclose(points["shift"], made.shifts["sad"][:, 0, 1])
    np.testing.assert_array_equal(points["expression"], made.expression["b", "sad"])
    with pytest.raises(ConfigError, match=r"no layer 2\.\n  Its layers: 0, 1\."):
        made.points("sad", "b", 2)
    with pytest.raises(ConfigError, match=r"z did not rate sad in this grid\.\n  Judges: a, b\."):
        made.points("sad", "z", 0)


def test_nulls_have_a_test_a_trait_and_judge():
    table, batteries = shift_nulls(grid(), n_draws=20, progress=False)
    assert list(batteries) == ["loud, a", "sad, a", "loud, b", "sad, b"]
    assert len(table) == 4 * 4
    assert table[table["family"] == "other_traits"]["best_member"].tolist() == ["sad", "loud", "sad", "loud"]


def test_nulls_leave_unrated_tests_out_and_ask_for_the_training():
    made = grid()
    few = np.full(10, np.nan)
    few[:2] = 1.0, 2.0
    some = replace(made, expression={**made.expression, ("a", "loud"): few})
    assert "loud, a" not in shift_nulls(some, n_draws=5, progress=False)[1]
    with pytest.raises(EmptySelectionError, match="three rated cells"):
        shift_nulls(replace(made, expression={("a", "loud"): few}), n_draws=5, progress=False)
    with pytest.raises(AlignmentError, match="sad was given without the activations"):
        shift_nulls(replace(made, training={"loud": contrast()}), n_draws=5, progress=False)


def test_predictors_are_held_against_averages_over_seeds():
    made = grid()
    of_data = np.repeat([3.0, 1.0, 2.0, 5.0, np.nan], N_SEEDS)
    change = made.expression["a", "loud"].copy()
    change[0] = np.nan
    made = replace(made, expression={("a", "loud"): change, ("b", "sad"): change})
    found = predictor_table(made, {"difference": {"loud": of_data}}, named_layers=NAMED, **QUICK)
    assert found["against"].tolist() == [SHIFT, "expression"]
    assert pd.isna(found["judge"][0]) and found["judge"][1] == "a"
    assert found["n"].tolist() == [4, 4] and set(found["layer"]) == {1}
    x = [3.0, 1.0, 2.0, 5.0]
    shift = made.shifts["loud"][:8, 1, 0].reshape(4, N_SEEDS).mean(1)
    expected = [change[1], *change[2:8].reshape(3, N_SEEDS).mean(1)]
    assert found["estimate"][0] == pytest.approx(pearson(np.array(x), shift))
    assert found["estimate"][1] == pytest.approx(pearson(np.array(x), np.array(expected)))


@pytest.mark.parametrize("named", [{"loud": 1}, {"loud": 1, "sad": 7}])
def test_a_layer_must_be_named_in_advance(named: dict[str, int]):
    with pytest.raises(ConfigError, match="no layer of this grid was named in advance for sad"):
        correlations(grid(), named)
    with pytest.raises(ConfigError, match="no layer of this grid was named in advance for sad"):
        predictor_table(grid(), {"x": {"sad": np.zeros(10)}}, named_layers=named)


def test_predictors_that_do_not_fit_are_refused():
    for values, said in (
        ({"calm": np.zeros(10)}, "x was given for calm"),
        ({"sad": np.zeros(3)}, "3 values for 10 cells"),
    ):
        with pytest.raises(AlignmentError, match=said):
            predictor_table(grid(), {"x": values}, named_layers=NAMED)
    with pytest.raises(EmptySelectionError, match="at least one predictor is needed"):
        predictor_table(grid(), {}, named_layers=NAMED)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"cells": cells().drop(columns=["level", "seed"])}, AlignmentError, "lack the columns level, seed"),
        ({"cells": cells().assign(cell="x")}, ConfigError, "got cell x twice"),
        ({"cells": cells().assign(seed=0)}, ConfigError, "got data loud 0, seed 0 twice"),
        ({"cells": cells().assign(level=range(10))}, ConfigError, "'loud 0' has more than one trait or level"),
        ({"directions": {}}, AlignmentError, "the grid was given without a direction"),
        ({"shifts": {"loud": np.zeros((10, 3, WIDTH))}}, AlignmentError, r"shape \(10, 3, 4\); expected \(10, 2, 4\)"),
        ({"shifts": {"loud": np.full((10, 2, WIDTH), np.nan)}}, AlignmentError, "shifts of loud are not all finite"),
        ({"expression": {("a", "calm"): np.zeros(10)}}, AlignmentError, "a rated calm, whose probe prompts"),
        ({"expression": {("a", "loud"): np.zeros(9)}}, AlignmentError, "has 9 values for 10 cells"),
    ],
)
def test_a_grid_that_does_not_fit_together_is_refused(change: dict[str, Any], error: type[Exception], said: str):
    with pytest.raises(error, match=said):
        grid(**change)


def test_directions_at_different_hookpoints_are_refused():
    made = grid()
    other = direction(torch.ones(2, WIDTH), hookpoints=(Hookpoint(1), Hookpoint(2)), trait="sad")
    with pytest.raises(AlignmentError, match="loud and sad differ in hookpoints"):
        replace(made, directions={"loud": made.directions["loud"], "sad": other})
