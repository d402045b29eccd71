"""The README's pipeline runs as written."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from persona_interp.effects import Effect, Source, claims_table, effects_table, write_effects
from persona_interp.models.packaged import PACKAGED_MODELS, is_installed
from persona_interp.models.tokens import render_prompt

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
        if "load_effects" not in block and "org/name" not in block:
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


def test_models_that_you_bring_load_as_written(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_folder, tmp_path / "org" / "name")
    shutil.copytree(model_folder, tmp_path / "org" / "thinks")
    template = "{% for m in messages %}{{ m.content }}{% endfor %}{% if enable_thinking %}<think>{% endif %}"
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path / "org" / "thinks")
    trained = AutoModelForCausalLM.from_pretrained(model_folder)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained("org/name"), LoraConfig(target_modules=["q_proj"]))
    adapted.save_pretrained("runs/plain/adapter")
    (block,) = (block for block in python_blocks() if "org/name" in block)
    names: dict[str, Any] = {"trained": trained, "tokenizer": AutoTokenizer.from_pretrained(model_folder)}
    run(block, names)
    assert len({names[name].provenance.weights for name in ("model", "own", "calm")}) == 1
    assert "<think>" not in render_prompt(names["calm"].tokenizer, "Hi")


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

    named = set(re.findall(r"`persona-interp (\w[\w-]*)", README))
    assert named and named <= set(get_command(app).commands)  # pyright: ignore


def test_every_option_it_names_is_one_of_its_command() -> None:
    from typer.main import get_command

    from persona_interp.cli import app

    known = get_command(app).commands  # pyright: ignore
    calls = re.findall(r"persona-interp ((?:[^`\n|]|\\\n)+)", README)
    checked = 0
    for call in calls:
        words = [word for word in re.split(r"\s+", call.replace("\\\n", " ")) if word]
        command = known.get(words[0])
        if command is None:
            continue
        if hasattr(command, "commands") and words[1:] and words[1] in command.commands:
            command = command.commands[words[1]]
        options = {option for part in command.params for option in (*part.opts, *part.secondary_opts)}
        given = [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)]
        assert set(given) <= options | {"--help"}, call
        checked += len(given)
    assert checked > 30


def test_every_make_target_it_names_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
