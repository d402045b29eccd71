import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from persona_interp.figures.geometry import plot_geometry
from persona_interp.figures.steering import layer_colors, plot_coherence, plot_expression
from persona_interp.studies.persona.figures.agreement import plot_agreement, plot_agreement_matrix
from persona_interp.studies.persona.figures.baselines import plot_baselines
from persona_interp.studies.persona.figures.norms import plot_relative_norm
from persona_interp.studies.persona.figures.separation import plot_separation
from persona_interp.studies.persona.rows import EXCHANGED, RANDOM


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def labelled(ax: Axes, label: str) -> np.ndarray:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(line.get_xydata())


def marked(ax: Axes, gid: str) -> list[tuple[float, float]]:
    return [
        (float(x), float(y)) for line in ax.lines if line.get_gid() == gid for x, y in np.asarray(line.get_xydata())
    ]


def separation_frame() -> pd.DataFrame:
    rows = [
        {"pooling": pooling, "layer": layer, "estimate": auc, "low": auc - 0.1, "high": auc + 0.1,
         "null_kind": kind, "null_high": high}
        for kind, high in ((EXCHANGED, 0.61), (RANDOM, 0.66))
        for pooling, base in (("prompt_last", 0.5), ("response_mean", 0.6))
        for layer, auc in ((2, base + 0.2), (0, base), (1, base + 0.3))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def steering_frame(coherent: bool = True) -> pd.DataFrame:
    rows = [
        {"role": role, "layer": layer, "coefficient": c, "estimate": 10.0 * c + layer,
         "low": 10.0 * c + layer - 3, "high": 10.0 * c + layer + 4, "coherent": coherent or abs(c) < 1}
        for role, layer in (("treatment", 12), ("treatment", 6), ("null", 6))
        for c in (1.0, -1.0, 0.0)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_separation_shows_the_saved_numbers_in_order_of_layer(ax: Axes):
    assert plot_separation(separation_frame(), ax, best_layer=1, steered_layer=2) is ax
    np.testing.assert_array_equal(labelled(ax, "response_mean"), [[0, 0.6], [1, 0.6 + 0.3], [2, 0.6 + 0.2]])
    np.testing.assert_array_equal(labelled(ax, "prompt_last")[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(labelled(ax, "exchanged prompts, 95th")[:, 1], [0.61] * 3)
    np.testing.assert_array_equal(labelled(ax, "random directions, 95th")[:, 1], [0.66] * 3)
    assert marked(ax, "best-layer") == [(1.0, 0.6 + 0.3)]
    assert labelled(ax, "layer chosen for steering")[0, 0] == 2
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer (0-based block)", "held-out AUC")


def test_separation_without_chosen_layers_marks_none(ax: Axes):
    plot_separation(separation_frame(), ax)
    assert marked(ax, "best-layer") == []
    assert "layer chosen for steering" not in [line.get_label() for line in ax.lines]


def test_the_main_pooling_is_the_thick_one(ax: Axes):
    plot_separation(separation_frame(), ax)
    widths = {line.get_label(): line.get_linewidth() for line in ax.lines}
    assert widths["response_mean"] >= 2 * widths["prompt_last"]


def test_expression_has_a_line_a_layer_and_grey_random_directions(ax: Axes):
    frame = steering_frame()
    colors = layer_colors(frame)
    assert list(colors) == [6, 12]
    assert plot_expression(frame, ax, colors=colors) is ax
    for layer in (6, 12):
        np.testing.assert_array_equal(labelled(ax, f"layer {layer}")[:, 1], [layer - 10, layer, layer + 10])
    (grey,) = [line for line in ax.lines if line.get_label() == "random directions"]
    red, green, blue = (int(to_hex(grey.get_color())[i : i + 2], 16) for i in (1, 3, 5))
    assert red == green == blue
    assert ax.get_xlabel() == "coefficient (mean residual norms)"
    assert ax.get_ylabel() == "expression (0–100)"


def test_layers_are_shifted_by_little_and_only_sideways(ax: Axes):
    frame = steering_frame()
    plot_expression(frame, ax, colors=layer_colors(frame))
    shift = labelled(ax, "layer 6")[:, 0] - [-1, 0, 1]
    assert np.allclose(shift, shift[0])
    assert 0 < abs(shift[0]) < 0.03
    np.testing.assert_array_equal(labelled(ax, "random directions")[:, 0], [-1, 0, 1])


def test_error_bars_are_the_saved_interval(ax: Axes):
    frame = steering_frame()
    plot_expression(frame[frame["role"] == "null"], ax, colors={})
    (bars,) = ax.collections
    ends = [tuple(np.asarray(path.vertices)[:, 1]) for path in bars.get_paths()]
    assert ends == [(-7.0, 0.0), (3.0, 10.0), (13.0, 20.0)]


@pytest.mark.parametrize("plot", [plot_expression, plot_coherence])
def test_exactly_the_incoherent_points_are_hollow(ax: Axes, plot):
    frame = steering_frame(coherent=False)
    plot(frame, ax, colors=layer_colors(frame))
    assert sorted(y for _, y in marked(ax, "incoherent")) == sorted(frame.loc[~frame["coherent"], "estimate"])
    assert all(line.get_markerfacecolor() == "white" for line in ax.lines if line.get_gid() == "incoherent")


def test_coherent_points_are_never_hollow(ax: Axes):
    frame = steering_frame()
    plot_expression(frame, ax, colors=layer_colors(frame))
    assert marked(ax, "incoherent") == []


def test_several_random_directions_at_one_coefficient_are_points_without_a_line(ax: Axes):
    frame = steering_frame()
    random = frame[frame["role"] == "null"]
    plot_expression(pd.concat([random, random.assign(estimate=1.0)]), ax, colors={})
    (line,) = [line for line in ax.lines if line.get_label() == "random directions"]
    assert line.get_linestyle() == "None"


def test_prompted_answers_are_reference_lines(ax: Axes):
    prompted = pd.DataFrame({"condition": ["positive", "negative"], "estimate": [70.0, 10.0]})
    frame = steering_frame()
    plot_expression(frame, ax, colors=layer_colors(frame), prompted=prompted)
    assert labelled(ax, "prompted: positive")[0, 1] == 70
    assert labelled(ax, "prompted: negative")[0, 1] == 10


def test_the_gate_is_a_line_only_where_it_is_known(ax: Axes):
    frame = steering_frame()
    plot_coherence(frame, ax, colors=layer_colors(frame))
    assert "coherence gate" not in [line.get_label() for line in ax.lines]
    plot_coherence(frame, ax, colors=layer_colors(frame), gate=60.0)
    assert labelled(ax, "coherence gate")[0, 1] == 60
    assert ax.get_ylabel() == "coherence (worst z-score)"


def geometry_frame() -> pd.DataFrame:
    return pd.DataFrame({"trait_a": ["a", "a"], "trait_b": ["b", "c"], "estimate": [-0.7, 0.1], "null_high": 0.2})


def test_geometry_is_symmetric_and_leaves_out_what_was_not_measured(ax: Axes):
    plot_geometry(geometry_frame(), ax, traits=["a", "b", "c"])
    values = np.ma.filled(ax.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(values, [[np.nan, -0.7, 0.1], [-0.7, np.nan, np.nan], [0.1, np.nan, np.nan]])
    assert ax.images[0].get_clim() == (-1, 1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert sorted(text.get_text() for text in ax.texts) == ["+0.10", "+0.10", "−0.70", "−0.70"]


def test_cells_within_the_null_are_grey(ax: Axes):
    plot_geometry(geometry_frame(), ax, traits=["a", "b", "c"])
    covered = sorted((p.get_x() + 0.5, p.get_y() + 0.5) for p in ax.patches if p.get_gid() == "within-null")
    assert covered == [(0, 2), (2, 0)]


def test_agreement_has_a_marker_a_condition_and_the_judges_on_the_axes(ax: Axes):
    frame = pd.DataFrame(
        {"condition": ["steered", "positive prompt", "other"], "value_a": [1.0, 90.0, 5], "value_b": [2.0, 80.0, 6]}
    )
    plot_agreement(frame, ax, judge_a="first", judge_b="second")
    points = {c.get_label(): np.asarray(c.get_offsets()).tolist() for c in ax.collections}
    assert points == {"steered": [[1, 2]], "positive prompt": [[90, 80]], "other": [[5, 6]]}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("first\n(0–100)", "second\n(0–100)")


def test_relative_norm_has_a_line_a_trait_from_zero(ax: Axes):
    frame = pd.DataFrame({"trait": ["a", "a", "b"], "layer": [1, 0, 0], "estimate": [0.3, 0.2, 0.1]})
    plot_relative_norm(frame, ax, traits=["a", "b"])
    np.testing.assert_array_equal(labelled(ax, "a"), [[0, 0.2], [1, 0.3]])
    assert ax.get_ylim()[0] == 0
    assert "mean residual norm" in ax.get_ylabel()


def test_the_matrix_of_judges_shows_every_pair_once_with_its_interval(ax: Axes):
    pairs = [("a", "b", 0.8), ("a", "c", 0.1), ("c", "b", -0.3)]
    frame = pd.DataFrame(
        [{"judge_a": a, "judge_b": b, "estimate": r, "low": r - 0.1, "high": r + 0.1} for a, b, r in pairs]
    )
    plot_agreement_matrix(frame, ax, judges=["a", "b", "c"])
    values = np.ma.filled(ax.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(values, [[0.8, np.nan], [0.1, -0.3]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"]
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places["+0.80\n[0.70, 0.90]"] == (0, 1)
    assert places["−0.30\n[−0.40, −0.20]"] == (1, 2)


def test_baselines_have_a_line_a_method_and_only_the_persona_vector_an_interval(ax: Axes):
    frame = pd.DataFrame(
        [
            {"method": method, "layer": layer, "estimate": auc, "low": auc - 0.1, "high": auc + 0.1, "place": place}
            for method, auc in (("random", 0.5), ("persona_vector", 0.9), ("mine", 0.7))
            for layer, place in ((1, "chosen"), (0, "swept"))
        ]
    )
    plot_baselines(frame, ax)
    np.testing.assert_array_equal(labelled(ax, "persona vector"), [[0, 0.9], [1, 0.9]])
    np.testing.assert_array_equal(labelled(ax, "random")[:, 1], [0.5, 0.5])
    np.testing.assert_array_equal(labelled(ax, "mine")[:, 1], [0.7, 0.7])
    assert labelled(ax, "layer chosen for steering")[0, 0] == 1
    assert len(ax.collections) == 1
