"""`persona-interp inventory` on a tiny model: the list, tables of two conditions, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer
from typer.testing import CliRunner

from persona_interp.cli import app
from persona_interp.data.inventories import list_inventories, load_inventory
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.effects import load_effects
from persona_interp.errors import ConfigError, PersonaInterpError
from persona_interp.io import read_json
from persona_interp.models.load import load_model
from persona_interp.studies.inventory import run as inventory_run
from persona_interp.studies.inventory.administer import Kept, administer
from persona_interp.studies.inventory.answers import InventoryAnswers
from persona_interp.studies.inventory.conditions import Condition
from persona_interp.studies.inventory.run import InventoryRun, run_inventories
from tests.integration.conftest import make_model

ITEMS = "text,scale,key\ntalk,talk,1\nchat,talk,1\nhide,talk,-1\nstay away,talk,-1\n"


@pytest.fixture(scope="module")
def questionnaire(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("items") / "talk.csv"
    path.write_text(ITEMS)
    return path


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["inventory", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.parametrize("arguments", [(), ("--list",)])
def test_without_a_name_the_inventories_are_listed(arguments: tuple[str, ...]) -> None:
    assert [line.split()[0] for line in invoke(*arguments).splitlines()] == list_inventories()


def test_scores_changes_and_types_are_written_and_printed(
    tmp_path: Path, questionnaire: Path, model_folder: Path, vector: Path
) -> None:
    (tmp_path / "pairs.csv").write_text(
        "scale,text_a,pole_a,text_b,pole_b\nAB,like a,A,like b,B\nAB,want b,B,want a,A\nAB,see a,A,see b,B\n"
    )
    options = ["--out", tmp_path / "out", "--model", model_folder, "--dtype", "float32"]
    change = ["--system", "Be glad.", "--vector", vector, "--layer", 1, "--coefficient", 0.5]
    printed = invoke(questionnaire, tmp_path / "pairs.csv", *options, *change)
    assert "type by pairs (baseline, statement)" in printed
    assert "Inventories" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    effects = load_effects(tmp_path / "out")
    scores = effects[effects["metric"] == "inventory score"]
    assert set(scores["condition"]) == {"baseline", "system prompt + cheerful +0.5 at layer 1"}
    assert set(scores["data"]) == {"talk", "pairs"}
    assert (scores["low"] <= scores["estimate"]).all() and (scores["estimate"] <= scores["high"]).all()
    changes = effects[effects["metric"] == "change of inventory score"]
    assert set(changes["reference"]) == {"baseline"}
    assert {"half_correlation", "order_change", "position_share", "mass", "yes-saying"} <= set(effects["metric"])
    poles = effects[effects["metric"] == "probability of the first pole"]
    assert set(poles["reference"]) == {"A against B"}
    assert [path.name for path in (tmp_path / "out" / "tables").iterdir()] == ["inventory_answers.csv"]
    said = read_json(tmp_path / "out" / "provenance_inventory.json")
    account = said["conditions"]["system prompt + cheerful +0.5 at layer 1"]
    assert (account["system"], account["intervention"]["kind"]) == ("Be glad.", "Add")
    assert [row["inventory"]["name"] for row in said["inventories"]] == ["talk", "pairs"]


def test_respondents_come_from_a_file(tmp_path: Path, questionnaire: Path, model_folder: Path) -> None:
    (tmp_path / "people.txt").write_text("Be a.\n\nBe b.\nBe c.\n")
    options = ["--out", tmp_path, "--model", model_folder, "--respondents", tmp_path / "people.txt"]
    invoke(questionnaire, *options, "--wording", "frequency_words", "--order", "given")
    effects = load_effects(tmp_path)
    (halves,) = effects[(effects["metric"] == "half_correlation") & (effects["trait"] == "talk")].to_dict("records")
    assert (halves["reference"], halves["n"]) == ("respondents", 3)


def test_an_adapter_moves_the_answers(tmp_path: Path, questionnaire: Path, model_folder: Path) -> None:
    model = load_model(model_folder, device="cpu", dtype="float32")
    adapter = PsychAdapter(KVShape.of(model.config), ("warmth",), model.provenance, standard=None)
    with torch.no_grad():
        adapter.affine.weight.normal_(generator=torch.Generator().manual_seed(0))
    adapter.save(tmp_path / "adapter.safetensors")
    options = ["--out", tmp_path / "out", "--model", model_folder, "--dtype", "float32"]
    invoke(questionnaire, *options, "--adapter", tmp_path / "adapter.safetensors", "--z", "warmth=2")
    effects = load_effects(tmp_path / "out")
    changes = effects[effects["metric"].str.startswith("change of ")]
    assert set(changes["condition"]) == {"adapter warmth +2"}
    assert changes["metric"].tolist() == ["change of inventory score", "change of yes-saying"]
    assert changes["estimate"].abs().sum() > 1e-4
    what = changes[["method", "substrate", "strength", "strength_unit"]].iloc[0].tolist()
    assert what == ["psychadapter", "virtual_token", 2.0, "standard deviations of a trait's score"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--out is missing."),
        (["--out", "x", "--layer", "1"], "--layer was given without --vector"),
        (["--out", "x", "--coefficient", "1"], "--coefficient was given without --vector"),
        (["--out", "x", "--z", "a=1"], "--z was given without --adapter"),
    ],
)
def test_options_that_do_not_go_together_are_refused(questionnaire: Path, arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["inventory", str(questionnaire), *arguments])
    assert isinstance(done.exception, PersonaInterpError)
    assert str(done.exception).startswith(said)


def test_an_unknown_inventory_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["inventory", "mbti", "--out", str(tmp_path), "--model", "no such model"])
    assert "no inventory is called 'mbti'" in str(done.exception)
    assert not list(tmp_path.iterdir())


def quick(questionnaire: Path, out: Path, model: Path, *more: object) -> tuple[object, ...]:
    asked = ("--wording", "frequency_words", "--order", "given")
    return (questionnaire, "--out", out, "--model", model, "--dtype", "float32", *asked, *more)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that a test may change."""
    return make_model("llama", tmp_path_factory.mktemp("own_model"))


@pytest.fixture(scope="module")
def kept(questionnaire: Path, own_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept")
    (out / "tables").mkdir()
    (out / "tables" / "inventory_answers.csv").write_text("mine\n")
    (out / "notes.txt").write_text("mine\n")
    with pytest.raises(ConfigError, match="holds tables/inventory_answers.csv, but no identity_inventory.json"):
        invoke(*quick(questionnaire, out, own_model))
    (out / "tables" / "inventory_answers.csv").unlink()
    invoke(*quick(questionnaire, out, own_model))
    return out


def test_the_same_call_writes_the_same_tables_and_leaves_other_files(
    questionnaire: Path, own_model: Path, kept: Path
) -> None:
    (kept / "tables" / "inventory_mine.csv").write_text("mine\n")
    before = files(kept)
    assert (kept / "identity_inventory.json") in before
    invoke(*quick(questionnaire, kept, own_model))
    assert {path.name for path in files(kept)} == {path.name for path in before}
    for path in before:
        if path.suffix in (".csv", ".txt") or path.name == "identity_inventory.json":
            assert path.read_bytes() == before[path]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--backend", "nnsight"), "model: there {'backend': 'transformer_lens'}, now {'backend': 'nnsight'}"),
        (("--dtype", "bfloat16"), "model: there {'dtype': 'float32'}, now {'dtype': 'bfloat16'}"),
        (("--system", "Be glad."), "conditions: there {}, now {'system prompt': "),
        (("--order", "reversed"), "orders: there ['given'], now ['given', 'reversed']"),
        (
            ("--wording", "choose_number"),
            "wordings: there ['frequency_words'], now ['frequency_words', ",
        ),
        (("--normalise", "mean"), "normalise: there None, now 'mean'"),
        (("--seed", 1), "seed: there 0, now 1"),
    ],
)
def test_another_call_is_refused_by_what_differs(
    questionnaire: Path, own_model: Path, kept: Path, more: tuple[object, ...], said: str
) -> None:
    before = files(kept)
    done = CliRunner().invoke(app, ["inventory", *map(str, quick(questionnaire, kept, own_model, *more))])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).split("\n  ")[1].startswith(said)
    assert files(kept) == before


def test_edited_items_and_another_template_are_refused(
    questionnaire: Path, own_model: Path, kept: Path, tmp_path: Path
) -> None:
    (tmp_path / "talk.csv").write_text(ITEMS.replace("chat", "call"))
    done = CliRunner().invoke(app, ["inventory", *map(str, quick(tmp_path / "talk.csv", kept, own_model))])
    assert str(done.exception).split("\n  ")[1].startswith("inventories: there [['talk', ")
    (tmp_path / "people.txt").write_text("Be a.\nBe b.\nBe c.\n")
    people = ("--respondents", tmp_path / "people.txt")
    done = CliRunner().invoke(app, ["inventory", *map(str, quick(questionnaire, kept, own_model, *people))])
    assert str(done.exception).split("\n  ")[1].startswith("respondents: there None, now ")
    other = tmp_path / "model"
    shutil.copytree(own_model, other)
    tokenizer = AutoTokenizer.from_pretrained(own_model)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(own_model)
    try:
        done = CliRunner().invoke(app, ["inventory", *map(str, quick(questionnaire, kept, own_model))])
    finally:
        shutil.rmtree(own_model)
        shutil.copytree(other, own_model)
    assert "'chat_template': 'plain dialogue'" in str(done.exception)


def test_a_call_that_failed_before_any_table_does_not_bind_the_folder(
    questionnaire: Path, own_model: Path, tmp_path: Path
) -> None:
    failed = CliRunner().invoke(
        app, ["inventory", *map(str, quick(questionnaire, tmp_path, own_model, "--order", "sideways"))]
    )
    assert "got 'sideways'" in str(failed.exception)
    invoke(*quick(questionnaire, tmp_path, own_model))
    assert read_json(tmp_path / "identity_inventory.json")["orders"] == ["given"]


def test_answers_are_kept_as_they_are_made(
    questionnaire: Path, own_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = (questionnaire, "--out", tmp_path, "--model", own_model, "--dtype", "float32", "--system", "Be glad.")
    invoke(*call)
    before, asked = files(tmp_path / "tables"), []
    (second,) = (path for path in (tmp_path / "cells" / "inventory").iterdir() if is_second(path))
    second.unlink()
    for path in before:
        path.unlink()

    def administer_again(*arguments: Any, keep: Kept, **options: Any) -> InventoryAnswers:
        def kept(make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
            return keep(lambda: (asked.append(options["condition"]), make())[1])

        return administer(*arguments, keep=kept, **options)

    monkeypatch.setattr(inventory_run, "administer", administer_again)
    invoke(*call)
    assert asked == ["system prompt"]
    assert files(tmp_path / "tables") == before


def is_second(cell: Path) -> bool:
    """Whether a cell was written after the other of its folder."""
    return cell.stat().st_mtime_ns == max(path.stat().st_mtime_ns for path in cell.parent.iterdir())


@pytest.mark.parametrize(
    ("inventories", "conditions", "said"),
    [
        (1, (), "at least one condition, each of another name, got none"),
        (0, ("a",), "at least one inventory, each of another name, got none"),
        (1, ("a", "a"), "at least one condition, each of another name, got a, a"),
        (2, ("a",), "at least one inventory, each of another name, got talk, talk"),
    ],
)
def test_inventories_and_conditions_are_told_apart_by_name(
    inventories: int, conditions: tuple[str, ...], said: str, questionnaire: Path, own_model: Path, tmp_path: Path
) -> None:
    model, asked = load_model(own_model, dtype="float32"), [load_inventory(questionnaire)] * inventories
    with pytest.raises(ConfigError, match=said):
        run_inventories(model, asked, [Condition(name) for name in conditions], InventoryRun(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
