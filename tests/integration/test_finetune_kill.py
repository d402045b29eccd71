"""A finetuning run killed with SIGKILL goes on to the very adapter of one that nobody killed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from persona_interp.data.conversations import question_and_answer, write_conversations
from persona_interp.finetuning.run_folder import Finetuned
from persona_interp.finetuning.settings import LoRA, TrainingSettings
from persona_interp.finetuning.train import finetune
from tests.integration.conftest import ROOT

LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.1}
SETTINGS = {"learning_rate": 1e-2, "n_epochs": 25.0, "batch_size": 4, "checkpoint_every": 2}
N_STEPS = 100
CODE = """
import json, sys, torch
from pathlib import Path
from persona_interp.finetuning.settings import LoRA, TrainingSettings
from persona_interp.finetuning.train import finetune
torch.set_num_threads(1)
model, data, out, lora, settings = sys.argv[1:]
finetune(model, data, out=Path(out), lora=LoRA(**json.loads(lora)), settings=TrainingSettings(**json.loads(settings)),
         device="cpu", progress=False)
"""


def in_process(model: Path, data: Path, out: Path) -> Finetuned:
    settings = TrainingSettings(**SETTINGS)  # pyright: ignore
    return finetune(model, data, out=out, lora=LoRA(**LORA), settings=settings, device="cpu", progress=False)  # pyright: ignore


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(
    model_folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    data, out = tmp_path / "data.jsonl", tmp_path / "run"
    write_conversations(
        data, [question_and_answer(f"Is {i} odd?", "Yes!" if i % 2 else "Not at all.") for i in range(16)]
    )
    command = [sys.executable, "-c", CODE, *map(str, (model_folder, data, out)), json.dumps(LORA), json.dumps(SETTINGS)]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE) as job:
        deadline = time.monotonic() + 120
        while not list(out.glob("checkpoints/checkpoint-*/trainer_state.json")):
            assert job.poll() is None, job.stderr and job.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        job.kill()
    assert job.returncode == -signal.SIGKILL
    assert not (out / "result.json").exists() and not (out / "adapter").exists()
    whole = max(out.glob("checkpoints/checkpoint-*/trainer_state.json"), key=lambda p: p.stat().st_mtime_ns).parent
    # what a kill in the middle of a checkpoint leaves: a later folder without the trainer's state
    half = whole.with_name(f"checkpoint-{N_STEPS}")
    shutil.copytree(whole, half)
    (half / "trainer_state.json").unlink()
    resumed, expected = in_process(model_folder, data, out), in_process(model_folder, data, tmp_path / "whole")
    assert (resumed.n_steps, resumed.stopped) == (N_STEPS, False)
    assert resumed.losses["loss"].tolist() == expected.losses["loss"].tolist()
    came, wanted = (load_file(made.adapter / "adapter_model.safetensors") for made in (resumed, expected))
    assert came.keys() == wanted.keys()
    assert all(torch.equal(came[name], wanted[name]) for name in wanted)
    assert sorted(path.name for path in out.iterdir()) == ["adapter", "finetune.json", "result.json"]
