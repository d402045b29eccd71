"""Which model this is: a fingerprint of its weights, its provenance, and the versions of what computes it."""

import hashlib
from importlib.metadata import PackageNotFoundError, version

import torch
from transformers import PreTrainedTokenizerBase

from persona_interp.models.tokens import template_hash
from persona_interp.types import Provenance

_VERSIONED = ("persona-interp", "torch", "transformers", "transformer-lens", "nnsight")
_SAMPLED = 1024


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
