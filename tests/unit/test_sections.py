"""Sections of the report from tables alone: what they say, what they refuse, and a page without a main job."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from persona_interp.effects import Effect, Source, claims_table, effects_table, write_effects
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.figures.style import PNG_DPI
from persona_interp.io import write_json
from persona_interp.redraw import redraw
from persona_interp.report import sections_of, write_report
from persona_interp.sections.effects import Shown, effects_section_table
from persona_interp.sections.section import count, saved_table, spread, table
from persona_interp.studies.psychadapter.effects import adapter_effects
from persona_interp.tables import Form, read_table, texts, wholes, write_table
from tests.unit.studies.styles.found import found

HOSTILE = "<b>joy</b>"
PARSED_BOLD = "<b>joy"


def write(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "tables" / f"{name}.csv", index=False)


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    source = Source("styles", "run", "tiny")
    effects, claims = found((HOSTILE, "calm"), corpus="emotion")
    write_effects(tmp_path, "styles", effects_table(source, effects), claims_table(source, claims))
    write_json(tmp_path / "provenance_styles.json", {"model": {"model": "tiny-a"}, "chosen_by": "one"})
    return tmp_path


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    nll = [
        {"trait": "all", "metric": metric, "condition": condition, "estimate": x, "low": x - 0.1, "high": x + 0.1}
        | {"n": 9, "p": p, "q": p, "declared": "primary", "detectable": 0.1, "data": "texts"}
        for metric, condition, x, p in (
            ("nll", "right", 3.0, np.nan),
            ("nll", "no adapter", 3.2, np.nan),
            ("nll difference", "no adapter", 0.2, 0.001),
            ("nll difference", "shuffled", 0.25, 0.002),
        )
    ]
    source = Source("psychadapter", "run", "tiny")
    effects, claims = adapter_effects({"nll": pd.DataFrame(nll)}, n_layers=3)
    write_effects(tmp_path, source.study, effects_table(source, effects), claims_table(source, claims))
    return tmp_path


def page(folder: Path) -> str:
    text = re.sub(r'src="[^"]*"', "", write_report(folder).read_text(encoding="utf-8"))
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def test_styles_are_told_with_their_intervals(styles: Path):
    (section,) = sections_of(styles)
    told = section.sentences[0]
    assert told == (
        f"The style vector tells held-out sentences of the style {HOSTILE} from the others: AUC 0.70 [0.60, 0.80] at"
        " layer 1, q 0.02."
    )
    assert section.sentences[1].startswith("The style vector is not shown to tell held-out sentences of the style calm")
    steered = (
        f"Adding the vector (style_vector) at 1+2, coefficient 0.2, raises {HOSTILE} in answers to factual prompts:"
    )
    assert any(sentence.startswith(f"{steered} +4.0 [+3.5, +4.5] points of 100") for sentence in section.sentences)
    titles = ["Styles told apart in held-out sentences", "What the judges can tell apart", "Steered styles"]
    assert [table.title for table in section.tables] == titles
    assert section.figures and all(len(figure.frame) for figure in section.figures)


def test_a_table_has_what_differs_in_columns_and_what_is_shared_in_its_note(styles: Path):
    told, _, steered = sections_of(styles)[0].tables
    headings = [heading for heading, _ in told.headings]
    assert headings[:2] == ["trait", "method"] and {"p", "q", "found in 80 %", "null, middle 95 %"} <= set(headings)
    assert "layers" not in headings and "layers: 1;" in told.note and "metric: AUC" in told.note
    row = dict(zip(headings, told.rows[0], strict=True))
    assert (row["estimate"], row["null, middle 95 %"], row["q"]) == ("0.80 [0.70, 0.90]", "up to 0.65", "0.020")
    shown = [dict(zip([name for name, _ in steered.headings], cells, strict=True)) for cells in steered.rows]
    assert [row["estimate"] for row in shown[:3]] == ["+1.0 [+0.5, +1.5]", "+3.0 [+2.5, +3.5]", "+4.0 [+3.5, +4.5]"]
    assert [row["null, middle 95 %"] for row in shown[:3]] == ["—", "—", "[−1.0, 1.0]"]


def test_a_page_without_a_main_job_has_the_sections_and_escapes_them(styles: Path):
    text = page(styles)
    assert "Style vectors: tiny-a" in text
    assert HOSTILE in text
    assert PARSED_BOLD not in re.sub(r"&lt;", "", (styles / "report.html").read_text(encoding="utf-8"))


def test_sections_stand_together_in_one_page(styles: Path, adapter: Path):
    assert styles == adapter
    assert [section.key for section in sections_of(styles)] == ["styles", "psychadapter"]
    assert "held-out loss is 0.250 [0.150, 0.350] nats a token above" in page(styles)
    assert "+0.200 [+0.100, +0.300]" in page(styles)
    names = re.findall(r"<b>Figure (\d+)\.", (styles / "report.html").read_text(encoding="utf-8"))
    assert names == [str(i + 1) for i in range(len(names))] and len(names) >= 3


def test_a_study_without_a_section_of_its_own_has_a_table_a_metric(tmp_path: Path):
    effect = Effect(metric="score", trait="calm", condition="all", estimate=1.0, low=0.5, high=1.5, n=4)
    other = replace(effect, metric="number of words", low=None, high=None)
    steered = replace(effect, condition="steered", layers="3", strength=0.5)
    claim = effect.claimed("rises", "It rises.", "the interval lies above zero", "holds")
    source = Source("toy_study", "run", "tiny")
    write_effects(tmp_path, "toy_study", effects_table(source, [effect, other, steered]), claims_table(source, [claim]))
    (section,) = sections_of(tmp_path)
    assert (section.title, section.sentences) == ("Toy study", ("It rises.",))
    assert [table.title for table in section.tables] == ["Score", "Number of words"]
    numbers = ("1.00 [0.50, 1.50]", "4")
    assert section.tables[0].rows == (("calm", "all", "—", "—", *numbers), ("calm", "steered", "3", "0.500", *numbers))
    assert "strength" not in section.tables[0].note, "what one row has is not said of all"
    assert "Toy study: a model" in page(tmp_path)


def test_a_folder_with_nothing_to_report_is_refused(tmp_path: Path):
    with pytest.raises(ArtefactError, match="holds nothing to report"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_missing_column_is_named(adapter: Path):
    path = adapter / "effects.parquet"
    write_table(path, read_table(path).drop(columns="metric"))
    with pytest.raises(ArtefactError, match="effects.parquet: column metric is missing"):
        write_report(adapter)


def test_an_empty_table_is_as_good_as_none(tmp_path: Path):
    write(tmp_path, "judges", [])
    (tmp_path / "tables" / "judges.csv").write_text("a,b\n")
    assert saved_table(tmp_path, Form("judges", texts("a b"))) is None


@pytest.mark.parametrize(
    ("numbers", "said"),
    [((1.0, 0.5, 1.5), "1.00 [0.50, 1.50]"), ((np.nan, 0.0, 1.0), "—"), ((1.0, np.nan, np.nan), "1.00 [no interval]")],
)
def test_numbers_with_and_without_intervals(numbers: tuple[float, float, float], said: str):
    assert spread(*numbers) == said


def test_a_missing_count_is_said_to_be_missing(tmp_path: Path):
    write(tmp_path, "judges", [{"n": 3}, {"n": None}])
    frame = saved_table(tmp_path, Form("judges", wholes("n")))
    assert frame is not None
    assert table("judges", "", frame, [count("n")]).rows == (("3",), ("not recorded",))


def test_a_cell_of_another_kind_is_named(adapter: Path):
    path = adapter / "effects.parquet"
    write_table(path, read_table(path).assign(n="many"))
    with pytest.raises(ArtefactError, match=r"effects\.parquet: column n must hold a whole number, got 'many'"):
        write_report(adapter)


def test_the_best_layer_has_the_estimate_of_largest_size_whatever_its_sign():
    found = [Effect(metric="cosine", trait="loud", layers=str(k), estimate=x) for k, x in enumerate((0.3, -0.9, 0.1))]
    table = effects_table(Source("psychadapter", "run", "tiny"), found)
    shown = effects_section_table(table, Shown("Cosines", ("cosine",), best=True))
    assert shown is not None and len(shown.rows) == 1
    assert any(cell.startswith("\N{MINUS SIGN}0.90") for cell in shown.rows[0])


def test_figures_are_drawn_again_elsewhere_at_another_width(styles: Path, tmp_path: Path):
    out = tmp_path / "paper"
    saved = redraw(styles, out, width=3.3)
    assert saved and all(one.pdf.parent == out and one.csv.is_file() for one in saved)
    for one in saved:
        with Image.open(one.png) as image:
            assert image.width == round(3.3 * PNG_DPI)
    assert not (styles / "figures").exists()
    first = saved[0].png.stem
    assert [one.png.stem for one in redraw(styles, out, only=[first])] == [first]
    with pytest.raises(ConfigError, match=f"no figure of .* is called 'nothing'.\n  It has {first}"):
        redraw(styles, out, only=["nothing"])
    with pytest.raises(ArtefactError, match="has no figure to draw"):
        redraw(out, tmp_path / "more")
