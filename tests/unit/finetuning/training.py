"""Small runs of transformers' Trainer on tiny models, with and without adapters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

from persona_interp.directions.direction import Direction
from persona_interp.models.identity import fingerprint
from tests.contract.tiny import Tiny, words
from tests.small import direction, provenance

PROMPTS = ("Why?", "Who is it, and when?", "What now?", "How are you?")
N_STEPS = 6


def fresh(tiny: Tiny, *, lora: bool, dropout: float = 0.0) -> Any:
    """The model to train, as it was saved, with new adapters where asked for."""
    plain = AutoModelForCausalLM.from_pretrained(tiny.folder)
    if not lora:
        if dropout:
            for block in plain.model.layers:
                block.self_attn.attention_dropout = dropout
        return plain
    torch.manual_seed(5)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=16, lora_dropout=dropout, target_modules="all-linear")
    return get_peft_model(plain, config)


def make_trainer(
    tiny: Tiny,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
    *,
    lora: bool = True,
    dropout: float = 0.0,
    **changes: Any,
) -> Trainer:
    """A trainer of six steps of four samples, not yet started."""
    plain = {
        "output_dir": str(folder),
        "max_steps": N_STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "seed": 3,
    }
    rows = [words(12, seed) for seed in range(24)]
    return Trainer(
        model=fresh(tiny, lora=lora, dropout=dropout),
        args=TrainingArguments(**{**plain, **changes}),
        train_dataset=[{"input_ids": torch.tensor(row), "labels": torch.tensor(row)} for row in rows],  # pyright: ignore
        processing_class=AutoTokenizer.from_pretrained(tiny.folder),
        callbacks=list(callbacks),
    )


def loud(tiny: Tiny, *, trait: str = "loud", seed: int = 0) -> Direction:
    """A random direction of a tiny model."""
    config = tiny.plain.config
    vectors = torch.randn(config.num_hidden_layers, config.hidden_size, generator=torch.Generator().manual_seed(seed))
    shape = {"n_layers": config.num_hidden_layers, "d_model": config.hidden_size}
    return direction(vectors, trait=trait, provenance=provenance(weights=fingerprint(tiny.plain), **shape))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every weight."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def n_hooks(model: nn.Module) -> int:
    """How many hooks of a forward pass a model has."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def save_merged(model: nn.Module, tiny: Tiny, folder: Path) -> Path:
    """The trained model in a folder of its own, adapters merged."""
    plain: Any = model.merge_and_unload() if isinstance(model, PeftModel) else model
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny.folder).save_pretrained(folder)
    return folder
