"""The saved analyses: evaluated again they give what is saved, and `analyses/README.md` says what the tables say."""

import re
import shutil
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "analyses" / "results"
sys.path.insert(0, str(ROOT / "analyses"))

import claims  # noqa: E402
import reevaluate  # noqa: E402
import screening  # noqa: E402
from reevaluated_tables import EMBEDDING  # noqa: E402
from saved_config import saved_config  # noqa: E402

from persona_interp.effects import Source, effects_table, load_claims, load_effects  # noqa: E402
from persona_interp.errors import ConfigError  # noqa: E402
from persona_interp.io import read_json, sha256_file  # noqa: E402
from persona_interp.studies.screening.planted_effects import planted_effects  # noqa: E402
from persona_interp.tables import table_bytes  # noqa: E402

README = (ROOT / "analyses" / "README.md").read_text(encoding="utf-8")
SMOL, GEMMA = "smollm2-135m-instruct", "gemma-3-270m"


def saved(path: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{path}.csv")


def as_saved(table: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(BytesIO(table_bytes(table, ".csv", digits=6)))


def same(found: pd.DataFrame, kept: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found.reset_index(drop=True), kept.reset_index(drop=True), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("study", reevaluate.STUDIES)
def test_evaluating_a_study_again_gives_its_saved_tables(study: str):
    for name, table in reevaluate.STUDIES[study](RESULTS / study).items():
        same(as_saved(table), saved(f"{study}/{name}"))


NAMED = ["metric", "trait", "method", "condition", "reference"]


def test_screening_is_what_its_samples_give():
    samples = saved("screening/samples")
    chosen = samples[(samples["trait"] == "impolite") & (samples["level"] == "level_2")]
    made = planted_effects(chosen, screening.PRESETS["quick"], layer=16, n_layers=30)
    found = effects_table(Source("screening", "again"), made).set_index(NAMED)
    kept = load_effects(RESULTS / "screening").set_index(NAMED).loc[found.index]
    columns = ["estimate", "low", "high", "p", "null_high", "detectable", "n", "depth"]
    same(found[columns], kept[columns])


SLOW = ("monitoring", "psychadapter", "screening", "style_vectors")


@pytest.mark.parametrize(
    "study", [pytest.param(s, marks=pytest.mark.slow) if s in SLOW else s for s in reevaluate.EFFECTS]
)
def test_effects_are_what_the_saved_rows_give(study: str, tmp_path: Path):
    copied = tmp_path / study
    shutil.copytree(RESULTS / study, copied)
    reevaluate.EFFECTS[study](copied)
    same(load_effects(copied), load_effects(RESULTS / study))
    same(load_claims(copied), load_claims(RESULTS / study))


@pytest.mark.parametrize("study", reevaluate.STUDIES)
def test_tables_that_were_evaluated_again_are_those_of_the_provenance(study: str):
    hashes = read_json(RESULTS / study / "provenance.json")["reevaluated"]["sha256"]
    assert hashes == {name: sha256_file(RESULTS / study / name) for name in hashes}


def test_no_figure_is_saved_over_a_table():
    tables = {path for study in reevaluate.STUDIES for path in reevaluated_files(study)}
    assert not [path for path in tables if path.with_suffix(".png").exists()]


def reevaluated_files(study: str) -> list[Path]:
    """What evaluating a study again reads and writes under its own names."""
    hashes = read_json(RESULTS / study / "provenance.json")["reevaluated"]["sha256"]
    tables = ("claims", "movement", "measured", "cells", "correlations", "nulls", "predictors", "samples", "separation")
    return [RESULTS / study / name for name in (*hashes, *(f"{table}.csv" for table in tables))]


def test_settings_that_were_not_saved_are_asked_for(tmp_path: Path):
    quick = screening.PRESETS["quick"]
    assert saved_config(RESULTS / "screening", replace(quick, k=99, percentile=1.0)) == quick
    with pytest.raises(ConfigError, match="does not say config"):
        saved_config(tmp_path, quick)
    (tmp_path / "provenance.json").write_text('{"config": {"k": 10, "other": 1}}')
    with pytest.raises(ConfigError, match=r"other settings than Config: missing \['every_planted.*unknown \['other'\]"):
        saved_config(tmp_path, quick)


def test_the_table_of_claims_is_that_of_the_saved_claims():
    assert claims.with_table(README) == README


def cells(section: str, label: str) -> list[str]:
    """The cells of the only table row of a section that begins with this label."""
    start = re.search(rf"^#+ {re.escape(section)}\n", README, re.MULTILINE)
    assert start, f"no section {section}"
    text = re.split(r"^#+ ", README[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    assert len(rows) == 1, f"{len(rows)} rows of {label} in {section}"
    return [cell.strip() for cell in rows[0].strip("|").split("|")[1:]]


def interval(row: pd.Series, names: tuple[str, str, str] = ("estimate", "low", "high"), digits: int = 2) -> str:
    estimate, low, high = (f"{row[name]:.{digits}f}" for name in names)
    return f"{estimate} [{low}, {high}]"


def only(table: pd.DataFrame, **values: object) -> pd.Series:
    for name, value in values.items():
        table = table[table[name] == value]
    assert len(table) == 1, f"{len(table)} rows of {values}"
    return table.iloc[0]


def test_the_table_of_monitoring():
    effects = load_effects(RESULTS / "monitoring")
    likelihood = effects[effects["judge"] == f"likelihood ({SMOL})"]
    table = effects[(effects["metric"] == "Pearson r with expression") & (effects["layers"] == "16")]
    for trait in ("impolite", "optimistic", "evil"):
        said, here = cells("Monitoring", trait), {"trait": trait, "judge": f"likelihood ({SMOL})"}
        for place, scope in ((0, "overall"), (2, "within conditions")):
            new = only(table, **here, condition=f"system prompts, {scope}")
            these = only(table, **here, condition=f"system prompts, {scope}, for these conditions")
            assert said[place] == f"{interval(these)}, q = {new['q']:.{3 if new['q'] < 0.1 else 2}f}"
            assert said[place + 1] == f"[{new['low']:.2f}, {new['high']:.2f}]"
        best = likelihood[likelihood["condition"].str.startswith("system prompts, overall")]
        assert said[4] == f"{only(best, trait=trait, method='best of other_traits')['estimate']:.2f}"
    nulls = effects[effects["family"] == "largest r against other directions"]
    assert f"has q = {nulls['q'].min():.3f} at the least" in README
    first = table[table["family"] == "Pearson r with expression, primary"]
    assert set(first["judge"]) == {EMBEDDING}
    assert f"its least q is {first['q'].min():.3f}" in README


def test_the_table_of_seven_traits():
    effects, claims = saved("seven_traits/reevaluated"), saved("seven_traits/claims")
    for trait in claims["trait"].unique():
        said = cells("Seven traits", trait)
        for k, model in enumerate((SMOL, GEMMA)):
            row = only(effects, model=model, trait=trait, judge=EMBEDDING)
            names = ("effect", "effect_low", "effect_high")
            assert said[2 * k] == f"{only(claims, model=model, trait=trait, claim='separation')['estimate']:.2f}"
            assert said[2 * k + 1].lstrip("+") == f"{interval(row, names, 1)}, q = {row['q']:.2g}"


def test_the_table_of_the_finetuning_shift():
    table = saved("finetuning_shift/reevaluated")
    for trait in ("impolite", "optimistic", "evil"):
        said = cells("Finetuning shift", trait)
        for cell, judge in zip(said, (EMBEDDING, f"likelihood ({SMOL})"), strict=False):
            row = only(table, outcome_trait=trait, judge=judge)
            shown, q = cell.split(", q = ")
            assert shown == interval(row)
            assert float(q) == pytest.approx(row["q"], abs=0.0051 if row["q"] > 0.1 else 0.00051)

    nulls, before = saved("finetuning_shift/reevaluated_nulls"), saved("finetuning_shift/reevaluated_predictors")
    assert f"after correction (least q = {nulls['q'].min():.2f})" in README
    for trait in ("impolite", "optimistic", "evil"):
        row = only(before, trait=trait, predictor="projection difference", against="finetuning shift")
        assert cells("Finetuning shift", trait)[3] == f"{row['estimate']:.2f}, q = {row['q']:.1g}"


def test_the_table_of_prevention():
    changes = saved("prevention/reevaluated")
    changes = changes[changes["metric"] == "change from plain finetuning"]
    for label, method, strength in (
        ("base", "base", 0),
        ("preventative steering, 0.1", "preventative steering", 0.1),
        ("preventative steering, all layers, 1", "preventative steering, all layers", 1),
        ("concept ablation, layer 16", "concept ablation", 1),
        ("steering afterwards, 0.3", "steering afterwards", 0.3),
        ("cap afterwards, median of the base", "cap afterwards", 50),
    ):
        row = only(changes, method=method, strength=strength)
        said = cells("Prevention and correction", label)[1].lstrip("+")
        assert said == f"{interval(row, digits=0)}, q = {row['q']:.2g}"


def test_the_table_of_screening():
    effects = load_effects(RESULTS / "screening")
    table = effects[effects["metric"] == "AUC"]
    for score in table["method"].unique():
        expected = [
            interval(only(table, method=score, trait=trait, condition=f"level II, {sources}"))
            for trait in ("impolite", "optimistic", "evil")
            for sources in ("one source", "mixed sources")
        ]
        assert cells("Screening", score) == expected


def test_the_table_of_trait_geometry():
    effects = load_effects(RESULTS / "trait_geometry")
    table = effects[(effects["metric"] == "Pearson r of cosines") & effects["q"].notna()]
    for pair in table["data"].unique():
        middle, best = (only(table, data=pair, condition=condition) for condition in ("depth 0.5", "best of 19 depths"))
        p = (f"{row['p']:.4f}" for row in (middle, best))
        expected = [interval(middle), f"{middle['null_high']:.2f}", *p, "≤ 0.0008"]
        assert cells("Trait geometry", pair.replace(" and ", ", ")) == expected
    assert table["q"].max() < 0.00085


def test_the_table_of_monitors():
    table = saved("monitor_robustness/reevaluated")
    runs = list(dict.fromkeys(table["run"]))
    for detector in table["detector"].unique():
        expected = [interval(only(table, detector=detector, run=run)) for run in runs]
        assert cells("Does training against the monitor blind it?", detector) == expected


def test_the_tables_of_style_vectors():
    table = saved("style_vectors/tables/reevaluated_steering")
    table = table[(table["prompts"] == "subjective") & (table["judge"] == EMBEDDING)]
    methods = ("prompt", "style_vector", "style_vector, published reading", "style_vector_generated")
    for style in ("positive", "negative", "joy", "sadness"):
        said = cells("Style vectors", f"{style}, subjective")
        for cell, method in zip(said, (*methods, "style_vector_trained"), strict=True):
            row = only(table, style=style, method=method, coefficient=0.0 if method == "prompt" else 0.1)
            assert cell == interval(row, ("effect", "effect_low", "effect_high"), 1)
    q = saved("style_vectors/tables/reevaluated_steering")["q"]
    assert f"the {q.notna().sum()} tests against unsteered answers" in README
    assert q.min() > 0.05


def test_the_tables_of_psychadapter():
    slopes = saved("psychadapter/big_five/tables/reevaluated_slopes")
    for trait in slopes["trait"].unique():
        row = only(slopes[slopes["on_target"]], trait=trait, judge=EMBEDDING)
        assert cells("PsychAdapter", trait)[0] == f"{interval(row, digits=1)}, q = {row['q']:.2g}"
    induced = saved("psychadapter/big_five/tables/reevaluated_induced")
    assert f"Over all {len(induced)} layers and traits no cosine" in README
    assert f"least q = {induced['q'].min():.3f}" in README
