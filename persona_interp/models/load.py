"""`load_model`: a hub id, a folder, a GGUF file, a packaged model or a model in memory, with a backend."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.errors import ConfigError, ModelError
from persona_interp.models.file_hashes import hash_of_files, model_files
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import describe, loaded_fingerprint
from persona_interp.models.in_memory import adopted, copied, is_of_transformer_lens, is_of_transformers
from persona_interp.models.plain import load_source, resolve_dtype
from persona_interp.models.selfcheck import check_batch, check_reads, reference_states
from persona_interp.models.sources import find_source
from persona_interp.models.templates import set_template_options
from persona_interp.types import Provenance

Backend = Literal["transformer_lens", "nnsight"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


@checked
def load_model(
    name: str | Path | Any,
    backend: Backend = "transformer_lens",
    *,
    dtype: torch.dtype | str = "float32",
    device: str | torch.device | None = None,
    device_map: str | dict[str, str | int] | None = None,
    revision: str | None = None,
    adapter: str | Path | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    template_options: Mapping[str, Any] = MappingProxyType({}),
) -> HookedModelBase:
    """A causal language model with every block's residual stream open to reading and editing.

    Its reads are compared with transformers' own hidden states before it is returned.
    Weights that are quantised for good (safetensors with a `quantization_config`) stay so and are read and steered as
    they are; where their package is not installed, the error names it.

    Args:
        name: a hub id, a local folder, a `.gguf` file (its weights are dequantised, since transformers keeps none
            quantised), a packaged model (`persona-interp models` lists them), a folder or hub id of a PEFT adapter
            (its base is loaded and the adapter merged), a model of transformers or a `PeftModel` in memory with its
            tokenizer (a copy of both is used, in its dtype and on its device: yours stays as it is, and later changes
            of yours do not reach the copy), or a TransformerLens object (`TransformerBridge` or `HookedTransformer`
            with unprocessed weights), which is used itself.
        dtype: a torch dtype or its name; `auto` takes bfloat16 where the machine multiplies it in hardware.
        device_map: passed to transformers to spread a model over several GPUs.
        adapter: a folder or hub id with a PEFT adapter of this model, merged into its weights; the merged model
            computes what PEFT computes, which is checked. The result is another model: directions of the base are
            carried over with `rebind_direction`.
        tokenizer: of a model of transformers in memory.
        template_options: values for variables of the chat template, such as {"enable_thinking": False}.

    Raises:
        ConfigError: an argument that is of no use for what is loaded, a missing device or dtype, or an option
            that the chat template does not have.
        ModelError: unknown name or backend, unreadable weights or adapter, an adapter that cannot be merged, folded
            weights, or reads that disagree.
        MissingPackageError: the packaged model's package is not installed.
    """
    if backend not in BACKENDS:
        raise ModelError(f"no backend is called {backend!r}.", f"Backends: {', '.join(BACKENDS)}.")
    if not isinstance(name, str | Path):
        options = {"adapter": adapter, "device": device, "device_map": device_map, "revision": revision}
        return _of_object(name, backend, options, tokenizer, template_options, dtype)
    if tokenizer is not None:
        raise ConfigError("a tokenizer is given with a model in memory only.", "A name brings its own.")
    started = time.time()
    source = find_source(name, adapter, revision)
    model, tokenizer = load_source(source, dtype=dtype, device=device, device_map=device_map)
    set_template_options(tokenizer, template_options)
    files = model_files(model) | source.adapter_files()
    read = hash_of_files(files)
    # a merged sum may round otherwise on another device, so only weights that are as in their files are known by these
    weights = None if source.adapters else loaded_fingerprint(model, files, read, started)
    return _hooked(
        model, tokenizer, backend, describe(model, tokenizer, source.label, backend, files=read, weights=weights)
    )


def _of_object(
    model: Any,
    backend: Backend,
    options: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase | None,
    template_options: Mapping[str, Any],
    dtype: torch.dtype | str,
) -> HookedModelBase:
    """What the caller already has in memory."""
    kind = type(model).__name__
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]} cannot be applied to a {kind} object.", "Give its name, or the object as it is.")
    if is_of_transformers(model) and dtype not in ("float32", "auto") and resolve_dtype(dtype) != model.dtype:
        raise ConfigError(f"this {kind} is in {model.dtype}, not {dtype}.", f"Convert it first: model.to({dtype}).")
    if isinstance(model, HookedModelBase):
        if model.backend != backend:
            raise ConfigError(f"this {kind} is loaded by {model.backend}, not {backend}.", "Give the model's name.")
        return model
    if is_of_transformers(model):
        plain, words, name = copied(model, tokenizer)
        set_template_options(words, template_options)
        return _hooked(plain, words, backend, describe(plain, words, name, backend))
    wrapped = next((way for way in ("_orig_mod", "module") if is_of_transformers(getattr(model, way, None))), None)
    if wrapped is not None:
        raise ModelError(f"a {kind} is a wrapping of a model of transformers.", f"Give the model in it: .{wrapped}.")
    if tokenizer is not None and is_of_transformer_lens(model):
        raise ConfigError(f"a {kind} object takes no tokenizer.", "It has its own.")
    if is_of_transformer_lens(model):
        set_template_options(getattr(model, "tokenizer", None), template_options)
    return adopted(model, backend)


def _hooked(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, backend: Backend, provenance: Provenance
) -> HookedModelBase:
    """A model behind a backend, its reads compared with those of transformers alone."""
    _keep_unembedding_fast(model)
    batch = check_batch(tokenizer, model)
    states = reference_states(model, batch)
    hooked: HookedModelBase
    if backend == "transformer_lens":
        from persona_interp.models.transformer_lens import TransformerLensModel

        hooked = TransformerLensModel.wrap(model, tokenizer, name=provenance.model, provenance=provenance)
    else:
        from persona_interp.models.nnsight import NNsightModel

        hooked = NNsightModel(model, tokenizer, name=provenance.model, provenance=provenance)
    check_reads(hooked, batch, states)
    return hooked


def _keep_unembedding_fast(model: PreTrainedModel) -> None:
    """Make the unembedding's input contiguous.

    Logits are computed for the last positions only, which is a strided slice. With frozen weights torch multiplies
    such a slice by one copy of the unembedding a row: seconds instead of milliseconds.
    """
    head = model.get_output_embeddings()
    if isinstance(head, torch.nn.Module):
        head.register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))
