import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from persona_interp.effects import load_effects
from persona_interp.errors import ArtefactError
from persona_interp.figures.style import PAGE_WIDTH, paper_style
from persona_interp.studies.persona.figures.drawing import draw_main_job
from persona_interp.studies.persona.results import FORMS, load_results
from persona_interp.studies.persona.rows import AUC, COSINE, NORM

NAMES = [
    "separation_by_layer",
    "baselines_by_layer",
    "steering_dose_response",
    "coherence",
    "steering_null",
    "geometry",
    "judge_agreement",
    "judge_matrix",
    "relative_norm_by_layer",
]


def drawn_names(folder: Path) -> list[str]:
    with paper_style():
        return [figure.name for figure in draw_main_job(load_results(folder))]


def change(path: Path, edit) -> None:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    edit(frame).to_csv(path, index=False)


def only(folder: Path, *metrics: str) -> None:
    """Leave the effects with these metrics alone."""
    effects = pd.read_parquet(folder / "effects.parquet")
    effects[effects["metric"].isin(metrics)].to_parquet(folder / "effects.parquet")


def test_every_figure_has_its_three_files(drawn: Path):
    files = {path.name for path in (drawn / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in NAMES for kind in ("png", "pdf", "csv")}
    for name in NAMES:
        with Image.open(drawn / "figures" / f"{name}.png") as image:
            assert image.width == round(PAGE_WIDTH * 200)
            assert len(set(image.convert("L").getextrema())) == 2
        assert (drawn / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF-")


def test_plotted_numbers_are_the_saved_numbers(drawn: Path):
    def read(path: str) -> pd.DataFrame:
        return pd.read_csv(drawn / path)

    effects = load_effects(drawn)
    shown = read("figures/separation_by_layer.csv")
    assert len(shown) == 3 * 3 * 30 * 2, "traits, poolings, layers, nulls"
    same = effects.set_index("effect_id").loc[shown["effect_id"]]
    np.testing.assert_array_equal(shown["estimate"], same["estimate"])
    np.testing.assert_array_equal(shown["null_high"], same["null_high"])
    steered = read("figures/steering_dose_response.csv")
    same = effects.set_index("effect_id").loc[steered["effect_id"]]
    np.testing.assert_array_equal(steered[["estimate", "low", "high"]], same[["estimate", "low", "high"]])
    assert set(steered["metric"]) == {"expression"} and len(steered) == 3 * (4 * 5 + 1) * 2


def test_drawing_opens_no_window_and_keeps_no_figure(results_folder: Path):
    from matplotlib import _pylab_helpers

    before = len(_pylab_helpers.Gcf.figs)
    assert drawn_names(results_folder) == NAMES
    assert len(_pylab_helpers.Gcf.figs) == before


def test_captions_state_counts_and_judge(results_folder: Path):
    with paper_style():
        captions = {figure.name: figure.caption for figure in draw_main_job(load_results(results_folder))}
    assert "impolite 52 to positive and 55 to negative prompts" in captions["separation_by_layer"]
    assert "n = 40 answers to 20 questions" in captions["steering_dose_response"]
    assert "Judge: likelihood (smollm2-135m-instruct), lexicon." in captions["steering_dose_response"]
    assert "Dashed line: the coherence gate." in captions["coherence"]
    assert "n = 90 a panel" in captions["judge_agreement"]
    assert "at layers 12, 18" in captions["geometry"]


def test_panels_have_units_and_hollow_points_their_legend(results_folder: Path):
    with paper_style():
        figures = {figure.name: figure.figure for figure in draw_main_job(load_results(results_folder))}
    axes = figures["steering_dose_response"].axes
    assert len(axes) == 6
    assert axes[0].get_ylabel().startswith("expression (0–100)\njudge: likelihood")
    assert axes[-1].get_xlabel() == "coefficient (mean residual norms)"
    assert len({ax.get_ylim() for ax in axes[:3]}) == 1
    legend = [text.get_text() for text in figures["steering_dose_response"].legends[0].get_texts()]
    assert "fails coherence gate" in legend
    assert figures["coherence"].axes[0].get_ylabel().startswith("coherence (worst z-score)")


@pytest.mark.parametrize("table", ["steering_null", "judge_pairs", "examples"])
def test_a_missing_table_is_none(results_folder: Path, table: str):
    (results_folder / "tables" / f"{table}.csv").unlink()
    assert getattr(load_results(results_folder), table) is None


def test_what_was_not_found_leaves_its_figures_out(results_folder: Path):
    for table in FORMS:
        (results_folder / "tables" / f"{table}.csv").unlink()
    only(results_folder, AUC, NORM)
    assert drawn_names(results_folder) == [*NAMES[:2], "relative_norm_by_layer"]


def test_tables_without_rows_leave_their_figures_out(results_folder: Path):
    for table in FORMS:
        change(results_folder / "tables" / f"{table}.csv", lambda frame: frame.head(0))
    only(results_folder, NORM)
    assert drawn_names(results_folder) == ["relative_norm_by_layer"]


def test_pairs_without_correlations_are_drawn(results_folder: Path):
    only(results_folder, COSINE)
    assert drawn_names(results_folder) == ["steering_null", "geometry", "judge_agreement"]


@pytest.mark.parametrize("name", ["config.json", "provenance_persona.json", "summary.json", "effects.parquet"])
def test_a_missing_required_file_is_named(results_folder: Path, name: str):
    (results_folder / name).unlink()
    with pytest.raises(ArtefactError) as error:
        load_results(results_folder)
    assert f"{results_folder / name} does not exist." in str(error.value)


def test_four_traits_take_two_figures(results_folder: Path):
    summary = json.loads((results_folder / "summary.json").read_text())
    (results_folder / "summary.json").write_text(json.dumps([*summary, {**summary[0], "trait": "$x$"}]))
    effects = pd.read_parquet(results_folder / "effects.parquet")
    fourth = effects[effects["trait"] == "evil"].assign(trait="$x$")
    pd.concat([effects, fourth]).to_parquet(results_folder / "effects.parquet")
    names = drawn_names(results_folder)
    assert names[2:6] == ["steering_dose_response", "steering_dose_response_2", "coherence", "coherence_2"]


def test_one_trait_alone_is_drawn(results_folder: Path):
    summary = json.loads((results_folder / "summary.json").read_text())
    (results_folder / "summary.json").write_text(json.dumps(summary[:1]))
    for table in FORMS:
        change(results_folder / "tables" / f"{table}.csv", lambda frame: frame[frame["trait"] == "impolite"])
    effects = pd.read_parquet(results_folder / "effects.parquet")
    alone = (effects["trait"] == "impolite") & ~effects["reference"].fillna("").str.startswith("vector of")
    effects[alone].to_parquet(results_folder / "effects.parquet")
    assert drawn_names(results_folder) == [name for name in NAMES if name != "geometry"]


def test_a_missing_column_is_named_with_its_file(results_folder: Path):
    change(results_folder / "tables" / "examples.csv", lambda frame: frame.drop(columns=["question", "layer"]))
    with pytest.raises(ArtefactError, match=r"examples\.csv: column question is missing\.\n.*column layer is missing"):
        load_results(results_folder)


@pytest.mark.parametrize(("column", "value"), [("effect", "high"), ("layer", "two")])
def test_a_cell_of_another_kind_is_named(results_folder: Path, column: str, value: str):
    change(results_folder / "tables" / "steering_null.csv", lambda frame: frame.assign(**{column: value}))
    with pytest.raises(ArtefactError, match=rf"steering_null\.csv: column {column}.*{value}"):
        load_results(results_folder)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b'a,b\n1,"2\n3'])
@pytest.mark.parametrize("name", ["tables/judge_pairs.csv", "effects.parquet"])
def test_a_broken_table_is_named(results_folder: Path, data: bytes, name: str):
    (results_folder / name).write_bytes(data)
    with pytest.raises(ArtefactError, match=name):
        load_results(results_folder)


@pytest.mark.parametrize("text", ["{}", "[]", "[1]", '[{"trait": "evil"}]', "not json"])
def test_a_broken_summary_is_named(results_folder: Path, text: str):
    (results_folder / "summary.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"summary\.json"):
        load_results(results_folder)


def test_words_that_look_missing_stay_words_and_numbers_stay_exact(results_folder: Path):
    path = results_folder / "tables" / "examples.csv"
    change(path, lambda frame: frame.assign(answer="NA", expression="", coherence="0.30000000000000004"))
    examples = load_results(results_folder).examples
    assert examples is not None
    assert set(examples["answer"]) == {"NA"}
    assert examples["expression"].isna().all()
    assert (examples["coherence"] == 0.1 + 0.2).all()
