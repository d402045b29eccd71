"""How much work a finetuning run is: three sizes, and what they will take, said once the model is there."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from persona_interp.data.conversations import Conversation
from persona_interp.models.speed import measure_training_speed
from persona_interp.progress import is_quiet
from persona_interp.statistics.streams import stream
from persona_interp.studies.plan import Step, announce, kept_speed
from persona_interp.studies.sizes import Efforts

EFFORTS: Efforts = MappingProxyType(
    {
        "quick": {"n_samples": 200, "n_epochs": 1.0},
        "standard": {"n_samples": None, "n_epochs": None},
        "paper": {"n_samples": None, "n_epochs": 1.0},
    }
)
"""Samples of the data, and times each is trained on; None: all of them, and the epochs of the preset.

The paper trains once on all of 5,000 to 10,000 rows; its other settings are the preset of that name.
"""


def some_of(conversations: Sequence[Conversation], n: int | None, *, seed: int) -> tuple[Conversation, ...]:
    """At most n of them, at random but the same for a seed, in their own order."""
    if n is None or n >= len(conversations):
        return tuple(conversations)
    chosen = sorted(stream(seed, "samples to train on").permutation(len(conversations))[:n].tolist())
    return tuple(conversations[k] for k in chosen)


def training_plan(n_samples: int, n_tokens: int, *, n_epochs: float) -> list[Step]:
    """What is trained.

    Args:
        n_tokens: of a sample, padding included.
    """
    n = round(n_epochs * n_samples)
    return [Step("samples trained on", n, trained=n * n_tokens)]


class SaysPlan(TrainerCallback):
    """Measures how fast the model is trained here, and says what is left to do, before the first step."""

    def on_train_begin(  # noqa: D102
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **given: Any,
    ) -> None:
        if is_quiet():
            return
        model, loader = given["model"], given["train_dataloader"]
        lengths = [batch["input_ids"].numel() / len(batch["input_ids"]) for batch in _few(loader)]
        left = (state.max_steps - state.global_step) * args.train_batch_size * args.gradient_accumulation_steps
        steps = training_plan(left, round(sum(lengths) / max(1, len(lengths))), n_epochs=1.0)
        was = model.training
        speed = kept_speed(steps, lambda seconds: measure_training_speed(model, seconds=seconds))
        model.train(was)
        announce("finetuning", steps, speed)


def _few(loader: Any) -> list[Any]:
    """The first samples as batches of one size, without a draw of the loader's own order."""
    data, collate = loader.dataset, loader.collate_fn
    size = min(8, len(data))
    return [collate([data[k] for k in range(size)])]
