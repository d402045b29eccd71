"""The detectors of every run stand beside the expression of the trait."""

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.studies.monitoring.figures.robustness import plot_detectors


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def detectors() -> pd.DataFrame:
    rows = [
        {"run": run, "detector": detector, "estimate": value, "low": value - 0.1, "high": value + 0.1}
        for run, values in (("plain", (1.0, 1.0, 1.0)), ("penalised", (0.9, 0.1, 0.4)))
        for detector, value in zip(("trait expression", "monitored direction", "probe"), values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_expression_comes_last_and_is_shaded(ax: Axes):
    assert plot_detectors(detectors(), ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["monitored direction", "probe", "trait expression"]
    (shade,) = ax.patches
    assert shade.get_y() < 2 < shade.get_y() + shade.get_height()
    points = {
        float(line.get_xdata()[0]): (line.get_label(), round(float(line.get_ydata()[0])))
        for line in ax.lines
        if line.get_marker() == "o" and line.get_label() == "penalised"
    }
    assert points == {0.9: ("penalised", 2), 0.1: ("penalised", 0), 0.4: ("penalised", 1)}
    assert sorted(line.get_xdata()[0] for line in ax.lines if len(set(line.get_ydata())) == 2) == [0.0, 1.0]


def test_order_and_unit_can_be_given(ax: Axes):
    order = ["probe", "trait expression", "monitored direction"]
    plot_detectors(detectors(), ax, runs=["penalised", "plain"], detectors=order, whole=None, label="AUC")
    assert [label.get_text() for label in ax.get_yticklabels()] == order
    assert ax.get_xlabel() == "AUC"
    assert [line.get_xdata()[0] for line in ax.lines if len(set(line.get_ydata())) == 2] == [0.0]
    names = [line.get_label() for line in ax.lines if line.get_marker() == "o"]
    assert names == ["penalised"] * 3 + ["plain"] * 3
