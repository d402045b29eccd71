"""Figures of dictionaries: training, densities, and texts with their tokens shaded."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from persona_interp.figures.contexts import contexts_html, plot_contexts
from persona_interp.figures.style import paper_style
from persona_interp.studies.dictionary.figures import plot_densities, plot_losses


def test_figures_show_what_is_in_the_tables() -> None:
    losses = pd.DataFrame({"tokens": [256, 2816, 5000], "fvu": [1.0, 0.6, 0.4]})
    densities = pd.DataFrame({"latent": range(6), "density": [0, 0, 0.5, 0.02, 0.015, 0.0004], "mean_active": 1.0})
    with paper_style():
        figure, (left, right) = plt.subplots(1, 2)
        plot_losses(losses, left)
        plot_densities(densities, right)
        np.testing.assert_allclose(left.lines[0].get_ydata(), losses["fvu"])
        heights = [bar.get_height() for bar in right.patches]
        assert sum(heights) == 6 and heights[-1] == 2
        plt.close(figure)


def test_tokens_are_shaded_by_share_of_the_largest_and_escaped() -> None:
    rows = [(7, 0, " a", 0.0, False), (7, 0, "<b>\n", 4.0, True), (7, 1, "c\x00", 1.0, True), (9, 0, "$x$", 0.5, True)]
    frame = pd.DataFrame(rows, columns=["latent", "rank", "token", "activation", "is_peak"]).assign(position=0, text=0)
    page = contexts_html(frame)
    assert "&lt;b&gt;⏎" in page and "<b>" not in page and "c·" in page
    assert page.count('<p class="context"') == 3 and page.count(",1.00)") == 2 and ",0.25)" in page
    with paper_style():
        figure, ax = plt.subplots()
        plot_contexts(frame, ax, width=20)
        shades = [to_rgba(patch.get_facecolor())[3] for patch in ax.patches]
        assert shades == pytest.approx([0, 0.75, 0.1875, 0.75])
        assert {text.get_text() for text in ax.texts} >= {"7", "9", "⏎", "$"}
        plt.close(figure)


def test_a_long_line_keeps_its_peak() -> None:
    tokens = [f"word{k}" for k in range(40)]
    frame = pd.DataFrame({"token": tokens, "activation": 1.0, "is_peak": [k == 30 for k in range(40)]})
    with paper_style():
        figure, ax = plt.subplots()
        plot_contexts(frame.assign(latent=1, rank=0, position=range(40), text=0), ax, width=30)
        outlined = [patch for patch in ax.patches if patch.get_linewidth() > 0]
        assert len(outlined) == 1 and sum(patch.get_width() for patch in ax.patches) <= 30
        plt.close(figure)
