"""Sheets for human raters: blind, stable, read back whoever saved them; planted agreement is found."""

from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

from persona_interp.effects import saved_claims, saved_effects
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.judges.consensus import CONSENSUS
from persona_interp.statistics import krippendorff_alpha_interval
from persona_interp.studies.persona.raters.answers import KINDS, rated_run
from persona_interp.studies.persona.raters.beside import NO_RATER, rater_clause, raters_in_short, with_raters
from persona_interp.studies.persona.raters.ratings import import_sheets
from persona_interp.studies.persona.raters.sheet import KEY, SHEET, export_sheet
from persona_interp.studies.persona.rows import ALPHA_RATERS, AUC_RATERS, RATERS, RHO_RATERS
from persona_interp.tables import read_table
from tests.rated_run import BLIND, FORMULA, SEES, fill, rated_folder, truth_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return rated_folder(tmp_path / "run")


def key_of(run: Path) -> DataFrame:
    return read_table(run / "raters" / "key.parquet", KEY)


def effects_of(run: Path) -> DataFrame:
    found = saved_effects(run, RATERS)
    assert found is not None
    return found


def test_a_sheet_has_every_kind_of_answer_and_tells_none_of_them(run: Path, tmp_path: Path) -> None:
    sheet = export_sheet(run, tmp_path / "sheet.csv", n=30)
    assert tuple(sheet.columns) == SHEET and len(sheet) == 30
    key = key_of(run)
    assert dict(key["kind"].value_counts()) == dict.fromkeys(KINDS, 6)
    assert list(key["kind"]) != sorted(key["kind"], key=KINDS.index), "shuffled"
    whole = (tmp_path / "sheet.csv").read_text("utf-8-sig")
    assert not any(word in whole for word in (*KINDS, SEES, BLIND, "12,0.5"))
    assert "How impolite is the answer?" in sheet["description"][0]
    answers = rated_run(run).answers["impolite"]
    prompted = answers[answers["part"] == "held out"]
    assert set(prompted["row"]) == {*range(12, 24), *range(36, 48)}, "the first pair is what the likelihood judge reads"
    assert key["question"].nunique() == 12, "the questions take turns"


def test_ids_are_those_of_the_seed_and_a_larger_sheet_has_the_smaller_one(run: Path, tmp_path: Path) -> None:
    first = export_sheet(run, tmp_path / "a.csv", n=20)
    assert export_sheet(run, tmp_path / "b.csv", n=20).equals(first)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    other = export_sheet(run, tmp_path / "c.csv", n=20, seed=1)
    assert not set(other["id"]) & set(first["id"])
    larger = export_sheet(run, tmp_path / "d.csv", n=30)
    assert set(first["id"]) < set(larger["id"])
    assert len(key_of(run)) == 50, "the key has all that was ever exported, each once"
    assert all(name.startswith("id") and len(name) == 12 for name in first["id"]), "no number, no date"


def test_traits_share_a_sheet_and_a_run_with_fewer_answers_gives_all(tmp_path: Path) -> None:
    run = rated_folder(tmp_path / "run", ("impolite", "optimistic"))
    sheet = export_sheet(run, tmp_path / "s.csv", n=31)
    assert dict(sheet["trait"].value_counts()) == {"impolite": 16, "optimistic": 15}
    assert len(export_sheet(run, tmp_path / "all.csv", n=1000)) == 2 * 60
    with pytest.raises(ConfigError, match="n must be at least 10, got 9"):
        export_sheet(run, tmp_path / "few.csv", n=9)


def test_a_formula_is_inert_in_the_sheet_and_itself_when_read_back(run: Path, tmp_path: Path) -> None:
    sheet = export_sheet(run, tmp_path / "s.csv", n=1000)
    assert f"'{FORMULA}" in (tmp_path / "s.csv").read_text("utf-8-sig")
    assert list(read_table(tmp_path / "s.csv")["answer"]) == list(sheet["answer"]) and FORMULA in set(sheet["answer"])


def test_a_filled_sheet_is_not_written_over(run: Path, tmp_path: Path) -> None:
    export_sheet(run, tmp_path / "s.csv")
    export_sheet(run, tmp_path / "s.csv")
    fill(tmp_path / "s.csv", tmp_path / "s.csv", noise=5)
    with pytest.raises(ArtefactError, match="may hold ratings"):
        export_sheet(run, tmp_path / "s.csv")


def test_planted_agreement_is_found(run: Path, tmp_path: Path) -> None:
    """Raters with noise of 10 around a truth of known variance; a judge that sees it too, and one that is blind."""
    sheet = export_sheet(run, tmp_path / "s.csv", n=60)
    names = ("anna", "ben", "cleo")
    files = [fill(tmp_path / "s.csv", tmp_path / f"{n}.csv", noise=10, seed=k) for k, n in enumerate(names)]
    import_sheets(run, files)
    effects = effects_of(run)
    alpha = effects[effects["metric"] == ALPHA_RATERS].iloc[0]
    variance = np.var([truth_of(answer) for answer in sheet["answer"]])
    assert alpha["low"] < variance / (variance + 10**2) < alpha["high"] and alpha["reference"] == "3 human raters"
    ratings = np.array([read_table(file)["rating"].to_numpy(float) for file in files])
    assert alpha["estimate"] == pytest.approx(krippendorff_alpha_interval(ratings))
    rho = effects[effects["metric"] == RHO_RATERS].set_index("judge")
    assert list(rho.index) == [CONSENSUS, SEES, BLIND]
    assert rho.loc[SEES, "low"] > 0.7 and rho.loc[SEES, "q"] < 0.001
    assert rho.loc[BLIND, "low"] < 0 < rho.loc[BLIND, "high"] and rho.loc[BLIND, "q"] > 0.05
    assert rho.loc[SEES, "n"] == 60 and rho.loc[SEES, "n_cluster"] == 12
    assert rho.loc[CONSENSUS, "estimate"] == pytest.approx(rho.loc[SEES, "estimate"]), "of that judge alone"
    auc = effects[effects["metric"] == AUC_RATERS].set_index("judge")
    assert auc.loc[SEES, "estimate"] > 0.95 and auc.loc[BLIND, "low"] < 0.5 < auc.loc[BLIND, "high"]
    claims = saved_claims(run, RATERS)
    assert claims is not None and list(claims["verdict"]) == ["holds", "holds", "undecided"]


def test_the_same_rater_replaces_and_others_stay(run: Path, tmp_path: Path) -> None:
    export_sheet(run, tmp_path / "s.csv", n=20)
    anna, ben = (fill(tmp_path / "s.csv", tmp_path / f"{name}.csv", noise=5, seed=7) for name in ("anna", "ben"))
    import_sheets(run, [anna])
    (alpha,) = effects_of(run).query("metric == @ALPHA_RATERS")["estimate"]
    assert alpha != alpha, "one rater agrees with nobody"
    import_sheets(run, [ben])
    fill(tmp_path / "s.csv", anna, noise=5, seed=8, every=2)
    kept = import_sheets(run, [anna])
    assert dict(kept["rater"].value_counts()) == {"ben": 20, "anna": 10}
    found = effects_of(run)
    assert list(found.loc[found["metric"] == ALPHA_RATERS, "n"]) == [10], "answers with two ratings"
    assert list(found.loc[found["metric"] == RHO_RATERS, "n"]) == [20] * 3, "answers with a rating"


def test_what_people_say_stands_beside_every_number_of_a_judge(run: Path, tmp_path: Path) -> None:
    export_sheet(run, tmp_path / "s.csv")
    import_sheets(run, [fill(tmp_path / "s.csv", tmp_path / "anna.csv", noise=10)])
    found, other = effects_of(run), DataFrame({"trait": ["impolite"] * 3, "judge": [SEES, "another", None]})
    assert with_raters(other, None)["human_raters"].fillna("").tolist() == ["none", "none", ""]
    beside = with_raters(other, found)["human_raters"].fillna("").tolist()
    assert beside[0].startswith("rho 0.8") and beside[1:] == ["not enough ratings", ""]
    assert rater_clause(None, "impolite", SEES) == NO_RATER
    assert "with 1 human rater, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}60" in rater_clause(found, "impolite", SEES)
    assert raters_in_short(None, ["impolite"]).startswith("No human rater has validated")
    assert "impolite: 1 human rater)" in raters_in_short(found, ["impolite"])
