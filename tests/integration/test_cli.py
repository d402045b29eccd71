"""The command line: through typer's own runner, and as a process with its exit codes and streams."""

import io
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from persona_interp.cli import app
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.directions.direction import Direction
from persona_interp.models.packaged import PACKAGED_MODELS
from tests.integration.conftest import Shell

COMMANDS = (
    *("run", "models", "traits", "extract", "steer", "project", "convert", "monitor"),
    *("levels", "finetune", "screen", "serve", "styles", "psychadapter", "inventory", "sae"),
)
CALL = "from persona_interp.cli import main; main()"
MAIN = (sys.executable, "-c", CALL)


def test_help_takes_less_than_a_second_and_names_every_command(environment: dict[str, str]) -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([*MAIN, "--help"], env=environment, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] < 1:
            break
    assert all(re.search(rf"^\W*{command}\s", done.stdout, re.MULTILINE) for command in COMMANDS)
    assert min(seconds) < 1.5  # half a second of slack for a busy machine


def test_help_imports_nothing_heavy(environment: dict[str, str]) -> None:
    code = (
        "import sys, typer.testing as t; from persona_interp.cli import app; t.CliRunner().invoke(app, ['--help']);"
        " print([m for m in ('torch', 'transformers', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_the_library_warns_of_reaches_standard_error(environment: dict[str, str]) -> None:
    code = (
        "import logging, persona_interp.cli as cli\n"
        "@cli.app.command()\n"
        "def noisy() -> None:\n"
        "    logging.getLogger('persona_interp.finetuning.run_folder').warning('3 samples were left out')\n"
        "    logging.getLogger('persona_interp.models.packaged').info('converting once')\n"
        "    logging.getLogger('httpx').info('a request')\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "noisy"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == "" and done.stderr == "3 samples were left out\nconverting once\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.output


def test_models_lists_whole_names_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    done = CliRunner().invoke(app, ["models"])
    assert done.exit_code == 0
    for name in PACKAGED_MODELS:
        assert name in done.stdout


def test_traits_lists_every_trait_and_shows_one_whole(trait_files: tuple[Path, Path]) -> None:
    done = CliRunner().invoke(app, ["traits"])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list_traits()
    for name in ("impolite", "low_openness", str(trait_files[0])):
        done = CliRunner().invoke(app, ["traits", "show", name])
        assert done.exit_code == 0
        shown, trait = json.loads(done.stdout), load_trait(name)
        assert (shown["name"], tuple(shown["questions"])) == (trait.name, trait.questions)
        assert len(shown["instruction"]) == len(trait.instructions)


def test_extract_saves_a_vector_with_its_manifest(vector: Path, model_folder: Path) -> None:
    direction = Direction.load(vector)
    assert (direction.trait, direction.method, direction.provenance.model) == (
        "cheerful",
        "persona_vector",
        str(model_folder),
    )
    assert direction.vectors.shape == (3, 32)
    assert direction.residual_norms is not None
    assert vector.with_suffix(".json").is_file()
    assert list((vector.parent / "rollouts" / "cheerful").glob("part-*.parquet"))


def test_steer_prints_steered_beside_unsteered(shell: Shell, vector: Path, model_folder: Path) -> None:
    prompts = ["--prompt", "How is tea?", "--prompt", "Why run?"]
    options = ["--layer", 1, "--model", model_folder, "--dtype", "float32", "--max-new-tokens", 5]
    done = shell("steer", vector, *prompts, *options, "--coefficient", "0.4,-0.4")
    assert (done.code, done.error) == (0, "")
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in done.out.splitlines()]
    header, first, second = [row for row in cells if len(row) == 4 and row[0]]
    assert header == ["question", "cheerful -0.4", "unsteered", "cheerful +0.4"]
    assert (first[0], second[0]) == ("How is tea?", "Why run?")
    assert len({*first[1:], *second[1:]}) > 2
    again = shell("steer", vector, *prompts, *options, "--coefficient", "0.4,-0.4")
    assert again.out == done.out


def test_steer_by_effect(shell: Shell, vector: Path, model_folder: Path) -> None:
    """Each target at both signs, at coefficients that are said."""
    options = ["--prompt", "Why run?", "--layer", 1, "--model", model_folder, "--dtype", "float32"]
    done = shell("steer", vector, *options, "--max-new-tokens", 5, "--kl", 0.05, "--kl", 0.2, "--json")
    assert (done.code, done.error) == (0, "")
    rows = json.loads(done.out)
    assert [row["kl"] for row in rows] == [-0.2, -0.05, None, 0.05, 0.2]
    sizes = [row["coefficient"] for row in rows]
    assert sizes == sorted(sizes) and sizes[2] == 0 and sizes[1] < 0 < sizes[3]
    shown = shell("steer", vector, *options, "--max-new-tokens", 5, "--kl", 0.2).out
    assert re.search(r"cheerful \+0\.\d+ \(0\.2 nats\)", shown)
    for more, said in (
        (("--kl", "0"), "--kl must be above 0, got 0."),
        (("--kl", "0.2", "--coefficient", "0.4"), "got both --kl and --coefficient."),
        (("--kl", "0.2,0.21"), "targets on a side must be at least a quarter apart, got 0.2 and 0.21."),
        (("--kl", "much"), "--kl must be numbers, joined by commas, got 'much'."),
    ):
        refused = shell("steer", vector, *options, *more)
        assert refused.code == 2 and said in refused.err


def test_project_of_a_text_and_of_lines_agree(shell: Shell, vector: Path, model_folder: Path, tmp_path: Path) -> None:
    options = ["--vector", vector, "--layer", 1, "--model", model_folder, "--dtype", "float32"]
    text = shell("project", "I am happy.", *options)
    assert (text.code, text.error) == (0, "")
    alone = pd.read_csv(io.StringIO(text.out))
    lines = tmp_path / "texts.jsonl"
    rows = [{"text": "I am happy."}, {"prompt": "How is tea?", "response": "Good."}]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    done = shell("project", lines, *options, "--out", tmp_path / "out" / "projected.csv")
    assert (done.code, done.out, done.error) == (0, "", "")
    table = pd.read_csv(tmp_path / "out" / "projected.csv")
    column = "cheerful (persona_vector, layer 1)"
    assert list(table.columns) == list(alone.columns) == ["prompt", "text", column]
    assert list(table["text"]) == ["I am happy.", "Good."]
    assert table[column].notna().all()
    assert alone[column][0] == pytest.approx(table[column][0], rel=1e-4)


def test_project_takes_several_vectors(shell: Shell, vector: Path, model_folder: Path, tmp_path: Path) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(vector.with_suffix(suffix), tmp_path / f"copy{suffix}")
    copied = tmp_path / "copy.safetensors"
    options = ["--layer", 1, "--model", model_folder, "--dtype", "float32"]
    done = shell("project", "I am happy.", "-v", vector, "-v", copied, *options)
    assert done.code == 0
    assert shell("project", "I am happy.", "-v", f"{vector},{copied}", *options).out == done.out
    twice = shell("project", "I am happy.", "-v", vector, "-v", vector, *options)
    assert (twice.code, twice.error) == (2, f"ConfigError: --vector names {str(vector)!r} twice.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["steer", "a.safetensors", "--prompt", "Hi"], "Missing option '--layer'"),
        (["steer", "a.safetensors", "--prompt", "Hi", "--layer", "two"], "Invalid value for '--layer'"),
        (["extract", "evil"], "Missing option '--out'"),
        (["persuade"], "No such command 'persuade'"),
        (["traits", "--colour"], "No such option: --colour"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(shell: Shell, arguments: list[str], words: str) -> None:
    done = shell(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert done.err.endswith("(see --help)\n")
    assert done.err.count("\n") == 1
