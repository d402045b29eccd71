"""A folder of a run: it belongs to one identity, and what was made is not made again."""

from pathlib import Path

import pytest
from pandas import DataFrame

from persona_interp.effects import Claim, Effect, load_claims, load_effects
from persona_interp.errors import ArtefactError, ConfigError, DataError
from persona_interp.io import read_json
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.folder import RunFolder
from persona_interp.tables import Form, numbers, read_table, rows_of, texts

FORM = Form("toy_numbers", (*texts("name"), *numbers("value")))
KEEPS = ("tables/toy_*.csv", "cells/toy/*")
ROWS = DataFrame({"name": ["a"], "value": [1.5]})


def claim(path: Path, **identity: object) -> RunFolder:
    return RunFolder.claim(path, "toy", {"seed": 0, "model": "tiny", **identity}, keeps=KEEPS)


class Counting:
    """Makes the rows, and counts how often."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> DataFrame:
        self.n += 1
        return ROWS


def test_a_saved_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    folder = claim(tmp_path)
    folder.save(FORM, ROWS)
    folder.save(FORM, ROWS.assign(value=2.0))
    assert read_table(tmp_path / "tables" / "toy_numbers.csv", FORM)["value"].tolist() == [2.0]


def test_cells_are_told_apart_by_their_inputs(tmp_path: Path) -> None:
    folder, make = claim(tmp_path), Counting()
    for key in ("one", "two", "one"):
        folder.cell("part", key, make)
    assert make.n == 2
    assert len(list((tmp_path / "cells" / "toy").iterdir())) == 2
    with pytest.raises(DataError, match="cannot be the name of a cell"):
        folder.cell("../part", "one", make)


def test_another_identity_is_refused_by_what_differs(tmp_path: Path) -> None:
    claim(tmp_path).save(FORM, ROWS)
    with pytest.raises(ConfigError, match="seed: there 0, now 1"):
        claim(tmp_path, seed=1)
    assert read_json(tmp_path / "identity_toy.json")["seed"] == 0
    claim(tmp_path)


def test_a_folder_in_which_nothing_was_kept_binds_nobody(tmp_path: Path) -> None:
    claim(tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "others.csv").write_text("a\n")
    claim(tmp_path, seed=1)
    assert read_json(tmp_path / "identity_toy.json")["seed"] == 1


def test_results_that_do_not_say_what_they_are_of_are_refused(tmp_path: Path) -> None:
    claim(tmp_path).save(FORM, ROWS)
    (tmp_path / "identity_toy.json").unlink()
    with pytest.raises(ConfigError, match=r"holds tables/toy_numbers.csv, but no identity_toy.json"):
        claim(tmp_path)


def test_a_damaged_cell_is_named(tmp_path: Path) -> None:
    folder = claim(tmp_path)
    folder.cell("part", "one", Counting())
    (path,) = (tmp_path / "cells" / "toy").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ArtefactError, match="not a whole Parquet file") as raised:
        folder.cell("part", "one", Counting())
    assert str(path) in str(raised.value)


def study_lengths(model: HookedModelBase, words: list[str], out: Path) -> DataFrame:
    """A whole study: how many tokens words have."""
    folder = RunFolder.claim(out, "lengths", {"words": words, "model": model.name}, keeps=["cells/lengths/*"])
    rows = [{"word": word, "length": len(model.tokenizer(word)["input_ids"])} for word in words]
    table = folder.cell("words", words, lambda: DataFrame(rows))
    effects = [Effect(metric="length", unit="tokens", data=r["word"], estimate=r["length"]) for r in rows_of(table)]
    longest = f"The longest word is {table['word'][table['length'].idxmax()]}."
    claim = Claim(claim="longest", trait=None, sentence=longest, rule="most tokens", effects=effects, verdict="holds")
    folder.finish(model, {"words": words}, effects, [claim], seed=None)
    return table


def test_a_study_of_ten_lines(model: HookedModelBase, tmp_path: Path) -> None:
    first, again = (study_lengths(model, ["a", "a longer one"], tmp_path) for _ in range(2))
    assert first["length"].tolist() == again["length"].tolist()
    assert load_claims(tmp_path)["sentence"].tolist() == ["The longest word is a longer one."]
    assert load_effects(tmp_path)["data"].tolist() == ["a", "a longer one"]
    with pytest.raises(ConfigError, match="words: there"):
        study_lengths(model, ["b"], tmp_path)


def test_a_finished_run_has_its_provenance_effects_and_claims(tmp_path: Path, model: HookedModelBase) -> None:
    folder = claim(tmp_path)
    folder.finish(model, {"what": "toy"}, [Effect(metric="AUC", p=0.03, family="f")], [], seed=3)
    effects = load_effects(tmp_path)
    assert effects[["study", "model", "seed", "q"]].iloc[0].tolist() == ["toy", model.name, 3, 0.03]
    assert read_json(tmp_path / "provenance_toy.json") == {"what": "toy"}
    assert load_claims(tmp_path).empty
    again = RunFolder.claim(tmp_path / "other", "toy", {"seed": 4}, keeps=KEEPS)
    again.finish(model, {}, [Effect(metric="AUC", p=0.03, family="f")], [], seed=3)
    both = load_effects(tmp_path)
    assert both["run_id"].nunique() == 2
    assert both["n_family"].tolist() == [2, 2]
