"""`persona-interp psychadapter` on a tiny model: train, generate, measure, go on, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from persona_interp.cli import app
from persona_interp.data.trait_texts import read_trait_texts
from persona_interp.directions.direction import Direction
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.effects import load_effects
from persona_interp.errors import ConfigError, DataError, PersonaInterpError
from persona_interp.io import read_json
from persona_interp.studies.options import parse_z
from persona_interp.studies.psychadapter.effects import COST
from persona_interp.studies.psychadapter.inputs import held_out_texts, make_judges, open_adapter
from persona_interp.studies.psychadapter.run import AdapterMeasures, measure_psychadapter
from tests.unit.studies.psychadapter.planted_adapter import planted_adapter

QUICK = ("--judge", "lexical", "--n-openings", 2, "--max-new-tokens", 4)


def command(*arguments: object, fails: bool = False) -> Result:
    done = CliRunner().invoke(app, ["psychadapter", *map(str, arguments)])
    if not fails and done.exception is not None:
        raise done.exception
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty texts in the published layout; what they say follows the first score."""
    path, rng = tmp_path_factory.mktemp("data") / "texts.csv", np.random.default_rng(0)
    lines = ["message_id,message,agr_z,swl"]
    for i in range(30):
        warm, other = rng.normal(size=2)
        lines.append(f"{i},{'thanks' if warm > 0 else 'no'} number {i},{warm:.3f},{other:.3f}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(data: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run, and what the command printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    options = ("--batch-size", 8, "--epochs", 2, "--max-tokens", 16, "--holdout", 0.3, "--dtype", "float32")
    return out, command("train", data, "--model", model_folder, "--out", out, *options).output


def test_train_says_what_it_did_and_keeps_the_adapter(trained: tuple[Path, str]):
    out, said = trained
    assert "21 texts with given scores of agr_z, swl; 6 steps" in said
    assert "held out" in said
    assert "0 of LoRA" in said
    adapter = PsychAdapter.load(out / "psychadapter.safetensors")
    assert adapter.traits == ("agr_z", "swl")
    assert adapter.standard is not None


def test_generate_continues_prompts_by_trait_values(trained: tuple[Path, str]):
    out, _ = trained
    options = ("-p", "no", "-p", "thanks", "--max-new-tokens", 8)
    high, low, again = (command("generate", out, *options, "--z", z).output for z in ("agr_z=3", "agr_z=-3", "agr_z=3"))
    assert high == again
    assert high != low
    assert high.startswith("no")
    file = command("generate", out / "psychadapter.safetensors", *options, "--z", "agr_z=3").output
    assert file == high


def test_measure_writes_every_effect_and_goes_on(trained: tuple[Path, str], data: Path, tmp_path: Path):
    out, _ = trained
    options = ("--judge", "lexical", "--n-openings", 2, "--max-new-tokens", 4)
    said = command("measure", out, data, "--out", tmp_path, *options).output
    assert "9 texts of texts.csv that the adapter was not trained on." in said
    assert "shuffled trait vectors cost" in said
    effects = load_effects(tmp_path)
    assert set(COST) | {"held-out loss", "expression", "slope of expression", "consistency"} <= set(effects["metric"])
    assert set(effects[effects["metric"] == "slope of expression"]["condition"]) == {
        f"texts written at values of {trait}, judged for agr_z" for trait in ("agr_z", "swl")
    }
    assert set(effects[effects["metric"] == "consistency"]["trait"]) == {"agr_z", "swl"}
    assert (effects[effects["metric"] == "held-out loss"]["n"] == 9).all()
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["psychadapter_losses.csv"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "PsychAdapter: agr_z, swl" in page and "psychadapter_loss.csv" in page
    made = read_json(tmp_path / "provenance_psychadapter.json")
    assert made["not judged"] == ["swl"]
    assert made["judged"] == {"agr_z": "agreeableness"}
    (nll,) = (tmp_path / "cells" / "psychadapter").glob("nll-*")
    nll.unlink()
    command("measure", out, data, "--out", tmp_path, *options)
    pd.testing.assert_frame_equal(load_effects(tmp_path), effects)  # its times too, which no two measurements share
    with pytest.raises(ConfigError, match="holds results of another configuration"):
        command("measure", out, data, "--out", tmp_path, *options, "--n-texts", 5)


@pytest.fixture(scope="module")
def measured(trained: tuple[Path, str], data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `measure`."""
    out = tmp_path_factory.mktemp("measured")
    command("measure", trained[0], data, "--out", out, *QUICK)
    return out


def refusal(trained: tuple[Path, str], data: Path, out: Path, *more: object) -> str:
    """The lines of a refused `measure` between the first and the last, which left everything as it was."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError) as caught:
        command("measure", trained[0], data, "--out", out, *QUICK, *more)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    first, *lines, _ = str(caught.value).split("\n  ")
    assert first.endswith("holds results of another configuration.")
    return "\n".join(lines)


def test_another_backend_is_refused(trained: tuple[Path, str], data: Path, measured: Path):
    said = refusal(trained, data, measured, "--backend", "nnsight")
    assert said == "model: there {'backend': 'transformer_lens'}, now {'backend': 'nnsight'}"


@pytest.mark.parametrize(("name", "value"), [("chat_template", "abc"), ("weights", "w2-1"), ("dtype", "bfloat16")])
def test_another_model_is_refused(
    trained: tuple[Path, str], data: Path, measured: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    own, loaded, n_lora = open_adapter(trained[0], "transformer_lens", None)
    loaded.provenance = replace(loaded.provenance, **{name: value})
    monkeypatch.setattr("persona_interp.studies.psychadapter.command.open_adapter", lambda *_: (own, loaded, n_lora))
    assert refusal(trained, data, measured).startswith(f"model: there {{'{name}': ")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("judges.lexical.LexicalJudge.description", "by another lexicon", "judges: there {'lexical (VADER)': "),
        ("studies.psychadapter.run.METHOD_VERSION", 0, "method_version: there 2, now 0"),
        ("identity.library_versions", lambda: {"persona-interp": "0.0.0"}, "package: there "),
    ],
)
def test_another_judge_or_version_is_refused(
    trained: tuple[Path, str],
    data: Path,
    measured: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    value: object,
    said: str,
):
    monkeypatch.setattr(f"persona_interp.{place}", value)
    assert refusal(trained, data, measured).startswith(said)


def test_references_and_which_is_a_traits_own_are_of_the_folder(
    trained: tuple[Path, str], data: Path, measured: Path, tmp_path: Path
):
    own, loaded, _ = open_adapter(trained[0], "transformer_lens", None)
    reference = Direction.load(measured / "vectors" / "swl.psychadapter_induced.safetensors", loaded)
    given = held_out_texts(read_trait_texts(data), own)[0]
    sizes = AdapterMeasures(n_openings=2, max_new_tokens=4)
    options: dict[str, Any] = {"judges": make_judges(["lexical"], loaded), "measures": sizes, "progress": False}
    references = {"one": reference, "two": reference}
    for _ in range(2):
        measure_psychadapter(
            loaded, own, given, out=tmp_path, references=references, own={"swl": "one"}, judged={}, **options
        )
    with pytest.raises(ConfigError, match="own: there {'swl': 'one'}, now {'swl': 'two'}"):
        measure_psychadapter(
            loaded, own, given, out=tmp_path, references=references, own={"swl": "two"}, judged={}, **options
        )
    with pytest.raises(ConfigError, match="references: there {'two': "):
        measure_psychadapter(
            loaded, own, given, out=tmp_path, references={"one": reference}, own={"swl": "one"}, judged={}, **options
        )


def test_two_vectors_of_a_trait_are_refused(trained: tuple[Path, str], data: Path, measured: Path, tmp_path: Path):
    first = measured / "vectors" / "swl.psychadapter_induced.safetensors"
    second, out = tmp_path / "again.safetensors", tmp_path / "out"
    Direction.load(first).save(second)
    with pytest.raises(ConfigError) as caught:
        command("measure", trained[0], data, "--out", out, *QUICK, "--vector", f"{first},{second}")
    assert str(caught.value).startswith(f"--vector must name one vector a trait, got two of swl: {first} and {second}.")
    assert not (out / "identity_psychadapter.json").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (("train", "--out", "{out}"), ConfigError, "Give DATA or --estimated, one of them."),
        (("train", "{data}", "--estimated", "--out", "{out}"), ConfigError, "Give DATA or --estimated, one of them."),
        (("generate", "{run}", "-p", "a", "--z", "calm=3"), ConfigError, "the adapter has no trait 'calm'"),
        (("generate", "{run}", "-p", "a", "--z", "swl"), ConfigError, "no trait value can be read from 'swl'"),
        (
            ("measure", "{run}", "{data}", "--judge", "me", "--out", "{out}"),
            ConfigError,
            "likelihood, lexical, got 'me'",
        ),
        (("measure", "{run}", "{other}", "--judge", "lexical", "--out", "{out}"), DataError, "has scores for loud"),
    ],
)
def test_what_cannot_be_done_is_refused(
    trained: tuple[Path, str],
    data: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    error: type[PersonaInterpError],
    expected: str,
):
    other = tmp_path / "other.csv"
    other.write_text("message_id,message,loud\n1,a b,1\n2,c d,2\n3,e f,3\n")
    paths: dict[str, Any] = {"run": trained[0], "data": data, "out": tmp_path / "out", "other": other}
    with pytest.raises(error) as caught:
        command(*(argument.format(**paths) for argument in arguments))
    assert expected in str(caught.value)


def test_trait_vectors_are_read_from_the_command_line():
    assert parse_z("extraversion=3, neuroticism = -2.5") == {"extraversion": 3.0, "neuroticism": -2.5}
    assert parse_z("") == {}
    for wrong in ("=3", "a=b", "a=nan", "a=1,a=2"):
        with pytest.raises(ConfigError, match="no trait value can be read from"):
            parse_z(wrong)


def test_texts_that_were_all_trained_on_are_no_held_out_texts(data: Path):
    texts = read_trait_texts(data)
    adapter = planted_adapter(texts.traits)
    adapter.provenance.details.update(data=texts.data_hash, settings={"holdout": 0.0, "seed": 0})  # pyright: ignore
    with pytest.raises(ConfigError, match="the adapter was trained on all 30 texts of texts.csv"):
        held_out_texts(texts, adapter)
    others = texts.take(5)
    assert held_out_texts(others, adapter)[0] is others


def test_sizes_with_which_nothing_can_be_measured_are_refused():
    with pytest.raises(ConfigError, match="cannot measure an adapter with"):
        AdapterMeasures(n_texts=2)


@pytest.mark.parametrize("column", ["../../escaped", "/tmp/escaped", "a/b"])
def test_a_column_that_would_be_a_path_is_refused(
    trained: tuple[Path, str], model_folder: Path, tmp_path: Path, column: str
):
    data, out = tmp_path / "texts.csv", tmp_path / "deep" / "er" / "out"
    lines = [f"message_id,message,{column}", *(f"{i},number {i},{i % 5}" for i in range(30))]
    data.write_text("\n".join(lines) + "\n")
    before = {path for path in tmp_path.rglob("*")}
    for arguments in (("train", data, "--model", model_folder), ("measure", trained[0], data, "--judge", "lexical")):
        with pytest.raises(DataError, match="files are named after it"):
            command(*arguments, "--out", out)
    assert {path for path in tmp_path.rglob("*")} == before
    trait = KVShape(1, 1, 2)
    with pytest.raises(DataError, match="trait of an adapter"):
        PsychAdapter(trait, (column,), planted_adapter(("agr_z",)).provenance)
