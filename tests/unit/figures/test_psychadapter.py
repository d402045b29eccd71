"""The PsychAdapter figures show the numbers of their frames."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from persona_interp.figures.style import paper_style
from persona_interp.studies.psychadapter.figures.drawing import draw_adapter
from persona_interp.studies.psychadapter.figures.panels import (
    plot_adapter_loss,
    plot_expression_over_z,
    plot_held_out_loss,
    plot_induced_by_layer,
    plot_induced_cosine,
    plot_off_target,
)


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def labelled(ax: Axes, label: str) -> Any:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return line


def table(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    if "judged" in frame:
        frame["condition"] = [f"texts, judged for {trait}" for trait in frame.pop("judged")]
    return frame.assign(low=frame["estimate"] - 1, high=frame["estimate"] + 1)


def test_expression_shows_a_traits_own_scores_only(ax: Axes):
    frame = table(
        trait=["loud"] * 4 + ["slow"], judged=["loud", "loud", "loud", "slow", "slow"], strength=[3, -3, 0, 0, 1],
        estimate=[70.0, 30, 50, 99, 40],
    )  # fmt: skip
    plot_expression_over_z(frame, ax, traits=["loud", "slow"])
    assert labelled(ax, "loud").get_xydata().tolist() == [[-3, 30], [0, 50], [3, 70]]
    assert labelled(ax, "slow").get_xydata().tolist() == [[1, 40]]
    assert len(ax.collections) == 2


def test_off_target_effects_are_framed_on_target_and_bold_where_found(ax: Axes):
    frame = table(
        trait=["loud", "loud", "slow"], judged=["loud", "slow", "slow"], estimate=[2.04, -0.5, 0.25],
        q=[0.01, 0.2, np.nan],
    )  # fmt: skip
    plot_off_target(frame, ax)
    texts = {text.get_text(): text.get_fontweight() for text in ax.texts}
    assert texts == {
        "+2.0\n[+1.0, +3.0]": "bold", "−0.5\n[−1.5, +0.5]": "normal", "+0.2\n[−0.8, +1.2]": "normal",
    }  # fmt: skip
    assert [patch.get_gid() for patch in ax.patches] == ["same-trait", "same-trait"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["loud", "slow"]
    assert np.ma.filled(ax.images[0].get_array(), np.nan)[1, 0] != 0  # pyright: ignore


def test_traits_without_a_judge_have_a_row_and_no_column(ax: Axes):
    frame = table(trait=["loud", "dep_score"], judged=["loud", "loud"], estimate=[2.0, 1.0], q=[0.5, 0.5])
    plot_off_target(frame, ax, traits=["loud", "dep_score"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["loud"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["loud", "dep_score"]


def test_the_loss_has_its_running_mean_and_two_lines(ax: Axes):
    frame = pd.DataFrame({"step": range(1, 46), "loss": np.arange(45.0)})
    plot_adapter_loss(frame, ax, held_out=3.5, base=4.0)
    mean = labelled(ax, "mean of 3 steps")
    assert mean.get_xydata()[0].tolist() == [2, 1]
    assert mean.get_xydata()[-1].tolist() == [44, 43]
    assert labelled(ax, "held out, trained").get_ydata()[0] == 3.5
    assert labelled(ax, "held out, no adapter").get_ydata()[0] == 4


def test_held_out_differences_stand_in_rows(ax: Axes):
    frame = table(
        metric=["held-out loss", *["change of held-out loss"] * 2], trait=["all", "all", "loud"],
        condition=["right scores", "shuffled scores", "shuffled scores"], estimate=[3.0, 0.2, 0.1],
    )  # fmt: skip
    plot_held_out_loss(frame, ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["shuffled", "loud shuffled"]
    assert [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"] == [[[0.2, 0]], [[0.1, 1]]]  # pyright: ignore


def induced() -> pd.DataFrame:
    rows = {"trait": ["loud"] * 3, "layers": ["0", "1", "2"]}
    shape = table(**rows, metric=["consistency"] * 3, estimate=[0.9, 0.8, 0.7])
    own = table(**rows, metric=["cosine"] * 3, estimate=[0.1, 0.6, 0.2])
    own = own.assign(role="treatment", null_high=[0.3, 0.4, 0.5], q=[0.5, 0.01, 0.5], reference="vector of loud")
    other = own.assign(role="control", estimate=-0.9, null_high=0.99, reference="vector of slow")
    return pd.concat([shape, own, other], ignore_index=True)


def test_one_metric_of_the_shift_is_drawn_by_layer(ax: Axes):
    plot_induced_by_layer(induced(), ax, metric="consistency")
    assert labelled(ax, "loud").get_xydata().tolist() == [[0, 0.9], [1, 0.8], [2, 0.7]]
    assert ax.get_ylabel() == "consistency"


def test_the_cosine_is_that_with_the_own_vector_in_front_of_its_null(ax: Axes):
    plot_induced_cosine(induced(), ax)
    assert labelled(ax, "loud").get_xydata().tolist() == [[0, 0.1], [1, 0.6], [2, 0.2]]
    found = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "o"]  # pyright: ignore
    assert found == [[[1, 0.6]]]
    heights = np.asarray(ax.collections[0].get_paths()[0].vertices)[:, 1]
    assert (heights.min(), heights.max()) == (-0.5, 0.5)


def test_what_was_measured_is_drawn_and_nothing_else():
    loss = table(
        metric=["held-out loss", "held-out loss", "change of held-out loss"], trait=["all"] * 3, judge=[None] * 3,
        condition=["right scores", "no adapter", "no adapter"], estimate=[3.0, 3.2, 0.2],
    )  # fmt: skip
    losses = pd.DataFrame({"step": [1, 2], "loss": [4.0, 3.5]})
    with paper_style():
        (one,) = draw_adapter(loss, losses=losses)
        both = draw_adapter(pd.concat([loss, induced()], ignore_index=True))
    assert labelled(one.figure.axes[0], "held out, no adapter").get_ydata()[0] == 3.2
    assert [made.name for made in both] == ["psychadapter_loss", "psychadapter_induced"]
    assert len(both[1].figure.axes) == 4
