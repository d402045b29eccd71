"""`persona-interp styles`: vectors, tables and provenance in a folder, resumed, and refusals in one paragraph."""

import json
from pathlib import Path

import pandas as pd
import pytest

from persona_interp.directions.direction import Direction
from persona_interp.effects import load_effects
from tests.integration.conftest import Done, Shell
from tests.styles import WORDS

MORE = ("house", "stone", "spoon", "shirt", "table", "street")
OPTIONS = (
    "--dtype", "float32", "--coefficient", "0.3", "--n-questions", 6, "--n-selection", 6, "--n-random", 3,
    "--max-new-tokens", 6, "--n-trained", 2, "--learning-rate", 0.05, "--epochs", 2, "--max-loss", 1e9,
)  # fmt: skip


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "weather.jsonl"
    forms = {"cold": "The {} is cold.", "warm": "Oh, a warm {}!"}
    rows = [{"text": form.format(word), "style": style} for style, form in forms.items() for word in (*WORDS, *MORE)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def call(shell: Shell, sentences: Path, out: Path, model: Path, *more: object) -> Done:
    return shell("styles", sentences, "--out", out, "--model", model, *OPTIONS, *more)


def test_it_leaves_vectors_tables_and_provenance_and_goes_on(
    shell: Shell, sentences: Path, model_folder: Path, tmp_path: Path
) -> None:
    variants = ("--variant", "activation,generated,trained", "--published", "--style", "warm")
    done = call(shell, sentences, tmp_path, model_folder, *variants)
    assert done.code == 0, done.err
    assert "warm: held-out AUC" in done.out and "change of expression against unsteered answers" in done.out
    names = {path.stem for path in (tmp_path / "vectors").glob("*.safetensors")}
    assert names == {f"style.weather.warm.{v}" for v in ("activation", "published", "generated", "trained")}
    methods = {Direction.load(path).method for path in (tmp_path / "vectors").glob("*.safetensors")}
    assert {"style_vector", "style_vector_generated", "style_vector_trained"} < methods
    effects = load_effects(tmp_path)
    told = effects[effects["metric"] == "AUC"]
    assert set(told["trait"]) == {"cold", "warm"} and set(told["data"]) == {"weather"}
    steered = effects[effects["metric"] == "expression"]
    assert set(steered["method"]) == {"unsteered", "prompt", *methods}
    ranked = effects[effects["test"] == "rank among directions"]
    assert set(ranked["n_null"]) == {3} and ranked["p"].isna().all(), "three draws are no test"
    answers = pd.read_parquet(tmp_path / "measurements_styles.parquet")
    assert {"random 0", "random 1", "random 2"} < set(answers["method"])
    validity = effects[effects["metric"] == "AUC of a judge"]
    assert set(validity["judge"]) == {"embedding (all-MiniLM-L6-v2)"}, "the lexicon rates neither style"
    assert not (tmp_path / "tables").exists()
    said = json.loads((tmp_path / "provenance_styles.json").read_text())
    assert said["n_fit"] == {"cold": 10, "warm": 10} and said["n_held_out"] == {"cold": 4, "warm": 4}
    assert "Style vectors: weather" in (tmp_path / "report.html").read_text(encoding="utf-8")
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("part-*")}
    again = call(shell, sentences, tmp_path, model_folder, *variants)
    assert again.code == 0 and again.out == done.out
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("part-*")}
    other = call(shell, sentences, tmp_path, model_folder, *variants, "--seed", 1)
    assert other.code == 2 and "holds results of another configuration" in other.error


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--variant", "magic"), "--variant must be among activation, generated, trained, got 'magic'."),
        (("--style", "dry"), "weather has no style 'dry'.\n  Styles: cold, warm."),
        (("--layer", 9), "Layers run 0..2"),
        (("--layer", 1, "--depth", 0.5), "got both --layer and --depth."),
        (("--depth", 1.5), "Invalid value for '--depth': must be less than or equal to 1"),
        (("--coefficient", "-1"), "coefficients[1] must be above 0"),
        (("--n-questions", 2), "n_questions must be 3 to 50, got 2."),
    ],
)
def test_mistakes_are_one_paragraph(
    shell: Shell, sentences: Path, model_folder: Path, tmp_path: Path, more: tuple[object, ...], text: str
) -> None:
    done = call(shell, sentences, tmp_path, model_folder, *more)
    assert done.code == (1 if "HookpointError" in done.error else 2) and text in done.error
    assert "Traceback" not in done.err
    assert not list(tmp_path.rglob("part-*")), "nothing was computed"
