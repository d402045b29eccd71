"""Which model this is: a fingerprint of its weights, its provenance, and the versions of what computes it."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version

import torch
from transformers import PreTrainedTokenizerBase

from persona_interp.models.tokens import template_hash
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
    """BLAKE2b over names, shapes and every value of every weight, in bfloat16, as `w2-` and 16 hexadecimal digits.

    The same for one model in any dtype at least as fine as bfloat16 and in any backend that keeps its weights; a
    single weight that changes by more than bfloat16 rounds away changes it. Weights are hashed in parallel, some rows
    at a time. Fingerprints without `w2-` are of an earlier version, which looked at a sample of each weight: they equal
    no fingerprint of this one, so what was made under them has to be made again.
    """
    digest = hashlib.blake2b(digest_size=8)
    weights = sorted(model.named_parameters())
    with ThreadPoolExecutor() as pool:
        for (name, weight), found in zip(weights, pool.map(_digest, (weight for _, weight in weights)), strict=True):
            digest.update(f"{name}{tuple(weight.shape)}".encode() + found)
    return f"w{_FINGERPRINT_VERSION}-{digest.hexdigest()}"


def format_changed(one: str, other: str) -> bool:
    """Whether two fingerprints differ by their format, one being of an earlier version."""
    earlier = sum(_EARLIER.fullmatch(weights) is not None for weights in (one, other))
    return earlier == 1 and any(weights.startswith(f"w{_FINGERPRINT_VERSION}-") for weights in (one, other))


def _digest(weight: torch.Tensor) -> bytes:
    digest, flat = hashlib.blake2b(digest_size=16), weight.detach().reshape(-1)
    for part in flat.split(_VALUES_AT_ONCE):
        digest.update(part.to("cpu", torch.bfloat16).view(torch.int16).numpy().data)
    return digest.digest()


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
