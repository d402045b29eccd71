"""The detectors of every run stand beside the expression of the trait."""

from typing import Any

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.studies.finetuning.figures.robustness import plot_detectors


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def detectors() -> pd.DataFrame:
    rows = [
        {"condition": f"{run} against benign data: {detector}", "estimate": r, "low": r - 0.1, "high": r + 0.1}
        for run, values in (("plain", (1.0, 0.8, 0.7)), ("penalised", (0.9, 0.1, 0.4)))
        for detector, r in zip(("trait expression: a", "monitored direction", "probe"), values, strict=True)
    ]
    return pd.DataFrame(rows)


def test_expression_comes_last_and_is_shaded(ax: Axes):
    assert plot_detectors(detectors(), ax) is ax
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["monitored direction", "probe", "trait expression: a"]
    shade: Any = ax.patches[0]
    assert len(ax.patches) == 1 and shade.get_y() < 2 < shade.get_y() + shade.get_height()
    lines: list[Any] = [line for line in ax.lines if line.get_marker() == "o" and line.get_label() == "penalised"]
    points = {float(line.get_xdata()[0]): round(float(line.get_ydata()[0])) for line in lines}
    assert points == {0.9: 2, 0.1: 0, 0.4: 1}
    assert ax.get_xlim() == (-1.05, 1.05)
