"""Evaluation between training steps sees the model as it will be used: without the edits it is trained under."""

from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from persona_interp.finetuning.trainer import AnswerTrainer
from persona_interp.models.training import TrainingHooks
from persona_interp.types import Edit, Hookpoint
from tests.contract.tiny import Tiny, words
from tests.unit.finetuning.training import fresh


@pytest.mark.parametrize("checkpointed", [False, True])
def test_losses_of_training_are_under_edits_and_those_of_evaluation_are_not(
    small: Tiny, tmp_path: Path, checkpointed: bool
) -> None:
    model = fresh(small, lora=True)
    vector = 3 * torch.randn(small.plain.config.hidden_size, generator=torch.Generator().manual_seed(1))
    shift = Edit(lambda residual, mask: residual + mask[..., None] * vector)
    hooks = TrainingHooks(model, {Hookpoint(0): (shift,)})
    ids = torch.tensor([words(12, seed) for seed in range(8)])
    labels = torch.where(torch.arange(12) < 5, -100, ids)
    rows = [
        {"input_ids": i, "attention_mask": torch.ones_like(i), "labels": y} for i, y in zip(ids, labels, strict=True)
    ]
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        learning_rate=0.0,
        max_steps=2,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=4,
        eval_strategy="steps",
        eval_steps=1,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        activation_checkpointing=checkpointed,
        activation_checkpointing_kwargs={"use_reentrant": False} if checkpointed else None,
    )
    model.enable_input_require_grads()
    trainer = AnswerTrainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows).hook(hooks, None)  # pyright: ignore
    with hooks.attached():
        trainer.train()
    history = trainer.state.log_history
    plain = model.eval()(input_ids=ids, labels=labels).loss.item()
    with hooks.attached(), hooks.batch(ids, torch.ones_like(ids), labels != -100):
        edited = model(input_ids=ids, labels=labels).loss.item()
    assert abs(edited - plain) > 0.1
    assert [row["eval_loss"] for row in history if "eval_loss" in row] == pytest.approx([plain] * 2, rel=1e-4)
    assert [row["loss"] for row in history if "loss" in row] == pytest.approx([edited] * 2, rel=1e-3)
