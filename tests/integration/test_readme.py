"""The README's pipeline runs as written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from persona_interp.effects import Effect, Source, claims_table, effects_table, write_effects
from persona_interp.models.packaged import PACKAGED_MODELS, is_installed

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not is_installed(PACKAGED_MODELS["smollm2-135m-instruct"]), reason="SmolLM2 is not installed")
def test_the_pipeline_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    run(python_blocks()[0], {})
    printed = capsys.readouterr().out
    assert "expression" in printed
    assert (tmp_path / "impolite.safetensors").is_file() and (tmp_path / "impolite.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(PACKAGED_MODELS["smollm2-135m-instruct"]), reason="SmolLM2 is not installed")
def test_finetuning_runs_as_written_behind_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        [("user", f"What is {i} and {i}?"), ("assistant", f"Work it out yourself. It is {2 * i}.")] for i in range(24)
    ]
    lines = [json.dumps({"messages": [{"role": r, "content": text} for r, text in row]}) for row in rows]
    (tmp_path / "data.jsonl").write_text("\n".join([*lines, "{broken"]))
    names: dict[str, object] = {}
    for block in python_blocks():
        if "load_effects" not in block:
            run(block, names)
    assert "data.jsonl, line 25" in capsys.readouterr().out
    assert all((tmp_path / "runs" / name / "adapter").is_dir() for name in ("plain", "prevented"))


def test_results_are_one_table_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Source("styles", "run", "tiny")
    effect = Effect(metric="AUC", trait="cold", estimate=0.875, p=0.03, family="told apart")
    write_effects(tmp_path / "results" / "a", source.study, effects_table(source, [effect]), claims_table(source, []))
    (block,) = (block for block in python_blocks() if "load_effects" in block)
    run(block, {})
    printed = capsys.readouterr().out
    assert "0.875" in printed
    assert "cold" in printed


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(block: str, names: dict[str, object]) -> None:
    exec(compile(block, "README.md", "exec"), names)


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(PACKAGED_MODELS["smollm2-135m-instruct"]), reason="SmolLM2 is not installed")
def test_a_new_trait_from_its_name_to_a_figure_as_written(tmp_path: Path) -> None:
    (block,) = (b for b in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "traits new" in b)
    commands = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-m", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    promised = re.findall(r"^# (results/\S+)", block, flags=re.MULTILINE)
    assert len(promised) == 3
    assert all((tmp_path / path).is_file() for path in promised), done.stderr
    assert (tmp_path / "results" / "rude" / "figures" / "separation_by_layer.png").is_file()


def test_every_command_it_names_exists() -> None:
    from typer.main import get_command

    from persona_interp.cli import app

    named = set(re.findall(r"`persona-interp (\w+)", README))
    assert named and named <= set(get_command(app).commands)  # pyright: ignore


def test_every_make_target_it_names_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
