"""The main job from a configuration to a report: what a run that nothing interrupted leaves behind."""

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp.directions.direction import Direction
from persona_interp.effects import load_effects
from persona_interp.errors import ConfigError
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.steering_null import DirectionTest
from persona_interp.models.hooked import HookedModelBase
from persona_interp.report import write_report
from persona_interp.statistics import benjamini_hochberg
from persona_interp.studies.persona.claims import corrected, out_of_reach
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.findings import GRADES
from persona_interp.studies.persona.results import load_results
from persona_interp.studies.persona.rows import baselines
from persona_interp.studies.persona.run import run_main_job
from persona_interp.types import POOLINGS
from tests.integration.main_job.conftest import results_of

TRAITS = ("cheerful", "gloomy")
TABLES = ("examples", "judge_pairs", "nulls", "steering_null")
FIGURES = (
    "baselines_by_layer",
    "coherence",
    "geometry",
    "headline",
    "judge_agreement",
    "relative_norm_by_layer",
    "separation_by_layer",
    "steering_dose_response",
    "steering_null",
)


@pytest.fixture(scope="module")
def whole(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run_main_job(config, folder) == folder
    assert write_report(folder) == folder / "report.html"
    return folder


def test_every_answer_and_score_is_kept(whole: Path, config: RunConfig) -> None:
    for trait in TRAITS:
        for part, n in (("extract", 2 * 2 * 4), ("held_out", 2 * 1 * 3)):
            folder = whole / "rollouts" / trait / part
            answers = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("part-*.parquet"))])
            scores = pd.read_parquet(folder / "scores.parquet")
            assert len(answers) == len(scores) == n
            assert {"question", "system", "side", "answer", "response_ids"} <= set(answers.columns)
            judges = ["embedding (all-MiniLM-L6-v2)", f"likelihood ({config.model})"]
            assert list(scores.columns) == [*judges, "coherent"]
            assert scores[judges].stack().between(0, 100).all()


def test_vectors_have_manifests_and_load(whole: Path, config: RunConfig) -> None:
    expected = {f"{t}.{p}.{end}" for t in TRAITS for p in POOLINGS for end in ("json", "safetensors")}
    assert {path.name for path in (whole / "vectors").iterdir()} == expected
    for trait in TRAITS:
        for pooling in POOLINGS:
            direction = Direction.load(whole / "vectors" / f"{trait}.{pooling}.safetensors")
            assert (direction.trait, direction.provenance.pooling) == (trait, pooling)
            assert direction.provenance.model == config.model
            assert direction.vectors.shape == (3, 32)


def test_measurements_hold_every_cell(whole: Path) -> None:
    frame = Measurements.load(whole / "measurements.parquet").frame
    assert set(frame["trait"]) == set(TRAITS)
    assert set(frame["method"]) == {"persona_vector"}
    assert set(frame["metric"]) == {"expression", "coherence", "passes_gate"}
    assert set(frame.loc[frame["method"] == "persona_vector", "coefficient"]) == {-0.3, 0.0, 0.3}


def test_every_table_and_figure_is_there(whole: Path) -> None:
    assert sorted(path.name for path in (whole / "tables").iterdir()) == [f"{name}.csv" for name in TABLES]
    expected = sorted(f"{name}.{end}" for name in FIGURES for end in ("csv", "pdf", "png"))
    assert sorted(path.name for path in (whole / "figures").iterdir()) == expected
    heads = {".png": b"\x89PNG\r\n\x1a\n", ".pdf": b"%PDF-"}
    for path in (whole / "figures").iterdir():
        assert path.read_bytes().startswith(heads.get(path.suffix, b""))
        assert path.suffix != ".csv" or len(pd.read_csv(path)) > 0
    assert load_results(whole).traits == list(TRAITS)


def test_the_report_is_self_contained(whole: Path) -> None:
    page = (whole / "report.html").read_text(encoding="utf-8")
    loads = re.findall(
        r"""(?:src|href|action|data)\s*=\s*["']([^"']*)|url\(([^)]*)\)|@import|<(?:script|link)\b""", page
    )
    assert [
        target for pair in loads for target in pair if target and not target.startswith(("data:image/png", "#"))
    ] == []
    assert not re.search(r"<(script|link|iframe|object|embed)\b|@import", page)
    assert page.count("data:image/png;base64,") == len(FIGURES)
    for expected in (*TRAITS, "How is snow?", "unsteered", "embedding (all-MiniLM-L6-v2)"):
        assert expected in page


def test_the_summary_is_of_these_numbers(whole: Path) -> None:
    for row, trait in zip(json.loads((whole / "summary.json").read_text()), TRAITS, strict=True):
        assert row["trait"] == trait
        assert (row["n_positive"], row["n_negative"]) == (8, 8)
        assert (row["n_kept_positive"], row["n_kept_negative"]) == (8, 8)
        assert row["filter"] == "none"
        assert (row["chosen_layer"], row["chosen_coefficient"]) == (1, 0.3)
        assert (row["test_layer"], row["test_coefficient"], row["n_random"]) == (1, 0.3, 19)
        assert 20 * row["p_steering"] in range(1, 21) and row["q_steering"] >= row["p_steering"]
        assert row["effect_random_low"] is None, "nineteen draws have a rank and no range"


def test_every_direction_of_the_test_is_kept(whole: Path) -> None:
    table = pd.read_csv(whole / "tables" / "steering_null.csv")
    assert table.groupby(["trait", "role"]).size().to_dict() == {
        (trait, role): n for trait in TRAITS for role, n in (("null_draw", 19), ("treatment", 1))
    }
    answers = pd.read_parquet(whole / "steering" / TRAITS[0] / "random" / "scored.parquet")
    assert answers["role"].value_counts().to_dict() == {"null_draw": 57, "treatment": 3, "unsteered": 3}
    assert answers.loc[answers["role"] == "null_draw", "answer"].nunique() > 3


def test_a_second_call_does_nothing_new(whole: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished run generated or judged again")

    monkeypatch.setattr(HookedModelBase, "generate", refuse)
    monkeypatch.setattr(EmbeddingJudge, "rate", refuse)
    monkeypatch.setattr(LikelihoodJudge, "rate", refuse)
    before = results_of(whole)
    run_main_job(config, whole)
    assert results_of(whole) == before


def test_another_configuration_in_the_folder_is_refused(whole: Path, config: RunConfig) -> None:
    before = results_of(whole)
    with pytest.raises(ConfigError) as caught:
        run_main_job(replace(config, seed=7, layers=(2,)), whole)
    assert str(caught.value) == (
        f"{whole} holds results of another configuration.\n"
        "  layers: there [1], now [2]\n"
        "  seed: there 2, now 7\n"
        "  Use another folder, or delete this one to start again."
    )
    assert results_of(whole) == before


def test_baselines_and_every_null_are_kept(whole: Path) -> None:
    compared = baselines(load_effects(whole))
    methods = ["lda", "logistic", "pca", "persona_vector", "random"]
    assert sorted(set(compared["method"])) == methods
    assert len(compared) == 2 * 5 * 3
    assert set(compared.loc[compared["place"] == "chosen", "layer"]) == {1}
    nulls = pd.read_csv(whole / "tables" / "nulls.csv")
    assert sorted(set(nulls["family"])) == ["components", "other_traits", "random_directions", "shuffled_labels"]
    assert set(nulls["test"]) == set(TRAITS)


def test_both_claims_of_all_traits_are_corrected_together(whole: Path) -> None:
    rows = json.loads((whole / "summary.json").read_text())
    assert {row["p_shuffled"] for row in rows} == {row["q_separation"] for row in rows} == {None}, "too few prompts"
    p, q = (np.array([row[f"{name}_steering"] for row in rows]) for name in "pq")
    np.testing.assert_allclose(q, benjamini_hochberg(p))
    assert {row["best_other_traits"] for row in rows} == set(TRAITS)


def test_untested_claims_do_not_count() -> None:
    separations = [
        {"p_shuffled": 0.008, "p_random": 0.02, "p_other_traits": None, "p_components": 0.04},
        {"p_shuffled": None, "p_random": 0.5, "p_other_traits": None, "p_components": None},
    ]
    test = DirectionTest(1, 0.3, 5.0, 0.01, -1.0, 1.0, 3.0, 100, 20)
    first, second = corrected(separations, [test, None])
    assert first == {"q_separation": 0.02, "q_steering": 0.02, "q_other_traits": None, "q_components": 0.04}
    assert set(second.values()) == {None}
    assert out_of_reach(2 / 252, 7) and not out_of_reach(2 / 252, 6)


def test_a_run_is_a_row_of_the_table_of_seeds(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "analyses"))
    rows = importlib.import_module("demo_seeds").rows_of_run(whole)
    assert [row["trait"] for row in rows] == list(TRAITS)
    for row, kept in zip(rows, load_results(whole).summary, strict=True):
        assert (row["effect"], row["chosen_layer"], row["n_random"]) == (kept.effect, 1, 19)
        assert row["minutes"] > 0 and 0 <= row["prompted answers that pass"] <= 1
        assert isinstance(row["rises with every strength"], bool) and row["grade"] in GRADES
