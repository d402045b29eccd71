"""Small finetuning runs: their data, settings, callbacks, and what is in an adapter."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainerCallback

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.finetuning.run_folder import Finetuned
from persona_interp.finetuning.settings import LoRA, TrainingSettings
from persona_interp.finetuning.train import finetune
from tests.contract.tiny import Tiny

SMALL = LoRA(rank=4, alpha=8.0)
ROWS = [
    question_and_answer(f"Is {i} odd?", "Yes, it is!" if i % 2 else "No, not at all.", name=f"row {i}")
    for i in range(16)
]


def quick(**changes: Any) -> TrainingSettings:
    """Four steps an epoch of four samples."""
    plain = {"learning_rate": 1e-2, "n_epochs": 2.0, "batch_size": 4, "warmup_steps": 1, "checkpoint_every": 3}
    return TrainingSettings(**{**plain, **changes})


def run(tiny: Tiny, out: Path, rows: list[Conversation] | Path = ROWS, **options: Any) -> Finetuned:
    """A run without a bar."""
    options = {"lora": SMALL, "settings": quick(), "device": "cpu", "progress": False, **options}
    return finetune(tiny.folder, rows, out=out, **options)


def adapter_of(made: Finetuned) -> dict[str, Tensor]:
    """The adapter's weights, from its file."""
    return load_file(made.adapter / "adapter_model.safetensors")


def assert_same_adapter(a: Finetuned, b: Finetuned) -> None:
    """Bit for bit."""
    first, second = adapter_of(a), adapter_of(b)
    assert first.keys() == second.keys() and first
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


class Breaks(TrainerCallback):
    """Raises after a step, or stops there; keeps the model it was given."""

    def __init__(self, step: int, error: BaseException | None) -> None:
        self.step, self.error = step, error
        self.model: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        self.model = model
        if state.global_step == self.step:
            if self.error is not None:
                raise self.error
            control.should_training_stop = True
