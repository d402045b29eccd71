"""`persona-interp inventory` on a tiny model: the list, tables of two conditions, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from persona_interp.cli import app
from persona_interp.cli import inventory as _registers_the_command  # noqa: F401
from persona_interp.data.inventories import list_inventories
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.errors import PersonaInterpError
from persona_interp.io import read_json
from persona_interp.models.load import load_model

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
    tables = tmp_path / "out" / "tables"
    scores = pd.read_csv(tables / "inventory_scores.csv")
    assert set(scores["condition"]) == {"baseline", "system prompt + cheerful +0.5 at layer 1"}
    assert set(scores["inventory"]) == {"talk", "pairs"}
    assert (scores["low"] <= scores["estimate"]).all() and (scores["estimate"] <= scores["high"]).all()
    changes = pd.read_csv(tables / "inventory_changes.csv")
    assert set(changes["compared_with"]) == {"baseline"}
    assert {"alpha", "half_correlation", "order_change", "position_share", "mass"} <= set(
        pd.read_csv(tables / "inventory_reliability.csv")["metric"]
    )
    types = pd.read_csv(tables / "inventory_types.csv")
    assert set(types["letter"]) <= {"A", "B"}
    said = read_json(tmp_path / "out" / "provenance_inventory.json")
    account = said["conditions"]["system prompt + cheerful +0.5 at layer 1"]
    assert (account["system"], account["intervention"]["kind"]) == ("Be glad.", "Add")
    assert [row["inventory"]["name"] for row in said["inventories"]] == ["talk", "pairs"]


def test_respondents_come_from_a_file(tmp_path: Path, questionnaire: Path, model_folder: Path) -> None:
    (tmp_path / "people.txt").write_text("Be a.\n\nBe b.\nBe c.\n")
    options = ["--out", tmp_path, "--model", model_folder, "--respondents", tmp_path / "people.txt"]
    invoke(questionnaire, *options, "--wordings", "frequency_words", "--orders", "given")
    reliability = pd.read_csv(tmp_path / "tables" / "inventory_reliability.csv")
    alpha = reliability[reliability["metric"] == "alpha"].iloc[0]
    assert (alpha["over"], alpha["n"]) == ("respondents", 3)


def test_an_adapter_moves_the_answers(tmp_path: Path, questionnaire: Path, model_folder: Path) -> None:
    model = load_model(model_folder, device="cpu", dtype="float32")
    adapter = PsychAdapter(KVShape.of(model.config), ("warmth",), model.provenance, standard=None)
    with torch.no_grad():
        adapter.affine.weight.normal_(generator=torch.Generator().manual_seed(0))
    adapter.save(tmp_path / "adapter.safetensors")
    options = ["--out", tmp_path / "out", "--model", model_folder, "--dtype", "float32"]
    invoke(questionnaire, *options, "--adapter", tmp_path / "adapter.safetensors", "--z", "warmth=2")
    changes = pd.read_csv(tmp_path / "out" / "tables" / "inventory_changes.csv")
    assert changes["condition"].tolist() == ["adapter warmth +2"]
    assert abs(changes["estimate"].iloc[0]) + abs(changes["acquiescence_change"].iloc[0]) > 1e-4


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
