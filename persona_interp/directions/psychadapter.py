"""`PsychAdapter`: one virtual key/value token in every layer, affine in a trait vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedConfig

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.trait_texts import Standard
from persona_interp.errors import (
    ArtefactError,
    ConfigError,
    IncompatibleDirectionError,
    ModelError,
    PersonaInterpError,
    first_line,
)
from persona_interp.io import load_tensors, manifest_path, path_part, save_tensors
from persona_interp.manifests import PSYCHADAPTER
from persona_interp.models.cache import has_kv_cache
from persona_interp.models.identity import FORMAT_CHANGED, format_changed
from persona_interp.models.protocol import HookedModel
from persona_interp.tensors import finite, read_floats
from persona_interp.types import KVPrefix, Provenance

KIND = "psychadapter"
METHOD_VERSION = 1


@dataclass(frozen=True)
class KVShape:
    """What a layer caches of a token: `n_kv_heads` keys and as many values of width `d_head`."""

    n_layers: int
    n_kv_heads: int
    d_head: int

    @classmethod
    def of(cls, config: PreTrainedConfig) -> "KVShape":
        """The shape that a model's configuration states.

        Raises:
            ModelError: the model keeps no keys and values, or not the same in every layer.
        """
        text = config.get_text_config(decoder=True)
        kind = type(config).__name__
        if not has_kv_cache(config):
            raise ModelError(
                f"a {kind} has layers without a key/value cache, and virtual tokens live there.",
                "Use a model whose layers are all attention.",
            )
        uneven = [name for name in ("kv_lora_rank", "global_head_dim", "num_kv_shared_layers") if _of(text, name)]
        if uneven:
            raise ModelError(
                f"the keys and values of a {kind} are not the same in every layer ({uneven[0]}).",
                "Expected key/value heads of one width.",
            )
        n_kv = _of(text, "num_key_value_heads") or (1 if _of(text, "multi_query") else text.num_attention_heads)
        return cls(text.num_hidden_layers, n_kv, _of(text, "head_dim") or text.hidden_size // text.num_attention_heads)

    @property
    def n_outputs(self) -> int:
        """Numbers in a virtual token: keys and values of every layer."""
        return self.n_layers * 2 * self.n_kv_heads * self.d_head

    def __str__(self) -> str:
        """`30 layers, 3 key/value heads of width 64`."""
        return f"{self.n_layers} layers, {self.n_kv_heads} key/value heads of width {self.d_head}"


class PsychAdapter(nn.Module):
    """One virtual key/value token a layer, W z + b, where z is a trait vector in standard deviations.

    The k traits give L (layers) x 2 (key, value) x key/value heads x head width numbers, in that order. The key is not
    rotated; the text after it starts at position 1. There are (k + 1) L 2 n_kv d_head parameters.

    A fresh one has torch's own initialisation of a linear map, as published. It changes the model: even a zero key and
    value take some of every head's attention.

    Args:
        traits: names of the k numbers of z, in order.
        standard: means and standard deviations of the scores it was trained on; None where z is not known to be
            standardised.

    Source: Vu et al. 2026, PsychAdapter (npj Artificial Intelligence 2:7), and its published code.
    """

    @checked
    def __init__(
        self, shape: KVShape, traits: Some[str], provenance: Provenance, *, standard: Standard | None = None
    ) -> None:
        super().__init__()
        if not traits or len(set(traits)) < len(traits):
            raise ConfigError(f"the traits of an adapter are {list(traits)}.", "Expected one or more different names.")
        for trait in traits:
            path_part(trait, "trait of an adapter")
        if standard is not None and standard.traits != tuple(traits):
            raise ConfigError(
                f"got an adapter of {', '.join(traits)} with a standard of {', '.join(standard.traits)}.",
                "Both need the same traits in the same order.",
            )
        self.shape, self.traits, self.provenance, self.standard = shape, tuple(traits), provenance, standard
        self.affine = nn.Linear(len(traits), shape.n_outputs)

    @property
    def n_traits(self) -> int:
        """Length of a trait vector."""
        return len(self.traits)

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return sum(weight.numel() for weight in self.affine.parameters())

    @property
    def start(self) -> str | None:
        """The text in front of every training text, where generation begins as training did; None if not recorded."""
        return self.provenance.details.get("start")

    @checked
    def prefix(self, z: Float[Tensor, "batch trait"]) -> KVPrefix:
        """The virtual tokens of trait vectors, one a row; gradients flow to the adapter and to z.

        Raises:
            ConfigError: the vectors have another length, or values that are not finite.
        """
        if z.shape[-1] != self.n_traits:
            raise ConfigError(
                f"got a trait vector of {z.shape[-1]} for an adapter of {self.n_traits}.",
                f"Its traits, in order: {', '.join(self.traits)}.",
            )
        if not bool(torch.isfinite(z).all()):
            row, column = (~torch.isfinite(z)).nonzero()[0].tolist()
            raise ConfigError(
                f"the trait vector of row {row} is {z[row, column].item()} in {self.traits[column]}.",
                "Give standard deviations from the mean, 0 for an average author.",
            )
        s = self.shape
        made = self.affine(z.to(self.affine.weight.device, self.affine.weight.dtype))
        keys, values = made.reshape(len(z), s.n_layers, 2, s.n_kv_heads, 1, s.d_head).permute(2, 1, 0, 3, 4, 5)
        return KVPrefix(keys, values)

    @checked
    def vector(self, traits: Mapping[str, float | int]) -> Float[Tensor, " trait"]:
        """A trait vector from names; traits that are not named are at 0, the mean.

        Raises:
            ConfigError: a name is not among the adapter's traits.
        """
        unknown = [name for name in traits if name not in self.traits]
        if unknown:
            raise ConfigError(f"the adapter has no trait {unknown[0]!r}.", f"Its traits: {', '.join(self.traits)}.")
        return torch.tensor([float(traits.get(name, 0.0)) for name in self.traits])

    @checked
    def save(self, path: str | Path) -> None:
        """Save as safetensors with a manifest beside it."""
        standard = self.standard
        manifest: dict[str, Any] = {
            "shape": {
                "n_layers": self.shape.n_layers,
                "n_kv_heads": self.shape.n_kv_heads,
                "d_head": self.shape.d_head,
            },
            "traits": list(self.traits),
            "standard": None if standard is None else {"mean": list(standard.mean), "std": list(standard.std)},
            "n_parameters": self.n_parameters,
            "provenance": self.provenance.to_dict(),
        }
        save_tensors(Path(path), {"weight": self.affine.weight, "bias": self.affine.bias}, kind=KIND, manifest=manifest)

    @classmethod
    @checked
    def load(cls, path: str | Path, model: HookedModel | None = None) -> "PsychAdapter":
        """Load what `save` wrote, frozen, checked by hash and, where a model is given, against it.

        Raises:
            ArtefactError: missing, truncated, altered, or of another kind.
            IncompatibleDirectionError: trained on another model.
        """
        tensors, manifest = load_tensors(Path(path), kind=KIND, keys=PSYCHADAPTER)
        axes = {"weight": ("output", "trait"), "bias": ("output",)}
        weights = {key: finite(read_floats(tensors, key, str(path), of), str(path)) for key, of in axes.items()}
        _check_shape(weights, manifest, Path(path))
        try:
            traits, standard = tuple(manifest["traits"]), manifest["standard"]
            adapter = filled(
                KVShape(**{name: manifest["shape"][name] for name in ("n_layers", "n_kv_heads", "d_head")}),
                traits,
                Provenance.from_dict(manifest["provenance"]),
                None if standard is None else Standard(traits, tuple(standard["mean"]), tuple(standard["std"])),
                weights,
            )
        except (PersonaInterpError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ArtefactError(
                f"{path} with {manifest_path(Path(path))} does not describe an adapter: {first_line(error)}.",
                "One of them was altered. Restore both or train again.",
            ) from error
        _check_read(adapter, Path(path))
        if model is not None:
            check_psychadapter(adapter, model)
        return adapter


def _check_shape(weights: Mapping[str, Tensor], manifest: Mapping[str, Any], path: Path) -> None:
    """Refuse weights of another shape than the manifest states, before an adapter of that shape is made."""
    shape = KVShape(**{name: manifest["shape"][name] for name in ("n_layers", "n_kv_heads", "d_head")})
    needed = (shape.n_outputs, len(manifest["traits"]))
    if weights["weight"].shape != needed or weights["bias"].shape != needed[:1]:
        found = " and ".join(str(list(weight.shape)) for weight in weights.values())
        raise ArtefactError(
            f"{path} has weights and biases of shape {found}.",
            f"Its manifest states {shape} and {needed[1]} traits: {list(needed)} and {[needed[0]]}.",
            "One of them was altered. Restore both or train again.",
        )
    standard = manifest["standard"]
    lengths = [] if standard is None else [len(standard["mean"]), len(standard["std"])]
    if any(length != needed[1] for length in lengths):
        raise ArtefactError(
            f"{manifest_path(path)} has {lengths[0]} means and {lengths[1]} deviations of {needed[1]} traits.",
            "Restore both files or train again.",
        )


def _check_read(adapter: PsychAdapter, path: Path) -> None:
    """Refuse a file whose values are not finite, or whose layers are not those of the model that it names."""
    own, standard = adapter.provenance, adapter.standard
    spread = () if standard is None else standard.std
    faults = {
        f"it must have {own.n_layers} layers, got {adapter.shape.n_layers}": adapter.shape.n_layers != own.n_layers,
        "its standard deviations must be positive and finite": not all(0 < s < float("inf") for s in spread),
    }
    for fault, holds in faults.items():
        if holds:
            raise ArtefactError(
                f"{path} cannot be an adapter of {own.model}: {fault}.",
                "The file or its manifest was altered. Restore both or train again.",
            )


def check_psychadapter(adapter: PsychAdapter, model: HookedModel) -> None:
    """Refuse an adapter that was trained on other weights.

    Raises:
        IncompatibleDirectionError: names both models.
    """
    own, other = adapter.provenance, model.provenance
    if own.weights != other.weights:
        raise IncompatibleDirectionError(
            f"the adapter of {', '.join(adapter.traits)} belongs to {own.model} ({adapter.shape}, weights"
            f" {own.weights}), not to {other.model} ({other.n_layers} layers, d_model {other.d_model}, weights"
            f" {other.weights}).",
            *([FORMAT_CHANGED] if format_changed(own.weights, other.weights) else []),
            "Train one for this model; an adapter that was trained with LoRA belongs to the model with that merged in.",
            "To use it on a copy of equal shape on purpose, bind it: rebind_psychadapter(adapter, model).",
        )


@checked
def rebind_psychadapter(adapter: PsychAdapter, model: HookedModel) -> PsychAdapter:
    """The same adapter declared to belong to another model of equal shape; where it comes from stays on record.

    Raises:
        IncompatibleDirectionError: layers, heads or widths differ.
    """
    own, other = adapter.provenance, model.provenance
    config = getattr(model, "config", None)
    same = (own.n_layers, own.d_model) == (other.n_layers, other.d_model)
    if not same or (config is not None and KVShape.of(config) != adapter.shape):
        raise IncompatibleDirectionError(
            f"the adapter of {', '.join(adapter.traits)} of {own.model} ({adapter.shape}) does not fit {other.model}"
            f" ({other.n_layers} layers, d_model {other.d_model}).",
            "Only models of equal shape can share an adapter.",
        )
    details = {**own.details, "rebound_from": {"model": own.model, "weights": own.weights}}
    bound = replace(own, model=other.model, weights=other.weights, details=details)
    return filled(adapter.shape, adapter.traits, bound, adapter.standard, adapter.affine.state_dict())


def filled(
    shape: KVShape,
    traits: Sequence[str],
    provenance: Provenance,
    standard: Standard | None,
    tensors: Mapping[str, Tensor],
) -> PsychAdapter:
    """A frozen adapter with these weights."""
    adapter = PsychAdapter(shape, traits, provenance, standard=standard)
    adapter.affine.load_state_dict({name: tensor.detach().float().cpu() for name, tensor in tensors.items()})
    return adapter.eval().requires_grad_(False)


def _of(config: PreTrainedConfig, name: str) -> Any:
    return getattr(config, name, None)
