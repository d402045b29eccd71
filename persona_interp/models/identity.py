"""Which model this is: a fingerprint of its weights, its provenance, and the versions of what computes it."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from persona_interp.io import sha256_json
from persona_interp.models.file_hashes import LEAST_KEPT, kept, unchanged_since
from persona_interp.models.offload import stored_weight
from persona_interp.models.templates import template_hash
from persona_interp.types import Provenance

_VERSIONED = ("persona-interp", "torch", "transformers", "transformer-lens", "nnsight")
_FINGERPRINT_VERSION = 2
_EARLIER = re.compile(r"[0-9a-f]{16}")
"""Fingerprints of earlier versions, which looked at a sample of each weight."""
FORMAT_CHANGED = (
    "The fingerprint's format changed: without `w2-` it is of an earlier version. The weights may be equal."
)
_VALUES_AT_ONCE = 2**24
"""Values of a weight that are copied before they are hashed: 32 MB."""


def fingerprint(model: torch.nn.Module) -> str:
    """BLAKE2b over names, shapes and every value of every weight, as `w2-` and 16 hexadecimal digits.

    What is hashed is what is in memory, not a file: a model that was finetuned or merged has no file. Floating-point
    values are hashed in bfloat16, so it is the same for one model in any dtype at least as fine and in any backend that
    keeps its weights; weights that round to equal bfloat16 values are told apart by `Provenance.files` alone, the hash
    of the bytes they were loaded from. Whole numbers (packed, quantised weights) are hashed as their bytes. Buffers are
    hashed where they are saved with the model; the others (rotary frequencies, masks) follow from its settings, which
    are in `files` too. Weights are hashed in parallel, some rows at a time. Fingerprints without `w2-` are of an
    earlier version, which looked at a sample of each weight: they equal no fingerprint of this one, so what was made
    under them has to be made again.
    """
    digest = hashlib.blake2b(digest_size=8)
    weights = [*sorted(_parameters(model)), *sorted(_saved_buffers(model))]
    with ThreadPoolExecutor() as pool:
        digests = pool.map(lambda named: _digest(stored_weight(model, *named)), weights)
        for (name, weight), found in zip(weights, digests, strict=True):
            digest.update(f"{name}{tuple(weight.shape)}".encode() + found)
    return f"w{_FINGERPRINT_VERSION}-{digest.hexdigest()}"


def loaded_fingerprint(model: torch.nn.Module, files: Mapping[str, Path], read: str | None, since: float) -> str:
    """The fingerprint of a model whose weights are as its files have them, computed once for these files and a dtype.

    It is computed anew where the files were changed since loading began, or just before: what was hashed may be
    another model than what was loaded.

    Args:
        read: the hash of the files, computed after loading; None where there are none.
        since: when loading began, in seconds since 1970.
    """
    small = sum(weight.nbytes for weight in model.parameters()) < LEAST_KEPT
    if read is None or small or not unchanged_since(files, since):
        return fingerprint(model)
    dtypes = sorted({str(weight.dtype) for weight in model.parameters()})
    key = {"files": read, "dtypes": dtypes, "format": _FINGERPRINT_VERSION, "versions": library_versions()}
    return kept(f"weights/{sha256_json(key)}", key, lambda: fingerprint(model), lambda: True)


def format_changed(one: str, other: str) -> bool:
    """Whether two fingerprints differ by their format, one being of an earlier version."""
    earlier = sum(_EARLIER.fullmatch(weights) is not None for weights in (one, other))
    return earlier == 1 and any(weights.startswith(f"w{_FINGERPRINT_VERSION}-") for weights in (one, other))


def _parameters(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Named weights, each once: one that is tied to another stands for none of its own, also while it is offloaded."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    for name, weight in model.named_parameters():
        if not (weight.is_meta and name in tied):
            yield name, weight


def _saved_buffers(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for prefix, module in model.named_modules():
        for name, value in module._buffers.items():
            if value is not None and name not in module._non_persistent_buffers_set:
                yield f"{prefix}.{name}", value


def _digest(weight: torch.Tensor) -> bytes:
    """A hash of a weight's values; those of a quantised tensor as it stands for them."""
    kind = type(weight.data)
    if kind is not torch.Tensor and hasattr(kind, "dequantize"):
        weight = weight.data.dequantize()
    digest, flat = hashlib.blake2b(digest_size=16), weight.detach().reshape(-1)
    for part in flat.split(_VALUES_AT_ONCE):
        values = part.to("cpu", torch.bfloat16) if part.is_floating_point() else part.to("cpu")
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.digest()


def describe(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase | None,
    name: str | None = None,
    backend: str = "transformers",
    *,
    files: str | None = None,
    weights: str | None = None,
) -> Provenance:
    """Provenance of a model of transformers that no backend has touched yet.

    Args:
        name: default: what transformers calls it, or its class.
        files: hash of the files that it was loaded from.
        weights: its fingerprint, where it is known.
    """
    config = model.config.get_text_config(decoder=True)  # pyright: ignore
    return Provenance(
        model=name or str(getattr(model, "name_or_path", "")) or type(model).__name__,
        weights=fingerprint(model) if weights is None else weights,
        backend=backend,
        dtype=str(_dtype(model)).removeprefix("torch."),
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        method="model",
        method_version=1,
        files=files,
        chat_template=None if tokenizer is None else template_hash(tokenizer),
        versions=library_versions(),
    )


def _dtype(model: torch.nn.Module) -> torch.dtype:
    """What a model computes in: the dtype of its first weights that are not packed."""
    return next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), torch.float32)


def key_of(made: Provenance) -> dict[str, str | None]:
    """What answers of a model depend on: its name, weights, the bytes of its files, backend, dtype, chat template.

    Also the entries of its `generation_config` that are followed, where there are any.
    """
    followed = made.details.get("generation_config")
    return {
        "name": made.model,
        "weights": made.weights,
        "files": made.files,
        "backend": made.backend,
        "dtype": made.dtype,
        "chat_template": made.chat_template,
        **({"generation_config": json.dumps(followed, sort_keys=True)} if followed else {}),
    }


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what a model computes."""
    found = {}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
