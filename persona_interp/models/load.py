"""`load_model`: a hub id, a folder, a GGUF file, a packaged model or a TransformerLens object, behind a backend."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from persona_interp.errors import ConfigError, ModelError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.packaged import PACKAGED_MODELS, gguf_folder, packaged_folder
from persona_interp.models.selfcheck import check_batch, check_reads, reference_states
from persona_interp.models.tokens import template_hash
from persona_interp.types import Provenance

Backend = Literal["transformer_lens", "nnsight"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_VERSIONED = ("persona-interp", "torch", "transformers", "transformer-lens", "nnsight")
_SAMPLED = 1024


def load_model(
    name: str | Path | Any,
    backend: Backend = "transformer_lens",
    *,
    dtype: torch.dtype | str = "float32",
    device: str | torch.device | None = None,
    device_map: str | dict[str, str | int] | None = None,
    revision: str | None = None,
) -> HookedModelBase:
    """A causal language model with every block's residual stream open to reading and editing.

    Its reads are compared with transformers' own hidden states before it is returned.

    Args:
        name: a hub id, a local folder, a `.gguf` file, a packaged model (`persona-interp models` lists them), or a
            TransformerLens object (`TransformerBridge` or `HookedTransformer` with unprocessed weights).
        dtype: a torch dtype or its name; `auto` takes bfloat16 where the machine multiplies it in hardware.
        device_map: passed to transformers to spread a model over several GPUs.

    Raises:
        ModelError: unknown name or backend, unreadable weights, folded weights, or reads that disagree.
        MissingPackageError: the packaged model's package is not installed.
    """
    if backend not in BACKENDS:
        raise ModelError(f"no backend is called {backend!r}.", f"Backends: {', '.join(BACKENDS)}.")
    if not isinstance(name, str | Path):
        return _adopt(name, backend)
    label, source = str(name), _source(name)
    model, tokenizer = _from_pretrained(label, source, resolve_dtype(dtype), device, device_map, revision)
    batch = check_batch(tokenizer)
    states = reference_states(model, batch)
    provenance = describe(model, tokenizer, label, backend)
    hooked: HookedModelBase
    if backend == "transformer_lens":
        from persona_interp.models.transformer_lens import TransformerLensModel

        hooked = TransformerLensModel.wrap(model, tokenizer, name=label, provenance=provenance)
    else:
        from persona_interp.models.nnsight import NNsightModel

        hooked = NNsightModel(model, tokenizer, name=label, provenance=provenance)
    check_reads(hooked, batch, states)
    return hooked


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


def fingerprint(model: torch.nn.Module) -> str:
    """Hash over names, shapes and up to 1,024 evenly spaced values of every weight, in bfloat16.

    The same for one model in any dtype at least as fine as bfloat16 and behind any backend that keeps its weights.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        flat = weight.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLED)][:_SAMPLED].to("cpu", torch.bfloat16).view(torch.int16)
        digest.update(f"{name}{tuple(weight.shape)}".encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]


def describe(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, name: str, backend: str) -> Provenance:
    """Provenance of a model of transformers that no backend has touched yet."""
    config = model.config.get_text_config(decoder=True)  # pyright: ignore
    return Provenance(
        model=name,
        weights=fingerprint(model),
        backend=backend,
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        method="model",
        method_version=1,
        chat_template=template_hash(tokenizer),
        versions=library_versions(),
    )


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what a model computes."""
    found = {}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


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
    model = model.eval().requires_grad_(False)
    _keep_unembedding_fast(model)
    return model, tokenizer


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
        from persona_interp.models.hooked_transformer import HookedTransformerModel

        return HookedTransformerModel(model)
    raise ModelError(
        f"cannot load an object of type {kind}.",
        "Give a name, a folder, a .gguf file, a TransformerBridge or a HookedTransformer.",
    )
