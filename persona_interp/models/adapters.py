"""Adapters of PEFT merged into a model's weights, each compared with what PEFT computes without merging."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.errors import ModelError
from persona_interp.models.offload import input_device, is_offloaded
from persona_interp.models.selfcheck import check_batch, not_finite
from persona_interp.models.sources import ADAPTER_WEIGHTS, Adapter
from persona_interp.types import TokenBatch

_ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
"""Largest relative difference of logits by which a merged adapter may differ from itself unmerged, in one dtype.

Measured on tiny models and SmolLM2 (LoRA, DoRA, IA3, LoHa, LoKr): 2e-6 in float32, 3e-3 in float16, 2e-2 in bfloat16.
"""
_UNFIT = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError, SafetensorError, OSError)


def merge_adapter(model: PreTrainedModel, adapter: Adapter, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model with an adapter merged into its weights; the model given is used up.

    Args:
        tokenizer: gives the tokens on which the merged model must compute what PEFT computes without merging.

    Raises:
        ModelError: the adapter is damaged, is of a model of another shape, cannot be merged, or computes another thing
            when it is merged.
    """
    from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

    adapter.files()
    if is_offloaded(model):
        raise ModelError(
            f"the adapter in {adapter.label} cannot be merged into weights that are kept on disk.",
            "Load the model without device_map, or merge the adapter on a machine that holds it.",
        )
    try:
        config = _config(adapter)
        _refuse_prompts(config, adapter.label)
        stored = load_file(adapter.folder / ADAPTER_WEIGHTS)
        _fit_vocabulary(model, config, stored, adapter.label)
        batch = check_batch(tokenizer, model)
        with without_peft_noise():
            adapted = PeftModel.from_pretrained(model, str(adapter.folder), torch_device="cpu")
            unexpected = set_peft_model_state_dict(adapted, stored).unexpected_keys
        own = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    except _UNFIT as error:
        raise ModelError(
            f"the adapter in {adapter.label} does not fit this model: {_reason(error)}",
            "It is damaged, or was trained on another model; its adapter_config.json says which.",
        ) from error
    twice = [key for key in unexpected if key.replace(".modules_to_save.", ".") in stored.keys() - {key}]
    strange = sorted({*(own - stored.keys()), *unexpected} - {*twice})
    if strange:
        raise ModelError(
            f"the adapter in {adapter.label} does not fit this model: only one of them has {strange[0]}.",
            "It was trained on a model of another depth; its adapter_config.json says which.",
        )
    return merged(adapted.to(model.device), batch, adapter.label)


def merged(adapted: Any, batch: TokenBatch, label: str) -> PreTrainedModel:
    """The model of transformers inside a `PeftModel`, its active adapters merged into its weights, frozen.

    The `PeftModel` is used up. Where an adapter touches an embedding that is also the unembedding, the two are untied
    first, because PEFT applies it to one of them.

    Raises:
        ModelError: this kind of adapter cannot be merged, or computes another thing when it is merged.
    """
    adapted.eval().requires_grad_(False)
    _refuse_prompts(adapted.active_peft_config, label)
    _untie(adapted.get_base_model())
    try:
        expected = _logits(adapted, batch)
        with without_peft_noise():
            plain = adapted.merge_and_unload()
        got = _logits(plain, batch)
    except (NotImplementedError, *_UNFIT) as error:
        raise ModelError(
            f"the adapter in {label} ({_kind(adapted.active_peft_config)}) cannot be merged: {_reason(error)}",
            "What is read and steered here is a model's weights, so adapters have to be merged into them.",
        ) from error
    dtype = plain.dtype
    if not torch.isfinite(expected).all():
        raise not_finite(f"the model with the adapter in {label}", "its logits", dtype)
    error, size = (got - expected).norm(), expected.norm()
    if not error <= _ROUNDING.get(dtype, _ROUNDING[torch.bfloat16]) * size:
        raise ModelError(
            f"the adapter in {label} ({_kind(adapted.active_peft_config)}) computes another thing when it is merged.",
            f"Logits differ from PEFT's own by {float(error / size):.1e} of their size, more than {dtype} rounds.",
            "Merge it with the tool that it was trained with, and give the folder of the merged model.",
        )
    return plain.eval().requires_grad_(False)


@contextmanager
def without_peft_noise() -> Iterator[None]:
    """PEFT 0.21 reads an attribute of transformers by its old name, and warns of what is checked here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"peft\.")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def _config(adapter: Adapter) -> Any:
    from peft import PeftConfig

    with without_peft_noise():
        return PeftConfig.from_pretrained(str(adapter.folder))


def _refuse_prompts(config: Any, label: str) -> None:
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise ModelError(
            f"the adapter in {label} ({_kind(config)}) cannot be merged: it is virtual tokens, not weights.",
            "Use an adapter of a model's weights, such as LoRA.",
        )


def _kind(config: Any) -> str:
    return str(getattr(config.peft_type, "value", config.peft_type))


def _fit_vocabulary(model: PreTrainedModel, config: Any, stored: dict[str, Tensor], label: str) -> None:
    """Give a model as many tokens as its adapter was trained with, where the adapter brings their vectors.

    PEFT saves the embeddings of a model whose vocabulary was resized; those of the rows added must all be there.
    """
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name for name, module in model.named_modules()}
    rows = [
        {len(value) for key, value in stored.items() if key in _whole(names[id(module)])} if module is not None else ()
        for module in (inputs, outputs)
    ]
    wanted = {n for found in rows for n in found}
    here = len(inputs.weight)  # pyright: ignore
    if wanted <= {here}:
        return
    tied = outputs is not None and outputs.weight is inputs.weight and not getattr(config, "modules_to_save", None)
    if len(wanted) > 1 or not rows[0] or not (rows[1] or tied):
        raise ModelError(
            f"the adapter in {label} was trained with {max(wanted)} tokens, this model has {here},",
            "and the vectors of the others are not all in its file. Resize and save the model with its tokenizer, and",
            "train the adapter on that.",
        )
    model.resize_token_embeddings(wanted.pop(), mean_resizing=False)


def _whole(path: str) -> tuple[str, str]:
    """Names under which PEFT keeps all rows of an embedding: as it is, or under low-rank maps."""
    return f"base_model.model.{path}.weight", f"base_model.model.{path}.base_layer.weight"


def _untie(model: nn.Module) -> None:
    """Give the unembedding weights of its own where an adapter is on it or on the embedding."""
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()  # pyright: ignore
    if inputs is None or outputs is None or not (_is_adapted(inputs) or _is_adapted(outputs)):
        return
    below_in, below_out = _below(inputs), _below(outputs)
    if below_in.weight is below_out.weight:
        below_out.weight = nn.Parameter(below_out.weight.detach().clone(), requires_grad=False)
        model.config.tie_word_embeddings = False  # pyright: ignore
        model.config.get_text_config(decoder=True).tie_word_embeddings = False  # pyright: ignore


def _is_adapted(module: nn.Module) -> bool:
    return _below(module) is not module


def _below(module: Any) -> Any:
    """The module of transformers under those of PEFT."""
    for name in ("base_layer", "original_module"):
        if isinstance(inner := getattr(module, name, None), nn.Module):
            return _below(inner)
    return module


def _logits(model: Any, batch: TokenBatch) -> Float[Tensor, "token d_vocab"]:
    batch = batch.to(input_device(model))
    inputs = {"attention_mask": batch.mask.long(), "position_ids": batch.position_ids}
    with torch.no_grad():
        return model(input_ids=batch.ids, **inputs, use_cache=False).logits[batch.mask].float().cpu()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
