"""The finetuning figures show the numbers of their frames."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.studies.finetuning.figures.shift import (
    plot_correlation_matrix,
    plot_predictors,
    plot_shift_and_expression,
)

LEVELS = ("normal", "level_1")


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def labelled(ax: Axes, label: str) -> Any:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return line


def runs() -> pd.DataFrame:
    rows = [("loud", "normal", 0.0, 1.0), ("loud", "level_1", 2.0, 30.0), ("sums", "normal", -1.0, np.nan)]
    return pd.DataFrame(rows, columns=["trait_of_data", "level", "shift", "expression"])


def drawn(ax: Axes, gid: str) -> list[Any]:
    return [line for line in ax.lines if line.get_gid() == gid]


def test_runs_have_a_colour_a_family_and_a_marker_a_level(ax: Axes):
    assert plot_shift_and_expression(runs(), ax) is ax
    points = {tuple(line.get_xydata()[0]): line for line in drawn(ax, "run") if len(line.get_xydata())}
    assert {(0.0, 1.0), (2.0, 30.0)} < set(points)
    normal, level = points[0.0, 1.0], points[2.0, 30.0]
    assert normal.get_color() == level.get_color() == labelled(ax, "data: loud").get_color()
    assert normal.get_marker() == labelled(ax, "normal").get_marker()
    assert level.get_marker() == labelled(ax, "level 1").get_marker() != normal.get_marker()
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "finetuning shift (residual units)",
        "change of expression\n(points of 100)",
    )
    assert not ax.texts


def test_families_and_levels_look_alike_in_every_panel():
    first, second = Figure().subplots(1, 2)
    kinds = {"families": ["sums", "loud"], "levels": LEVELS}
    plot_shift_and_expression(runs(), first, **kinds)
    plot_shift_and_expression(runs().iloc[::-1], second, **kinds)
    for label in ("data: sums", "data: loud", "normal", "level 1"):
        assert labelled(first, label).get_color() == labelled(second, label).get_color()
        assert labelled(first, label).get_marker() == labelled(second, label).get_marker()


def test_the_correlation_stands_above_with_the_runs_that_have_both_numbers(ax: Axes):
    plot_shift_and_expression(runs(), ax, correlation=(0.5, -0.25, 0.901))
    assert [text.get_text() for text in ax.texts] == ["r = 0.50 [−0.25, 0.90], n = 2"]


def matrix() -> pd.DataFrame:
    pairs = [("a", "a", 0.9), ("a", "b", -0.001), ("b", "a", np.nan), ("b", "b", 0.8), ("c", "a", -0.7)]
    rows = [
        {"trait": outcome, "method": "persona_vector" if own == outcome else f"persona_vector of {own}", "estimate": r}
        for own, outcome, r in pairs
    ]
    return pd.DataFrame(rows).assign(low=np.nan, high=np.nan)


def test_a_row_is_a_direction_a_column_an_outcome_and_the_own_direction_is_framed(ax: Axes):
    assert plot_correlation_matrix(matrix(), ax, traits=["a", "b", "c"]) is ax
    values = np.ma.filled(ax.images[0].get_array(), np.nan)
    nan = np.nan
    np.testing.assert_array_equal(values, [[0.9, -0.001, nan], [nan, 0.8, nan], [-0.7, nan, nan]])
    assert ax.images[0].get_clim() == (-1, 1)
    assert {text.get_text(): text.get_position() for text in ax.texts} == {
        "+0.90": (0, 0), "+0.00": (1, 0), "+0.80": (1, 1), "−0.70": (0, 2),
    }  # fmt: skip
    framed = [(p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2) for p in ax.patches]
    np.testing.assert_allclose(sorted(framed), [(0, 0), (1, 1), (2, 2)], atol=1e-9)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]


def test_intervals_stand_under_the_numbers_that_have_one(ax: Axes):
    frame = matrix().dropna(subset="estimate")
    frame.loc[frame["estimate"] < -0.5, ["low", "high"]] = [-0.95, 0.99]
    plot_correlation_matrix(frame, ax, traits=["c", "b", "a"])
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places["−0.70\n[−0.95, 0.99]"] == (2, 0)
    assert places["+0.90"] == (2, 2)


def test_predictors_are_rows_and_what_they_foretell_colours(ax: Axes):
    frame = pd.DataFrame(
        [
            {"condition": f"{name} of the data and the {after}", "estimate": r, "low": r - 0.1, "high": r + 0.1}
            for name, after, r in (("difference", "shift", 0.8), ("raw", "shift", 0.2), ("raw", "expression", 0.4))
        ]
    )
    assert plot_predictors(frame, ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["difference", "raw"]
    found = {(line.get_label(), round(float(line.get_xdata()[0]), 6)): float(line.get_ydata()[0])
             for line in ax.lines if line.get_marker() == "o"}  # fmt: skip
    assert set(found) == {("shift", 0.2), ("shift", 0.8), ("expression", 0.4)}
    assert found["shift", 0.8] < 0.5 < found["shift", 0.2] < found["expression", 0.4]
    assert ax.get_xlim() == (-1.04, 1.04)
