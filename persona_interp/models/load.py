"""`load_model`: a hub id, a folder, a GGUF file, a packaged model or a TransformerLens object, with a backend."""

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from persona_interp.errors import ConfigError, ModelError
from persona_interp.models.file_hashes import files_in, hash_of_files, model_files
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import describe, loaded_fingerprint
from persona_interp.models.packaged import PACKAGED_MODELS, gguf_folder, packaged_folder
from persona_interp.models.selfcheck import check_batch, check_reads, reference_states
from persona_interp.models.templates import set_template_options

Backend = Literal["transformer_lens", "nnsight"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    name: str | Path | Any,
    backend: Backend = "transformer_lens",
    *,
    dtype: torch.dtype | str = "float32",
    device: str | torch.device | None = None,
    device_map: str | dict[str, str | int] | None = None,
    revision: str | None = None,
    adapter: str | Path | None = None,
    template_options: Mapping[str, Any] = MappingProxyType({}),
) -> HookedModelBase:
    """A causal language model with every block's residual stream open to reading and editing.

    Its reads are compared with transformers' own hidden states before it is returned.

    Args:
        name: a hub id, a local folder, a `.gguf` file, a packaged model (`persona-interp models` lists them), or a
            TransformerLens object (`TransformerBridge` or `HookedTransformer` with unprocessed weights).
        dtype: a torch dtype or its name; `auto` takes bfloat16 where the machine multiplies it in hardware.
        device_map: passed to transformers to spread a model over several GPUs.
        adapter: a folder with a PEFT adapter of this model, merged into its weights. The result is another model:
            directions of the base are carried over with `rebind_direction`.
        template_options: values for variables of the chat template, such as {"enable_thinking": False}.

    Raises:
        ConfigError: the chat template has no such option.
        ModelError: unknown name or backend, unreadable weights or adapter, folded weights, or reads that disagree.
        MissingPackageError: the packaged model's package is not installed.
    """
    if backend not in BACKENDS:
        raise ModelError(f"no backend is called {backend!r}.", f"Backends: {', '.join(BACKENDS)}.")
    if not isinstance(name, str | Path):
        if adapter is not None:
            raise ModelError(f"an adapter cannot be merged into a {type(name).__name__} object.", "Give its name.")
        set_template_options(getattr(name, "tokenizer", None), template_options)
        return _adopt(name, backend)
    started = time.time()
    model, tokenizer = load_plain(name, dtype=dtype, device=device, device_map=device_map, revision=revision)
    set_template_options(tokenizer, template_options)
    label, files = str(name), model_files(model)
    if adapter is not None:
        model, label = merge_adapter(model, Path(adapter)), f"{label} + {adapter}"
        files |= {f"adapter/{part}": Path(adapter) / part for part in ADAPTER_FILES}
    _keep_unembedding_fast(model)
    batch = check_batch(tokenizer)
    states = reference_states(model, batch)
    read = hash_of_files(files)
    # a merged sum may round otherwise on another device, so only weights that are as in their files are known by these
    weights = loaded_fingerprint(model, files, read, started) if adapter is None else None
    provenance = describe(model, tokenizer, label, backend, files=read, weights=weights)
    hooked: HookedModelBase
    if backend == "transformer_lens":
        from persona_interp.models.transformer_lens import TransformerLensModel

        hooked = TransformerLensModel.wrap(model, tokenizer, name=label, provenance=provenance)
    else:
        from persona_interp.models.nnsight import NNsightModel

        hooked = NNsightModel(model, tokenizer, name=label, provenance=provenance)
    check_reads(hooked, batch, states)
    return hooked


def load_plain(
    name: str | Path,
    *,
    dtype: torch.dtype | str = "float32",
    device: str | torch.device | None = None,
    device_map: str | dict[str, str | int] | None = None,
    revision: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The frozen model of transformers with a name, and its tokenizer: what backends wrap and finetuning trains.

    Raises:
        ModelError: unknown name, or unreadable weights.
    """
    source = _source(name)
    if Path(source).is_dir():
        files_in(Path(source))  # refuses a damaged index
    return _from_pretrained(str(name), source, resolve_dtype(dtype), device, device_map, revision)


def local_files_hash(name: str | Path) -> str | None:
    """Hash of the bytes that a packaged model, a folder or a GGUF file is loaded from; None of a hub id.

    Raises:
        ModelError: the packaged model, the GGUF file or the index of a folder's weights cannot be read.
    """
    source = Path(_source(name))
    return hash_of_files(files_in(source)) if source.is_dir() else None


def merge_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with a PEFT adapter merged into its weights.

    Raises:
        ModelError: the folder holds no adapter, or one of a model of another shape.
    """
    from peft import PeftModel, get_peft_model_state_dict

    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder} holds no adapter: {missing[0]} is not there.", "Give the folder that PEFT saved.")
    try:
        with without_peft_noise():
            adapted = PeftModel.from_pretrained(model, str(folder))
        stored = load_file(folder / "adapter_model.safetensors").keys()
    except (RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"the adapter in {folder} does not fit this model: {(str(error).splitlines() or [''])[0][:200]}",
            "It is damaged, or was trained on another model; its adapter_config.json says which.",
        ) from error
    own = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    strange = sorted(own - stored) + sorted(name for name in stored - own if ".lora_" in name)
    if strange:
        raise ModelError(
            f"the adapter in {folder} does not fit this model: only one of them has {strange[0]}.",
            "It was trained on a model of another depth; its adapter_config.json says which.",
        )
    return adapted.merge_and_unload().eval().requires_grad_(False)  # pyright: ignore


@contextmanager
def without_peft_noise() -> Iterator[None]:
    """PEFT 0.21 reads an attribute of transformers by its old name, and only warns of missing keys, which we refuse."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found missing adapter keys", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def resolve_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A torch dtype from its name; `auto` is bfloat16 on a GPU or a CPU with bfloat16 matrix units, else float32.

    Raises:
        ConfigError: no such dtype.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        fast = torch.cuda.is_available() or "amx" in torch.backends.cpu.get_cpu_capability().lower()
        return torch.bfloat16 if fast or torch.cpu._is_amx_tile_supported() else torch.float32
    if dtype not in _DTYPES:
        raise ConfigError(f"no dtype is called {dtype!r}.", f"Choose one of {', '.join(_DTYPES)}, auto.")
    return _DTYPES[dtype]


def _source(name: str | Path) -> str:
    text = str(name)
    if text in PACKAGED_MODELS:
        return str(packaged_folder(PACKAGED_MODELS[text]))
    if text.endswith(".gguf"):
        path = Path(text).expanduser()
        if not path.is_file():
            raise ModelError(f"the GGUF file {path} does not exist.", "Give the path of one.")
        return str(gguf_folder(path))
    return str(Path(text).expanduser()) if Path(text).expanduser().is_dir() else text


def _from_pretrained(
    label: str,
    source: str,
    dtype: torch.dtype,
    device: str | torch.device | None,
    device_map: str | dict[str, str | int] | None,
    revision: str | None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        with no_bar_for_local(source):
            tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", revision=revision)
            model, loading = AutoModelForCausalLM.from_pretrained(  # pyright: ignore (a pair, with output_loading_info)
                source, dtype=dtype, device_map=device_map, revision=revision, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"cannot load {label!r}: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}",
            f"Give a hub id, a folder with config.json and safetensors, a .gguf file, or one of"
            f" {', '.join(PACKAGED_MODELS)}.",
        ) from error
    missing = sorted(loading["missing_keys"])
    if missing:
        raise ModelError(
            f"cannot load {label!r}: {len(missing)} of its weights are not in its files, {missing[0]} first.",
            "Random values would stand in for them. The files are incomplete, or config.json is of another model.",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if device_map is None:
        model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))  # pyright: ignore
    return model.eval().requires_grad_(False), tokenizer


@contextmanager
def no_bar_for_local(source: str) -> Iterator[None]:
    """No progress bars of transformers for a folder, which loads in a moment; downloads keep theirs."""
    quiet = Path(source).is_dir() and hf_logging.is_progress_bar_enabled()
    if quiet:
        hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if quiet:
            hf_logging.enable_progress_bar()


def _keep_unembedding_fast(model: PreTrainedModel) -> None:
    """Make the unembedding's input contiguous.

    Logits are computed for the last positions only, which is a strided slice. With frozen weights torch multiplies
    such a slice by one copy of the unembedding a row: seconds instead of milliseconds.
    """
    head = model.get_output_embeddings()
    if isinstance(head, torch.nn.Module):
        head.register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))


def _adopt(model: Any, backend: Backend) -> HookedModelBase:
    """A TransformerLens object that the caller already has."""
    from transformer_lens.model_bridge import TransformerBridge

    kind = type(model).__name__
    if backend != "transformer_lens":
        raise ModelError(f"a {kind} object cannot be used by the backend {backend}.", "Give a name or a folder.")
    if isinstance(model, TransformerBridge):
        from persona_interp.models.transformer_lens import TransformerLensModel

        label = str(model.cfg.model_name)
        provenance = describe(model.original_model, model.tokenizer, label, backend)
        adopted = TransformerLensModel(model, name=label, provenance=provenance)
        batch = check_batch(model.tokenizer)
        check_reads(adopted, batch, reference_states(model.original_model, batch))  # pyright: ignore
        return adopted
    if any(base.__name__ == "HookedTransformer" for base in type(model).__mro__):
        from persona_interp.models.hooked_transformer import HookedTransformerModel, cached_states

        legacy = HookedTransformerModel(model)
        batch = check_batch(legacy.tokenizer)
        check_reads(legacy, batch, cached_states(model, batch))
        return legacy
    raise ModelError(
        f"cannot load an object of type {kind}.",
        "Give a name, a folder, a .gguf file, a TransformerBridge or a HookedTransformer.",
    )
