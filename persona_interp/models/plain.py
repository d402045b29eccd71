"""Models of transformers by their names, frozen, with their tokenizers: what backends wrap and finetuning trains."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from persona_interp.errors import ConfigError, ModelError, PersonaInterpError
from persona_interp.hub import quiet_hub
from persona_interp.models.file_hashes import files_in, tokenizer_files
from persona_interp.models.offload import check_device, check_device_map
from persona_interp.models.plausible import check_config_file, check_sizes, check_template
from persona_interp.models.quantised import missing_package, refuse_unknown
from persona_interp.models.sources import EXPECTED, Source, find_source, quoted

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WITHOUT_ADAPTERS = {"subfolder": "adapters-are-merged-by-persona-interp"}
"""Keeps transformers from putting on the adapter that lies in a model's own folder: it looks for one in here."""


def load_plain(
    name: str | Path,
    *,
    dtype: torch.dtype | str = "float32",
    device: str | torch.device | None = None,
    device_map: str | dict[str, str | int] | None = None,
    revision: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The frozen model of transformers with a name, and its tokenizer; adapters are merged.

    Raises:
        ModelError: unknown name, or unreadable weights.
    """
    return load_source(find_source(name, revision=revision), dtype=dtype, device=device, device_map=device_map)


def load_source(
    source: Source,
    *,
    dtype: torch.dtype | str = "float32",
    device: str | torch.device | None = None,
    device_map: str | dict[str, str | int] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The same of a place that was found.

    A tokenizer that was saved beside an adapter takes the place of the base's.

    Raises:
        ModelError: unreadable weights, or an adapter that cannot be merged.
    """
    from persona_interp.models.adapters import merge_adapter

    chosen = resolve_dtype(dtype)
    if device is None and device_map is None:
        device = os.environ.get("PERSONA_INTERP_DEVICE") or None
    check_device(device)
    check_device_map(device_map)
    if Path(source.place).is_dir():
        check_config_file(Path(source.place), quoted(source.name))
        files_in(Path(source.place))  # refuses a damaged index
    model, tokenizer = _from_pretrained(source, chosen, device, device_map)
    for adapter in source.adapters:
        if tokenizer_files(adapter.folder):
            tokenizer = _tokenizer(Source(adapter.label, str(adapter.folder)))
        model = merge_adapter(model, adapter, tokenizer)
    return model, tokenizer


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


def _from_pretrained(
    source: Source,
    dtype: torch.dtype,
    device: str | torch.device | None,
    device_map: str | dict[str, str | int] | None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    with _readable(source):
        config = AutoConfig.from_pretrained(
            source.place, revision=source.revision, local_files_only=source.local_only, trust_remote_code=False
        )
        check_sizes(config, source.place, quoted(source.name))
    tokenizer = _tokenizer(source)
    with _readable(source), _without_report():
        model, loading = AutoModelForCausalLM.from_pretrained(  # pyright: ignore (a pair, with output_loading_info)
            source.place,
            dtype=dtype,
            device_map=device_map,
            revision=source.revision,
            local_files_only=source.local_only,
            trust_remote_code=False,
            adapter_kwargs=_WITHOUT_ADAPTERS,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        if device_map is None and (device is not None or getattr(model, "hf_quantizer", None) is None):
            model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    _check_loaded(source, model, loading)
    return model.eval().requires_grad_(False), tokenizer


def _check_loaded(source: Source, model: PreTrainedModel, loading: dict[str, Any]) -> None:
    """Refuse a model in which random values stand in for weights, or quantised values pass for weights."""
    refuse_unknown(source, model.config)
    missing, misshapen = sorted(loading["missing_keys"]), sorted(loading["mismatched_keys"])
    if missing:
        raise ModelError(
            f"cannot load {quoted(source.name)}: {len(missing)} of its weights are not in its files,"
            f" {missing[0]} first.",
            "Random values would stand in for them. The files are incomplete, or config.json is of another model.",
        )
    if misshapen:
        name, there, wanted = misshapen[0]
        raise ModelError(
            f"cannot load {quoted(source.name)}: {name} has the shape {tuple(there)} in its files and"
            f" {tuple(wanted)} by its config.json, and so {len(misshapen)} weights in all.",
            "The config.json is of another model, or the weights are quantised and it does not say so.",
        )


def _tokenizer(source: Source) -> PreTrainedTokenizerBase:
    with _readable(source):
        tokenizer = AutoTokenizer.from_pretrained(
            source.place,
            padding_side="left",
            revision=source.revision,
            local_files_only=source.local_only,
            trust_remote_code=False,
        )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
    check_template(tokenizer, quoted(source.name))
    return tokenizer


@contextmanager
def _readable(source: Source) -> Iterator[None]:
    """A context in which whatever transformers raises over files becomes one paragraph."""
    try:
        with no_bar_for_local(source.place), quiet_hub():
            yield
    except PersonaInterpError:
        raise
    except ImportError as error:
        raise missing_package(source, error) from error
    except Exception as error:
        says = " ".join(str(error).split())
        raise ModelError(
            f"cannot load {quoted(source.name)}: {says[:300] or type(error).__name__}",
            EXPECTED,
        ) from error


@contextmanager
def _without_report() -> Iterator[None]:
    """A context in which transformers draws no table of weights that do not fit: it becomes an error here."""
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)
