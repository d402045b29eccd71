"""A Trainer of transformers: loss on answers, edits inside a batch, a penalty; a loss that is not finite stops it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from persona_interp.errors import TrainingError
from persona_interp.finetuning.adapter import save_adapter
from persona_interp.finetuning.penalty import PenaltyState
from persona_interp.finetuning.samples import IGNORED
from persona_interp.finetuning.settings import TrainingSettings
from persona_interp.models.training import TrainingHooks
from persona_interp.progress import track


class NotFiniteError(TrainingError):
    """The loss or the adapter is not a number any more."""


class AnswerTrainer(Trainer):
    """Cross-entropy of answer tokens (nats a token), edits and penalty; the unembedding runs on those tokens only."""

    loss_is_scaled_for_ga = True

    def hook(self, hooks: TrainingHooks, penalty: PenaltyState | None) -> "AnswerTrainer":
        """Train under these hooks, which the caller attaches."""
        self._hooks, self._penalty = hooks, penalty
        self.model_accepts_loss_kwargs = True  # count the answer tokens of a step, whatever the model's signature
        self.add_callback(_AfterStep(penalty))
        return self

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward pass of a batch, both under the hooks."""
        inputs = self._prepare_inputs(inputs)
        ids, mask, answers = inputs["input_ids"], inputs["attention_mask"], inputs["labels"] != IGNORED
        with self._hooks.batch(ids, mask, answers):
            return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch, a share of the mean over all answer tokens of the step; in evaluation without edits."""
        plain = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        with mixed_precision(self._peft):
            total, n_tokens = answer_loss(model, inputs["labels"], plain)
        loss = total / (n_tokens if num_items_in_batch is None else num_items_in_batch)
        if self._penalty is not None and model.training:
            share = 1.0 if num_items_in_batch is None else 1.0 / self.current_gradient_accumulation_steps
            loss = loss + share * self._penalty_loss(plain)
        if not torch.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss.item()} at step {self.state.global_step + 1}.")
        return (loss, ()) if return_outputs else loss

    def _penalty_loss(self, plain: dict[str, Tensor]) -> Float[Tensor, ""]:
        assert self._penalty is not None
        now = self._hooks.residuals
        base = None
        if self._penalty.penalty.reference is None:
            with self._peft.disable_adapter(), mixed_precision(self._peft):
                base = self._hooks.bare_residuals(**plain)
        return self._penalty.loss(now, base, self._hooks.positions(self._penalty.penalty.span))

    @property
    def _peft(self) -> PeftModel:
        peft = self.accelerator.unwrap_model(self.model)
        assert isinstance(peft, PeftModel)
        return peft

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """The adapter alone: the rest is the base's, and nothing is asked of a hub."""
        assert output_dir is not None, "transformers names the checkpoint"
        save_adapter(self._peft, Path(output_dir))


class Bar(TrainerCallback):
    """A progress bar over the steps."""

    def __init__(self, label: str, *, show: bool) -> None:
        self._label, self._show = label, show

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """Start where the run goes on."""
        left = state.max_steps - state.global_step
        self._steps = track(range(left + 1), self._label, total=left, show=self._show)
        next(self._steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """One step more."""
        next(self._steps, None)

    def close(self) -> None:
        """Take the bar away, also where training was interrupted."""
        if hasattr(self, "_steps"):
            self._steps.close()


class _AfterStep(TrainerCallback):
    """Adapts the penalty's weight, logs it, and carries it over a resume in the trainer's own state."""

    def __init__(self, penalty: PenaltyState | None) -> None:
        self._penalty = penalty

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """Take up the weight that a resumed run had."""
        weights = [row["penalty_weight"] for row in state.log_history if "penalty_weight" in row]
        if self._penalty is not None and weights:
            self._penalty.weight = weights[-1]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """Adapt."""
        if self._penalty is not None:
            self._penalty.adapt()

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Add the weight and the shift to the log."""
        if self._penalty is None or logs is None or "loss" not in logs:
            return
        added = {"penalty_weight": self._penalty.weight, "penalty_shift": self._penalty.shift}
        logs.update(added)
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(added)


def mixed_precision(model: PeftModel) -> AbstractContextManager[Any]:
    """Adapters keep float32 weights; beside a bfloat16 model they are multiplied in bfloat16."""
    weights = next(model.get_base_model().parameters())
    if weights.dtype != torch.bfloat16:
        return nullcontext()
    return torch.autocast(weights.device.type, dtype=torch.bfloat16)


def training_arguments(settings: TrainingSettings, folder: Path, *, on_cpu: bool) -> TrainingArguments:
    """The settings in the words of transformers; checkpoints go into the folder."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=on_cpu,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=settings.n_epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_steps,
        optim="adamw_torch",
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.checkpoint_every,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=settings.seed,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # hooks hold the masks of one batch, not of replicas
    return arguments


def answer_loss(model: nn.Module, labels: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Float[Tensor, ""], int]:
    """Summed cross-entropy of the answer tokens (nats), in float32, and their number.

    Only positions whose next token is an answer's go through the unembedding.
    """
    predicting = torch.zeros_like(labels, dtype=torch.bool)
    predicting[:, :-1] = labels[:, 1:] != IGNORED
    targets = labels[:, 1:][predicting[:, :-1]]
    head = model.get_output_embeddings()  # pyright: ignore
    with ExitStack() as stack:
        handle = head.register_forward_pre_hook(lambda _, args: (args[0][predicting][None], *args[1:]))
        stack.callback(handle.remove)
        logits = model(**inputs, use_cache=False).logits[0]
    return cross_entropy(logits.float(), targets, reduction="sum"), len(targets)
