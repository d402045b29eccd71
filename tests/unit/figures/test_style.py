from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from persona_interp.errors import ArtefactError
from persona_interp.figures.style import (
    COLUMN_WIDTH,
    PAGE_WIDTH,
    category,
    legend_below,
    panel_figure,
    paper_style,
    save_figure,
    sequential,
    wrap,
)

FRAME = pd.DataFrame({"layer": [0, 1], "auc": [0.1 + 0.2, 1 / 3]})


def line_figure() -> Figure:
    with paper_style():
        figure, [[ax]] = panel_figure(1, 1)
        ax.plot(FRAME["layer"], FRAME["auc"], label="auc")
        legend_below(figure)
    return figure


def test_three_files_of_the_right_kind_and_size(tmp_path: Path):
    png, pdf, csv = save_figure(line_figure(), FRAME, tmp_path, "curve")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["curve.csv", "curve.pdf", "curve.png"]
    with Image.open(png) as image:
        assert image.format == "PNG"
        assert image.size == (round(COLUMN_WIDTH * 200), round(2.5 * 200))
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert pdf.read_bytes().rstrip().endswith(b"%%EOF")
    pd.testing.assert_frame_equal(pd.read_csv(csv), FRAME, check_exact=True)


def test_equal_figures_are_equal_bytes(tmp_path: Path):
    first = [path.read_bytes() for path in save_figure(line_figure(), FRAME, tmp_path / "a", "curve")]
    second = [path.read_bytes() for path in save_figure(line_figure(), FRAME, tmp_path / "b", "curve")]
    assert first == second


@pytest.mark.parametrize("name", ["", ".", "..", "../curve", "a/b"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str):
    with pytest.raises(ArtefactError, match="cannot save a figure under the name"):
        save_figure(line_figure(), FRAME, tmp_path / "figures", name)
    assert not list(tmp_path.rglob("*"))


def test_the_callers_settings_come_back():
    before = mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]
    with pytest.raises(RuntimeError, match="inside"), paper_style():
        assert mpl.rcParams["text.parse_math"] is False
        raise RuntimeError("inside")
    assert (mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]) == before


def test_names_with_dollar_signs_are_not_mathematics(tmp_path: Path):
    with paper_style():
        figure, [[ax]] = panel_figure(1, 1)
        ax.set_title("$\\frac{ and $")
        png, *_ = save_figure(figure, FRAME, tmp_path, "curve")
    assert ax.title.get_parse_math() is False
    with Image.open(png) as image:
        assert np.asarray(image.convert("L")).min() < 128, "nothing was drawn"


def test_more_than_one_panel_takes_the_page():
    with paper_style():
        assert panel_figure(1, 2)[0].get_figwidth() == PAGE_WIDTH
        assert panel_figure(3, 1)[0].get_figwidth() == COLUMN_WIDTH


def test_at_another_width_panels_stand_below_one_another_where_they_would_be_too_narrow():
    with paper_style(COLUMN_WIDTH):
        figure, grid = panel_figure(2, 3)
        assert figure.get_figwidth() == COLUMN_WIDTH and [len(row) for row in grid] == [3, 3]
        places = [ax.get_subplotspec() for row in grid for ax in row]
        assert [(place.rowspan.start, place.colspan.start) for place in places if place] == [(k, 0) for k in range(6)]
    with paper_style(5.0):
        figure, [row] = panel_figure(1, 3)
        places = [ax.get_subplotspec() for ax in row]
        assert [(place.rowspan.start, place.colspan.start) for place in places if place] == [(0, 0), (0, 1), (1, 0)]
        assert sum(ax.get_visible() for ax in figure.axes) == 3
    with paper_style(PAGE_WIDTH), paper_style():
        assert panel_figure(1, 1)[0].get_figwidth() == PAGE_WIDTH
    with paper_style():
        assert panel_figure(1, 1)[0].get_figwidth() == COLUMN_WIDTH


def test_a_label_is_in_the_legend_once():
    with paper_style():
        figure, [row] = panel_figure(1, 2)
        for ax in row:
            ax.plot([0, 1], label="layer 3")
        legend_below(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["layer 3"]


@given(st.integers(1, 40))
def test_layers_go_from_light_to_dark(n: int):
    brightness = [sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), to_rgb(c), strict=True)) for c in sequential(n)]
    assert len(brightness) == n
    assert brightness == sorted(brightness, reverse=True)
    assert max(brightness) < 0.8


def test_categories_stay_apart_when_the_colours_run_out():
    assert len({category(index) for index in range(32)}) == 32


@given(st.text(max_size=300), st.integers(5, 40))
def test_wrapped_text_is_at_most_three_short_lines(text: str, width: int):
    lines = wrap(text, width).split("\n")
    assert 1 <= len(lines) <= 3
    assert all(len(line) <= width for line in lines)
