"""A low-rank adapter: put on a model, saved, and looked at for values that are not finite."""

import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from persona_interp.errors import ConfigError
from persona_interp.finetuning.settings import LoRA
from persona_interp.models.adapters import without_peft_noise

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def add_adapter(plain: PreTrainedModel, lora: LoRA, *, gradient_checkpointing: bool = False) -> PeftModel:
    """The model with a fresh adapter, which changes nothing yet: B is zero, A is drawn from torch's random numbers.

    Raises:
        ConfigError: the model has none of the modules, or is narrower than the rank.
    """
    width = plain.config.get_text_config(decoder=True).hidden_size
    if lora.rank > width:
        raise ConfigError(f"rank must be 1 to {width}, the width of {type(plain).__name__}, got {lora.rank}.")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore (a float works)
        lora_dropout=lora.dropout,
        use_rslora=lora.rank_stabilised,
        target_modules=lora.modules if isinstance(lora.modules, str) else list(lora.modules),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in plain.modules()),  # GPT-2's maps are transposed
    )
    try:
        with without_peft_noise():
            peft = get_peft_model(plain, config)
    except ValueError as error:
        raise ConfigError(
            f"no adapter fits {type(plain).__name__} with modules {lora.modules}: {str(error)[:160]}",
            'Name linear maps of this architecture, or use modules="all-linear".',
        ) from error
    if gradient_checkpointing:
        peft.enable_input_require_grads()  # pyright: ignore
    assert isinstance(peft, PeftModel)
    return peft


def save_adapter(model: PeftModel, folder: Path) -> None:
    """The adapter's weights (safetensors) and what it is, as PEFT saves them; the base is not asked for."""
    model.save_pretrained(str(folder), save_embedding_layers=False)


def keep_adapter(model: PeftModel, run: Path) -> Path:
    """The folder `run`/adapter with the adapter, which is there only when it is whole."""
    making, adapter = run / ".adapter", run / "adapter"
    for left in (making, adapter):
        shutil.rmtree(left, ignore_errors=True)
    save_adapter(model, making)
    return making.rename(adapter)


def has_finite_adapter(model: PeftModel) -> bool:
    """Whether every trained weight is a number."""
    return all(bool(torch.isfinite(weight).all()) for weight in model.parameters() if weight.requires_grad)
