"""The screening figures show the numbers of their frames."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.studies.screening.figures import plot_detection, plot_score_distributions


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def detection(low: float = 0.6) -> pd.DataFrame:
    rows = [("projection", "mix a", 0.9), ("projection", "mix b", 0.8), ("judge", "mix a", 0.7)]
    frame = pd.DataFrame(rows, columns=["method", "condition", "estimate"])
    return frame.assign(trait="loud", low=low, high=0.95)


def test_scores_are_rows_and_mixtures_colours(ax: Axes):
    assert plot_detection(detection(), ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["projection", "judge"]
    points = {
        (line.get_label(), float(line.get_xdata()[0])): float(line.get_ydata()[0])
        for line in ax.lines
        if line.get_marker() == "o"
    }
    assert set(points) == {("mix a", 0.9), ("mix b", 0.8), ("mix a", 0.7)}
    assert points["mix a", 0.9] < points["mix b", 0.8] < points["mix a", 0.7]
    assert ax.lines[0].get_xdata()[0] == 0.5
    assert ax.get_xlim()[0] > 0.3


@pytest.mark.parametrize(("low", "chance"), [(0.2, 0.5), (0.6, 0.1)])
def test_the_axis_reaches_the_lowest_bound_and_chance(ax: Axes, low: float, chance: float):
    plot_detection(detection(low), ax, chance=chance, label="precision")
    assert ax.get_xlim()[0] < 0
    assert ax.lines[0].get_xdata()[0] == chance
    assert ax.get_xlabel() == "precision"


def samples() -> pd.DataFrame:
    values = [*np.linspace(-1, 1, 50), *np.linspace(2, 3, 10), np.nan]
    return pd.DataFrame({"value": values, "planted": [False] * 50 + [True] * 11})


def test_each_side_has_an_area_of_one_on_shared_bins(ax: Axes):
    assert plot_score_distributions(samples(), ax, threshold=1.5, label="difference", n_bins=8) is ax
    outlines = [patch for patch in ax.patches if patch.get_gid() == "outline"]
    assert len(outlines) == 2
    for outline in outlines:
        x, y = outline.get_xy().T
        assert abs(0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) == pytest.approx(1)
        assert set(np.round(x, 6)) <= set(np.round(np.linspace(-1, 3, 9), 6))
    assert [text.get_text() for text in ax.texts] == ["n = 50 clean, 10 planted"]
    (line,) = [line for line in ax.lines if line.get_label() == "threshold"]
    assert set(line.get_xdata()) == {1.5}
    assert {line.get_label() for line in ax.lines} == {"clean", "planted", "threshold"}


def test_a_side_without_samples_is_left_out(ax: Axes):
    plot_score_distributions(samples().query("not planted"), ax)
    assert [line.get_label() for line in ax.lines] == ["clean"]
    assert ax.texts[0].get_text() == "n = 50 clean"
