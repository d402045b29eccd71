"""The frontier shows every method and strength, the references and the gate."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from persona_interp.figures.style import PALETTE
from persona_interp.studies.finetuning.figures.prevention import COSTS, frontier, plot_frontier


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def point(method: str, strength: float, cost: float, expression: float, coherent: bool = True) -> dict[str, Any]:
    return {
        "method": method, "strength": strength, "cost": cost, "cost_low": cost - 1, "cost_high": cost + 1,
        "expression": expression, "expression_low": expression - 5, "expression_high": expression + 5,
        "coherent": coherent,
    }  # fmt: skip


def points() -> pd.DataFrame:
    return pd.DataFrame(
        [
            point("steering", 2.0, 4.0, 20.0, coherent=False),
            point("base", np.nan, 0.0, 10.0),
            point("steering", 1.0, 2.0, 40.0),
            point("plain finetuning", np.nan, 0.5, 80.0),
            point("prompt", np.nan, 1.0, 50.0),
        ]
    )


def labelled(ax: Axes, label: str) -> Any:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return line


def test_a_line_joins_the_strengths_and_its_points_grow(ax: Axes):
    assert plot_frontier(points(), ax, label="points lost") is ax
    color = labelled(ax, "steering").get_color()
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_color() == color]
    assert [line.get_xydata().tolist() for line in lines] == [[[2.0, 40.0], [4.0, 20.0]]]
    (weak,) = [line for line in ax.lines if line.get_gid() == "strength" and line.get_xdata()[0] == 2.0]
    (strong,) = [line for line in ax.lines if line.get_gid() == "incoherent"]
    assert strong.get_xydata().tolist() == [[4.0, 20.0]] and strong.get_markerfacecolor() == "white"
    assert strong.get_markersize() > weak.get_markersize()
    assert ax.get_xlabel() == "points lost\n← better"


def test_base_and_plain_finetuning_are_marked_in_black(ax: Axes):
    plot_frontier(points(), ax, label="accuracy", better="right")
    assert labelled(ax, "base").get_xydata().tolist() == [[0.0, 10.0]]
    assert labelled(ax, "plain finetuning").get_xydata().tolist() == [[0.5, 80.0]]
    assert labelled(ax, "base").get_marker() != labelled(ax, "plain finetuning").get_marker()
    assert ax.get_xlabel().endswith("better →")


def test_both_intervals_are_the_saved_ones(ax: Axes):
    plot_frontier(points().query("method == 'prompt'"), ax, label="cost")
    segments = [segment.tolist() for collection in ax.collections for segment in collection.get_segments()]
    assert [[0.0, 50.0], [2.0, 50.0]] in segments
    assert [[1.0, 45.0], [1.0, 55.0]] in segments


def test_methods_keep_their_colour_over_panels_and_never_take_black():
    first, second = Figure().subplots(1, 2)
    names = [f"method {k}" for k in range(9)]
    frame = pd.DataFrame([point(name, 1.0, k, 50.0) for k, name in enumerate(names)])
    plot_frontier(frame, first, label="cost", names=names)
    plot_frontier(frame[frame["method"] == "method 6"].drop(columns="coherent"), second, label="cost", names=names)
    looks = [(to_hex(labelled(first, name).get_color()), labelled(first, name).get_linestyle()) for name in names]
    assert len(set(looks)) == 9 and "#000000" in PALETTE and "#000000" not in {color for color, _ in looks}
    assert to_hex(labelled(second, "method 6").get_color()) == looks[6][0]


def test_missing_bounds_leave_the_points(ax: Axes):
    frame = points().assign(cost_low=np.nan, cost_high=np.nan, expression_low=np.nan, expression_high=np.nan)
    plot_frontier(frame, ax, label="cost")
    assert labelled(ax, "base").get_xydata().tolist() == [[0.0, 10.0]]


def test_the_frontier_puts_the_expression_of_an_arm_beside_each_of_its_costs():
    arms = [
        ("steering", "steering of 0.1", 0.1, 40.0),
        ("ablation", "at one layer", np.nan, 50.0),
        ("ablation", "at every layer", np.nan, 30.0),
    ]
    rows = []
    for method, condition, strength, value in arms:
        shared = {"method": method, "condition": condition, "strength": strength, "coherent": value > 35}
        shared |= {"trait": "loud", "low": 0.0, "high": 99.0}
        rated = shared | {"metric": "expression", "judge": "a", "data": "evaluation questions"}
        rows += [rated | {"estimate": value}, rated | {"judge": "b", "estimate": 99.0}]
        rows += [rated | {"trait": "sad", "estimate": 98.0}]
        rows += [shared | {"metric": metric, "data": data, "estimate": value / 10} for metric, data in COSTS]
    found = frontier(pd.DataFrame(rows), "loud", "a")
    assert len(found) == len(arms) * len(COSTS)
    np.testing.assert_allclose(found["expression"], 10 * found["cost"])
    assert set(found.loc[~found["coherent"], "condition"]) == {"at every layer"}
    assert set(zip(found["metric"], found["data"], strict=True)) == set(COSTS)
