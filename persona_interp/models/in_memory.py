"""Models that the caller already has: a copy of them behind a backend, so that the caller's own stays as it is."""

import copy
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.errors import ConfigError, ModelError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import describe
from persona_interp.models.selfcheck import check_batch, check_reads, reference_states

_IN_MEMORY = " (in memory)"
_TAKEN = "a TransformerBridge, a HookedTransformer, a causal model of transformers or a PeftModel of one"


def copied(model: Any, tokenizer: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str]:
    """A frozen copy of a model of transformers, adapters merged, of its tokenizer, and what the model is called.

    Raises:
        ConfigError: there is no tokenizer.
        ModelError: it is no causal model of transformers, cannot be copied, or has adapters that cannot be merged.
    """
    from peft import PeftModel

    from persona_interp.models.adapters import merged

    is_peft = isinstance(model, PeftModel)
    _check_kind(model.get_base_model() if is_peft else model)
    _refuse_disabled(model)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ConfigError(
            f"a {type(model).__name__} in memory needs its tokenizer, got {type(tokenizer).__name__}.",
            "Give it: load_model(model, tokenizer=AutoTokenizer.from_pretrained(...)).",
        )
    try:
        own, words = copy.deepcopy(model), copy.deepcopy(tokenizer)
    except (RuntimeError, TypeError, NotImplementedError, MemoryError) as error:
        raise ModelError(
            f"a {type(model).__name__} cannot be copied: {' '.join(str(error).split())[:200]}",
            "A copy is used, so that yours stays as it is. Save it with save_pretrained and give the folder.",
        ) from error
    words.padding_side = "left"
    if words.pad_token_id is None:
        words.pad_token = words.eos_token
    name = _name(model)
    if is_peft:
        active = own.active_adapters
        plain, name = merged(own, check_batch(words, own.get_base_model()), name), f"{name} + {', '.join(active)}"
    else:
        plain = own
    plain.zero_grad(set_to_none=True)
    return plain.eval().requires_grad_(False), words, name + _IN_MEMORY


def adopted(model: Any, backend: str) -> HookedModelBase:
    """A TransformerLens object that the caller already has, as it is.

    Raises:
        ModelError: it is none, is to be used by another backend, or its weights are processed.
    """
    from transformer_lens.model_bridge import TransformerBridge

    kind = type(model).__name__
    if backend != "transformer_lens":
        raise ModelError(f"a {kind} object cannot be used by the backend {backend}.", "Give a name or a folder.")
    if isinstance(model, TransformerBridge):
        from persona_interp.models.transformer_lens import TransformerLensModel

        label = str(model.cfg.model_name)
        provenance = describe(model.original_model, model.tokenizer, label, backend)
        bridged = TransformerLensModel(model, name=label, provenance=provenance)
        batch = check_batch(model.tokenizer)
        check_reads(bridged, batch, reference_states(model.original_model, batch))  # pyright: ignore
        return bridged
    if any(base.__name__ == "HookedTransformer" for base in type(model).__mro__):
        from persona_interp.models.hooked_transformer import HookedTransformerModel, cached_states

        legacy = HookedTransformerModel(model)
        batch = check_batch(legacy.tokenizer)
        check_reads(legacy, batch, cached_states(model, batch))
        return legacy
    raise ModelError(f"cannot load an object of type {kind}.", f"Give a name, a folder, a .gguf file, {_TAKEN}.")


def name_to_train(model: Any) -> str:
    """The name by which a fresh copy of a model is loaded to be trained.

    Raises:
        ConfigError: it is a model in memory, which no name leads to.
    """
    if isinstance(model, str | Path):
        return str(model)
    if isinstance(model, HookedModelBase) and not model.name.endswith(_IN_MEMORY):
        return model.name
    raise ConfigError(
        f"a {type(model).__name__} in memory cannot be trained: a fresh copy is loaded by name, also on a resume.",
        "Save it with save_pretrained, with its tokenizer, and give the folder.",
    )


def is_of_transformers(model: Any) -> bool:
    """Whether it is a model of transformers, with or without PEFT around it."""
    from peft import PeftModel

    return isinstance(model, PreTrainedModel | PeftModel)


def is_of_transformer_lens(model: Any) -> bool:
    """Whether it is one of TransformerLens' objects, which have their tokenizer in them."""
    return any(base.__name__ in ("TransformerBridge", "HookedTransformer") for base in type(model).__mro__)


def _check_kind(model: nn.Module) -> None:
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    kind = type(model).__name__
    if not isinstance(model, PreTrainedModel) or not model.can_generate() or _encodes(model):
        raise ModelError(f"a {kind} is no causal language model of transformers.", f"Give {_TAKEN}.")
    if any(isinstance(module, GeneralizedComponent) for module in model.modules()):
        raise ModelError(f"this {kind} is inside a TransformerBridge, which changed it.", "Give the bridge itself.")
    if getattr(model, "_hf_peft_config_loaded", False):
        raise ModelError(
            f"this {kind} has adapters that were added with add_adapter or load_adapter.",
            "Save them with save_pretrained and give that folder as the adapter of the base, or use peft's PeftModel.",
        )


def _refuse_disabled(model: nn.Module) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if layers and all(layer.disable_adapters for layer in layers):
        raise ModelError(
            f"the adapters of this {type(model).__name__} are disabled.",
            "Enable them with enable_adapter_layers, or give the base alone, which unload gives.",
        )


def _encodes(model: PreTrainedModel) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))


def _name(model: Any) -> str:
    """What transformers calls a model, or its class."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return str(getattr(inner, "name_or_path", "") or type(inner).__name__)
