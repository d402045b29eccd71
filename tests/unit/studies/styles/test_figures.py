"""Figures of styles: what is drawn is what the effects say."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_interp.figures.style import paper_style
from persona_interp.studies.styles.figures import draw_style_probe, draw_style_steering, plot_style_probe, steering_rows
from tests.unit.studies.styles.found import effects_of


def test_the_probe_has_a_line_a_readout_and_hollow_points_for_embeddings() -> None:
    with paper_style():
        ax = Figure().subplots()
        effects = effects_of()
        plot_style_probe(effects[(effects["metric"] == "AUC") & (effects["trait"] == "a")], ax, layers=[1])
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["logistic probe"].get_ydata(), [0.7, 0.8])
    np.testing.assert_allclose(lines["style vector"].get_ydata(), [0.6, 0.7])
    np.testing.assert_allclose(lines["shuffled labels, 95th"].get_ydata(), [0.6, 0.6])
    assert lines["… largest over layers"].get_ydata()[0] == 0.65
    hollow = [line for line in ax.get_lines() if line.get_gid() == "embedding"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in hollow] == [(-1, 0.6), (-1, 0.5)]


def test_there_is_a_panel_a_style() -> None:
    effects = effects_of(("a", "b", "c", "d"))
    with paper_style():
        (drawn,) = draw_style_probe(effects, layers=[1])
    assert [ax.get_title(loc="left") for ax in drawn.figure.axes if ax.axison] == ["a", "b", "c", "d"]
    assert drawn.name == "style_probe_k" and "k, m/x: held-out AUC" in drawn.caption
    both = pd.concat([effects, effects.assign(model="n")])
    with paper_style():
        assert [each.name for each in draw_style_probe(both)] == ["style_probe_k_m-x", "style_probe_k_n"]


def test_the_forest_shows_chosen_places_and_named_ones_where_none_was_chosen() -> None:
    rows = steering_rows(effects_of())
    here = rows[(rows["trait"] == "a") & (rows["condition"] == "answers to factual prompts")]
    assert here["method"].tolist() == ["prompt", "style_vector", "style_vector"]
    assert here["strength"].tolist()[1:] == [0.4, 0.2] and here["layers"].tolist()[1:] == ["1", "1+2"]
    assert here["null_high"].tolist()[2] == 1.0, "the row with its null, where there is one"
    at = steering_rows(effects_of(), strength=0.2)
    assert set(at["strength"].dropna()) == {0.2} and "prompt" in set(at["method"])


def test_points_are_effects_and_hollow_where_incoherent() -> None:
    with paper_style():
        (drawn,) = draw_style_steering(effects_of())
    axes = [ax for ax in drawn.figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in axes] == ["a", "b"]
    points = {
        (line.get_label(), float(line.get_xdata()[0])) for line in axes[0].get_lines() if line.get_marker() == "o"
    }
    assert {("factual", 1.0), ("subjective", 3.0), ("factual", 4.0)} <= points
    hollow = [line for line in axes[0].get_lines() if line.get_gid() == "incoherent"]
    assert [float(line.get_xdata()[0]) for line in hollow] == [3.0, 3.0]
    arms = [text.get_text() for text in axes[0].get_yticklabels()]
    assert arms == ["prompted", "activations, layer 1", "activations, layers 1+2"]
