"""The tables of effects and claims: one form for any study, q over any number of runs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import persona_interp as pi
from persona_interp.effects import (
    CLAIMS,
    CLAIMS_FILE,
    EFFECTS,
    EFFECTS_FILE,
    Claim,
    Effect,
    Source,
    claims_table,
    effects_table,
    joined,
    layers_of,
    load_claims,
    load_effects,
    run_id_of,
    with_q,
    write_effects,
)
from persona_interp.errors import AlignmentError, ArtefactError
from persona_interp.statistics.families import benjamini_hochberg, claim_q
from persona_interp.tables import read_table, write_table

SOURCE = Source("toy", "run a", "tiny", "nnsight", "float32", 0)
TRAITS = ("kind", "rude", "shy", "bold")


def one(trait: str, p: float | None, *, layers: str = "1", family: str | None = "claims") -> Effect:
    return Effect(metric="AUC", trait=trait, method="vector", layers=layers, p=p, family=family, estimate=0.5)


def keep(folder: Path, source: Source, *effects: Effect, claims: Sequence[Claim] = ()) -> None:
    write_effects(folder, source.study, effects_table(source, effects), claims_table(source, claims))


def test_columns_that_were_not_given_stay_missing() -> None:
    table = effects_table(SOURCE, [Effect(metric="AUC", trait="kind", unit="")])
    assert table.columns.tolist() == EFFECTS.names
    row = table.iloc[0]
    assert (row["study"], row["run_id"], row["role"], row["seed"]) == ("toy", "run a", "treatment", 0)
    given = {"effect_id", "study", "run_id", "model", "backend", "dtype", "seed", "trait", "role", "metric"}
    assert set(table.columns[row.notna()]) == given


def test_one_test_a_claim_is_benjamini_hochberg() -> None:
    p = [0.001, 0.02, 0.04, 0.8]
    table = effects_table(SOURCE, [one(trait, value) for trait, value in zip(TRAITS, p, strict=True)])
    np.testing.assert_allclose(table["q"], benjamini_hochberg(np.array(p)))
    assert table["n_family"].tolist() == [4] * 4


def test_places_of_one_claim_are_corrected_inside_it_and_other_families_apart() -> None:
    p = {("kind", "1"): 0.01, ("kind", "2"): 0.6, ("rude", "1"): 0.03, ("rude", "2"): 0.02}
    map_of = [one(trait, value, layers=place, family="map") for (trait, place), value in p.items()]
    table = effects_table(SOURCE, [*map_of, one("kind", 0.04), one("shy", 0.2, family=None)])
    np.testing.assert_allclose(table["q"][:4], claim_q(np.array([*p.values()]), np.array(["k", "k", "r", "r"])))
    assert table["q"][4] == 0.04
    assert np.isnan(table["q"][5])
    assert table["n_family"].isna().tolist() == [False] * 5 + [True]


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=12), st.integers(1, 11))
def test_q_over_parts_is_q_over_all_made_anew(p: list[float], cut: int) -> None:
    sources = [SOURCE, replace(SOURCE, run_id="run b")]
    parts = [p[:cut], p[cut:]]
    tables = [
        effects_table(source, [one(f"{source.run_id} {k}", value) for k, value in enumerate(part)])
        for source, part in zip(sources, parts, strict=True)
    ]
    together = with_q(pd.concat(tables, ignore_index=True))
    np.testing.assert_allclose(together["q"], benjamini_hochberg(np.array(p)))
    pd.testing.assert_frame_equal(with_q(together), together)


def test_two_effects_of_the_same_thing_are_refused() -> None:
    with pytest.raises(AlignmentError, match="two effects of toy have the same trait") as raised:
        effects_table(SOURCE, [one("kind", 0.1), one("kind", 0.2)])
    assert "trait kind" in str(raised.value)


def test_values_outside_the_words_are_refused() -> None:
    table = effects_table(SOURCE, [Effect(metric="AUC")]).assign(substrate="soul")
    with pytest.raises(AlignmentError, match="substrate must hold one of residual, latent"):
        EFFECTS.checked(table)


def test_a_study_replaces_its_own_rows_and_leaves_others(tmp_path: Path) -> None:
    other = replace(SOURCE, study="other")
    claim = Claim(claim="it is", trait="kind", sentence="It is.", rule="p", effects=[], verdict="undecided")
    for source, p in ((SOURCE, 0.5), (other, 0.1), (SOURCE, 0.2)):
        effect = one("kind", p)
        claims = claims_table(source, [replace(claim, effects=[effect])])
        write_effects(tmp_path, source.study, effects_table(source, [effect]), claims)
    effects = load_effects(tmp_path)
    assert dict(zip(effects["study"], effects["p"], strict=True)) == {"other": 0.1, "toy": 0.2}
    claims = load_claims(tmp_path)
    assert sorted(claims["study"]) == ["other", "toy"]
    assert set(claims["effects"]) <= set(effects["effect_id"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [CLAIMS_FILE, EFFECTS_FILE]


def test_any_number_of_runs_is_one_table_and_a_copy_counts_once(tmp_path: Path) -> None:
    for run, p in (("a", 0.01), ("b", 0.04)):
        source = replace(SOURCE, run_id=run)
        for folder in (run, f"copy/{run}"):
            write_effects(
                tmp_path / folder, source.study, effects_table(source, [one("kind", p)]), claims_table(source, [])
            )
    alone, both = load_effects(tmp_path / "a"), pi.load_effects(tmp_path / "a", tmp_path / "b")
    assert alone["q"].tolist() == [0.01]
    assert both["q"].tolist() == [0.02, 0.04]
    pd.testing.assert_frame_equal(load_effects(str(tmp_path)), both)
    source = replace(SOURCE, run_id="a")
    write_effects(
        tmp_path / "copy" / "a", source.study, effects_table(source, [one("kind", 0.3)]), claims_table(source, [])
    )
    with pytest.raises(AlignmentError, match="run a of toy was found twice, with different numbers"):
        load_effects(tmp_path)


def test_a_folder_without_effects_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=f"there is no effects.parquet in {tmp_path}"):
        load_effects(tmp_path)
    with pytest.raises(ArtefactError, match="Give at least one"):
        load_effects()
    (tmp_path / EFFECTS_FILE).write_bytes(b"junk")
    with pytest.raises(ArtefactError, match="not a whole Parquet file"):
        load_effects(tmp_path)


def test_layers_go_into_a_cell_and_come_back() -> None:
    assert joined([12, 13]) == "12+13"
    assert layers_of("12+13") == (12, 13)
    assert layers_of("") == ()


def test_a_run_is_named_by_its_identity() -> None:
    assert run_id_of({"a": 1, "b": 2}) == run_id_of({"b": 2, "a": 1})
    assert run_id_of({"a": 1}) != run_id_of({"a": 2})
    assert CLAIMS.names[0] == "study"


def test_the_same_claim_under_other_seeds_makes_nothing_else_easier(tmp_path: Path) -> None:
    p = {"kind": 0.001, "rude": 0.04, "shy": 0.5, "bold": 0.6}
    keep(tmp_path / "first", SOURCE, *(one(trait, value) for trait, value in p.items()))
    for seed in range(1, 11):
        keep(tmp_path / str(seed), replace(SOURCE, run_id=f"run {seed}", seed=seed), one("kind", 0.001))
    alone, together = load_effects(tmp_path / "first"), load_effects(tmp_path)
    q_of = dict(zip(alone["trait"], alone["q"], strict=True))
    others = together[together["trait"] != "kind"]
    assert others["q"].tolist() == pytest.approx([q_of[trait] for trait in others["trait"]])


def test_claims_that_a_study_no_longer_makes_are_gone(tmp_path: Path) -> None:
    claim = Claim(claim="it is", trait="kind", sentence="It is.", rule="p", effects=[], verdict="holds")
    keep(tmp_path, SOURCE, one("kind", 0.5), claims=[claim])
    keep(tmp_path, replace(SOURCE, run_id="b"), one("kind", 0.5))
    assert load_claims(tmp_path).empty
    assert load_effects(tmp_path)["run_id"].tolist() == ["b"]


def test_two_claims_of_one_name_are_refused() -> None:
    claim = Claim(claim="it is", trait="kind", sentence="It is.", rule="p", effects=[], verdict="holds")
    with pytest.raises(AlignmentError, match="two claims of toy are called 'it is', both of kind"):
        claims_table(SOURCE, [claim, claim])


def test_a_place_that_data_chose_is_no_part_of_what_an_effect_is_of() -> None:
    effect = replace(one("kind", 0.1), place="searched", strength=0.3)
    assert effect.id_in(SOURCE) == replace(effect, layers="2", strength=0.1).id_in(SOURCE)
    assert one("kind", 0.1).id_in(SOURCE) != one("kind", 0.1, layers="2").id_in(SOURCE)
    assert effects_table(SOURCE, [effect]).columns.tolist() == EFFECTS.names


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_p_outside_its_range_is_refused(p: float) -> None:
    with pytest.raises(AlignmentError, match="p must be between 0 and 1"):
        effects_table(SOURCE, [one("kind", p)])


def test_columns_of_a_later_version_are_missing_in_an_older_table(tmp_path: Path) -> None:
    keep(tmp_path / "old", SOURCE, one("kind", 0.1))
    path = tmp_path / "old" / EFFECTS_FILE
    write_table(path, read_table(path).drop(columns=["judge_validity", "n_null"]))
    assert load_effects(tmp_path)["n_null"].isna().all()
    keep(tmp_path / "old", replace(SOURCE, study="other"), one("kind", 0.1))
    assert load_effects(tmp_path)["study"].tolist() == ["toy", "other"]
    write_table(path, read_table(path).drop(columns=["metric"]))
    with pytest.raises(ArtefactError, match=r"column metric is missing"):
        load_effects(tmp_path)


def test_text_that_no_file_can_hold_is_escaped(tmp_path: Path) -> None:
    keep(tmp_path, SOURCE, one("kind\ud800", 0.1))
    assert load_effects(tmp_path)["trait"].tolist() == ["kind\\ud800"]


def test_large_seeds_stay_what_they_are(tmp_path: Path) -> None:
    keep(tmp_path, replace(SOURCE, seed=2**60 + 1), one("kind", 0.1))
    assert load_effects(tmp_path)["seed"].tolist() == [2**60 + 1]


def test_folders_may_be_given_in_a_list(tmp_path: Path) -> None:
    for run in "ab":
        keep(tmp_path / run, replace(SOURCE, run_id=run), one("kind", 0.1))
    one_by_one, listed = load_effects(tmp_path / "a", tmp_path / "b"), load_effects([tmp_path / "a", tmp_path / "b"])
    pd.testing.assert_frame_equal(one_by_one, listed)
    assert load_claims([str(tmp_path)]).empty


def test_claims_go_with_the_effects_that_they_rest_on(tmp_path: Path) -> None:
    for study in ("first", "second"):
        source, effect = Source(study, study), Effect(metric="AUC", estimate=0.7)
        claims = [effect.claimed("it is", "It is.", "always", "holds")]
        write_effects(tmp_path, study, effects_table(source, [effect]), claims_table(source, claims))
        (tmp_path / EFFECTS_FILE).unlink() if study == "first" else None
    assert load_claims(tmp_path)["study"].tolist() == ["second"]


def test_an_interval_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(AlignmentError, match="an interval must begin below its end, got 0.9 to 0.1"):
        effects_table(Source("a", "a"), [Effect(metric="AUC", estimate=0.5, low=0.9, high=0.1)])


def test_a_table_of_a_later_version_may_have_more_columns(tmp_path: Path) -> None:
    source = Source("a", "a")
    write_effects(tmp_path, "a", effects_table(source, [Effect(metric="AUC", estimate=0.7)]), claims_table(source, []))
    pd.read_parquet(tmp_path / EFFECTS_FILE).assign(later=1).to_parquet(tmp_path / EFFECTS_FILE)
    assert load_effects(tmp_path).columns.tolist() == EFFECTS.names


def test_rows_of_another_study_and_numbers_without_end_are_refused(tmp_path: Path) -> None:
    source = Source("a", "a")
    table = effects_table(source, [Effect(metric="AUC", estimate=0.5)])
    with pytest.raises(AlignmentError, match="rows of a cannot be kept as those of b"):
        write_effects(tmp_path, "b", table, claims_table(source, []))
    with pytest.raises(AlignmentError, match="must be finite"):
        effects_table(source, [Effect(metric="AUC", estimate=0.5, low=0.1, high=float("inf"))])


def test_a_test_that_is_not_possible_finds_nothing() -> None:
    effect = Effect(metric="AUC", estimate=0.7, test="rank", detectable=0.9)
    assert effect.claimed("it is", "It is.", "always", "undecided").detectable is None
    tested = replace(effect, p=0.2, condition="tested")
    table = effects_table(Source("a", "a"), [effect, replace(effect, test=None, condition="by interval"), tested])
    np.testing.assert_array_equal(table["detectable"], [np.nan, 0.9, 0.9])
