"""Figures of inventories: what is drawn where, from effects alone."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from persona_interp.figures.style import paper_style
from persona_interp.studies.inventory.figures import (
    draw_inventory,
    plot_inventory_scores,
    plot_movement,
    plot_reliability,
    plot_type_poles,
)

ABOUT = {"model": "m", "data": "big", "judge": "none (rating, sum)", "metric": "inventory score"}


def scores(low: int = 1, high: int = 5, **changes: Any) -> pd.DataFrame:
    rows = [
        {**ABOUT, "condition": condition, "trait": scale, "estimate": value, "low": value - 0.5, "high": value + 0.5,
         "unit": f"points from {low} to {high}", "null_high": None, **changes}
        for condition, value in (("baseline", 2.0), ("steered", 4.0))
        for scale in ("warmth", "order")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def types() -> pd.DataFrame:
    about = {**ABOUT, "judge": "none (statement)", "condition": "baseline", "unit": "points from 0 to 1"}
    rows = [("EI", "E", "I", 0.8, 0.97), ("SN", "S", "N", 0.4, 0.2)]
    parts = [
        [
            {**about, "trait": scale, "estimate": share, "low": share - 0.1, "high": share + 0.1},
            {**about, "trait": scale, "metric": "probability of the first pole", "estimate": probability,
             "reference": f"{first} against {second}"},
        ]
        for scale, first, second, share, probability in rows
    ]  # fmt: skip
    return pd.DataFrame([row for part in parts for row in part])


def reliability() -> pd.DataFrame:
    rows = [("position_share", 0.9), ("wording_agreement", float("nan")), ("mass", 0.1)]
    about = {**ABOUT, "judge": "none (rating)", "condition": "baseline", "trait": "all"}
    return pd.DataFrame([{**about, "metric": m, "estimate": e} for m, e in rows])


@pytest.fixture
def ax() -> Any:
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def points(ax: Any) -> list[tuple[float, str]]:
    """Where the markers are, and their fill."""
    lines = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    return [(float(line.get_xdata()[0]), str(line.get_markerfacecolor())) for line in lines]


def test_scores_are_drawn_on_the_whole_scale_with_its_midpoint(ax: Any) -> None:
    plot_inventory_scores(scores(), ax)
    assert [x for x, _ in points(ax)] == [2.0, 2.0, 4.0, 4.0]
    assert ax.lines[0].get_xdata() == [3.0, 3.0]
    low, high = ax.get_xlim()
    assert low < 1 and high > 5
    assert [label.get_text() for label in ax.get_yticklabels()] == ["warmth", "order"]
    assert ax.get_xlabel() == "score"


def test_undecided_poles_are_hollow_and_poles_stand_at_the_ends(ax: Any) -> None:
    plot_type_poles(types(), ax)
    (first, fill), (second, hollow) = points(ax)
    assert (first, second, hollow) == (0.8, 0.4, "white")
    assert fill != "white"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["I", "N"]
    assert [text.get_text() for text in ax.texts] == ["E", "S"]


def test_reliability_leaves_out_what_was_not_measured_and_what_has_other_units(ax: Any) -> None:
    plot_reliability(reliability(), ax)
    assert [x for x, _ in points(ax)] == [0.9]
    assert "same place in both orders" in [label.get_text() for label in ax.get_yticklabels()]


def test_movement_frames_the_diagonal_and_sets_sure_cells_in_bold(ax: Any) -> None:
    rows = [("a", "a", 2.0, 1.0), ("a", "b", 0.1, -1.0), ("b", "a", -0.2, -1.0), ("b", "b", 1.0, 0.5)]
    frame = pd.DataFrame([{"trait": t, "scale": s, "estimate": e, "low": low, "high": e + 1} for t, s, e, low in rows])
    image = plot_movement(frame, ax, traits=["a", "b"], limit=2.0)
    assert image.get_clim() == (-2, 2)
    assert len(ax.patches) == 2
    assert {t.get_text(): t.get_weight() for t in ax.texts} == {
        "2": "bold", "0.1": "normal", "-0.2": "normal", "1": "bold",
    }  # fmt: skip


def test_a_figure_a_model_with_a_panel_an_inventory_and_format() -> None:
    frame = pd.concat(
        [scores(), scores(0, 1, data="pairs", judge="none (statement, pmi)"), scores(model="n"), types(), reliability()]
    )
    with paper_style():
        drawn = draw_inventory(frame)
        names = ["inventory_scores", "inventory_scores_2", "inventory_types", "inventory_reliability"]
        assert [made.name for made in drawn] == names
        titles = [ax.get_title(loc="left") for ax in drawn[0].figure.axes]
        assert titles == ["big: ratings", "pairs: statements said", "big: statements said", ""]
        assert set(drawn[1].frame["model"]) == {"n"}
        assert drawn[0].caption.startswith("m. ")
        assert [ax.get_title(loc="left") for ax in drawn[2].figure.axes] == ["big: statements said"]
        assert [text.get_text() for text in drawn[2].figure.legends[0].texts] == ["baseline", "undecided"]
