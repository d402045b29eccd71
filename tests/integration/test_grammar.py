"""One grammar for all commands: spellings, shared options, files of options, exit codes, and the last resort."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.cli import app, grammar
from persona_interp.cli.toml import toml
from tests.integration.conftest import Shell

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(TEXTS, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))


@given(st.one_of(VALUES, st.lists(TEXTS), st.lists(st.integers(0, 9))))
def test_what_is_written_as_toml_is_read_back(value: object) -> None:
    assert tomllib.loads(f"x = {toml(value)}")["x"] == value  # pyright: ignore


def commands() -> dict[str, list[str]]:
    """The spellings of every option, by command."""
    from typer.main import get_command

    found, waiting = {}, [("", get_command(app))]
    while waiting:
        name, command = waiting.pop()
        inner = getattr(command, "commands", {})
        waiting += [(f"{name} {one}".strip(), part) for one, part in inner.items()]
        if not inner:
            found[name] = [option for part in command.params for option in part.opts if option.startswith("--")]
    return found


def test_every_command_has_the_shared_options_and_no_old_spelling() -> None:
    found = commands()
    assert len(found) == 26
    for name, options in found.items():
        assert {"--config", "--device", "--quiet", "--json"} <= set(options), name
        assert not {f"--{old}" for old in grammar.OLD_SPELLINGS} & set(options), name


def test_an_option_file_is_written_beside_the_results_and_can_be_passed_back(
    shell: Shell, model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    small = ("--n-questions", 2, "--max-new-tokens", 4, "--dtype", "float32", "--filter", "none", "--seed", 3)
    done = shell("extract", trait_files[0], "--out", tmp_path / "a", "--model", model_folder, *small)
    assert done.code == 0, done.err
    kept = tmp_path / "a" / "config.extract.toml"
    options = tomllib.loads(kept.read_text())
    assert (options["trait"], options["out"], options["seed"]) == (str(trait_files[0]), str(tmp_path / "a"), 3)
    assert options["n-samples"] == 1, "defaults are there too"
    vector = (tmp_path / "a" / "cheerful.safetensors").read_bytes()
    again = shell("extract", "--config", kept)
    assert (again.code, again.out) == (0, done.out)
    other = shell("extract", "--config", kept, "--out", tmp_path / "b", "--json")
    assert other.code == 0
    found = json.loads(other.out)
    assert found["direction"] == str(tmp_path / "b" / "cheerful.safetensors")
    assert Path(found["direction"]).read_bytes() == vector


def test_json_and_quiet_say_no_more_than_they_should(shell: Shell, vector: Path, model_folder: Path) -> None:
    options = ("--layer", 1, "--model", model_folder, "--dtype", "float32", "--max-new-tokens", 3)
    done = shell(
        "steer", vector, "-p", "How is tea?", *options, "--coefficient", "0.1", "--coefficient", "-0.1", "--json"
    )
    rows = json.loads(done.out)
    assert [row["coefficient"] for row in rows] == [-0.1, 0.0, 0.1]
    assert set(rows[0]) == {"question", "trait", "layer", "coefficient", "answer"}
    quiet = shell("steer", vector, "-p", "How is tea?", *options, "-q")
    assert (quiet.code, quiet.out, quiet.error) == (0, "", "")


def test_old_spellings_are_taken_with_a_warning(shell: Shell, vector: Path, model_folder: Path) -> None:
    options = ("--layer", 1, "--model", model_folder, "--dtype", "float32")
    new, old = (shell("project", "I am happy.", name, vector, *options) for name in ("--vector", "--vectors"))
    assert (old.code, old.out) == (0, new.out)
    assert old.error == "warning: --vectors is now --vector; the old spelling will be refused from version 0.2 on."


def test_a_module_run_as_a_program_is_called_as_the_program(environment: dict[str, str]) -> None:
    call = [sys.executable, "-m", "persona_interp", "extract", "--help"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert done.stdout.split()[:3] == ["Usage:", "persona-interp", "extract"]


def test_the_version(shell: Shell) -> None:
    import persona_interp

    assert shell("--version").out == f"persona-interp {persona_interp.__version__}\n"


@pytest.mark.parametrize(
    "error", ["OSError(28, 'No space left')", "MemoryError()", "RecursionError('deep')", "KeyError('x')"]
)
def test_what_nobody_foresaw_names_the_command_and_where_to_report(environment: dict[str, str], error: str) -> None:
    body = f"@cli.app.command()\ndef broken(api_key: str = '') -> None:\n    raise {error}\n"
    code = f"import persona_interp.cli as cli\n{body}cli.main()"
    call = [sys.executable, "-c", code, "broken", "--api-key", "sk-secret", "--api-key=sk-other"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    first, command, report = done.stderr.splitlines()
    assert first.startswith(error.partition("(")[0] + ": ")
    assert command == "  The command was: persona-interp broken --api-key [key] --api-key=[key]"
    assert "sk-" not in done.stderr
    assert "report this" in report and "PERSONA_INTERP_DEBUG=1" in report
    shown = subprocess.run(call, env={**environment, "PERSONA_INTERP_DEBUG": "1"}, capture_output=True, text=True)
    assert "Traceback" in shown.stderr


def test_a_reader_that_leaves_early_is_no_fault(environment: dict[str, str]) -> None:
    call = f"{sys.executable} -m persona_interp traits --json | head -c 1"
    done = subprocess.run(call, shell=True, env={**os.environ, **environment}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("{", "")


def test_numbers_of_tables_become_json_and_what_is_no_number_null() -> None:
    rows = {
        "effects": np.array(["a", "b"], dtype=object),
        "q": np.float64("nan"),
        "n": np.int64(3),
        "held": (1.5, None),
    }
    assert json.loads(grammar._json([rows])) == [{"effects": ["a", "b"], "q": None, "n": 3, "held": [1.5, None]}]
