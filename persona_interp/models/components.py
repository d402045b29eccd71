"""Heads and neurons of a model: how many there are, and the linear map by which they write to the residual stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from persona_interp.arguments import checked
from persona_interp.errors import ConfigError, ModelError
from persona_interp.models.blocks import find_blocks, inner_path, norm_after
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import Hookpoint, Stream

UnitKind = Literal["neuron", "head"]
"""A neuron of an MLP (its activation before W_out), or an attention head (its output before W_O)."""

UNIT_KINDS: tuple[UnitKind, ...] = get_args(UnitKind)
UNIT_STREAMS: dict[UnitKind, Stream] = {"neuron": "mlp_act", "head": "head_out"}
_ADDED: dict[UnitKind, Stream] = {"neuron": "mlp_out", "head": "attn_out"}


@dataclass(frozen=True, eq=False)
class OutputMap:
    """What an attention or an MLP adds, norm(u W + b), of its units u in float32.

    Args:
        weight: a row for every number of `head_out` or `mlp_act`.
        gain: of the RMS norm behind it, where the architecture has one, and `epsilon` of that norm.
    """

    weight: Float[Tensor, "unit d_model"]
    bias: Float[Tensor, " d_model"] | None = None
    gain: Float[Tensor, " d_model"] | None = None
    epsilon: float = 0.0

    def readers(self, vectors: Float[Tensor, "vector d_model"]) -> Float[Tensor, "vector unit"]:
        """What each unit's number is multiplied with to give its share of a projection, before `scale`."""
        return self._after_norm(vectors) @ self.weight.T

    def bias_share(self, vectors: Float[Tensor, "vector d_model"]) -> Float[Tensor, " vector"]:
        """The bias' share of a projection, before `scale`."""
        bias = torch.zeros(self.weight.shape[1]) if self.bias is None else self.bias
        return self._after_norm(vectors) @ bias.to(vectors.device)

    def scale(self, units: Float[Tensor, "batch pos unit"]) -> Float[Tensor, "batch pos"] | None:
        """One over the norm's divisor at every position, by which all shares are multiplied; None without a norm."""
        if self.gain is None:
            return None
        added = units.float() @ self.weight.to(units.device)
        if self.bias is not None:
            added = added + self.bias.to(units.device)
        return (added.square().mean(-1) + self.epsilon).rsqrt()

    def _after_norm(self, vectors: Float[Tensor, "vector d_model"]) -> Float[Tensor, "vector d_model"]:
        return vectors if self.gain is None else vectors * self.gain.to(vectors.device)


@checked
def n_heads(model: HookedModelBase) -> int:
    """Attention heads of a block (query heads)."""
    return int(model.config.get_text_config(decoder=True).num_attention_heads)


@checked
def n_units(model: HookedModelBase, layer: int, kind: UnitKind) -> int:
    """How many neurons or heads a block has.

    Raises:
        HookpointError: the layer does not exist, or the model has experts in the place of an MLP.
    """
    return n_heads(model) if kind == "head" else _projection(model, layer, kind).weight.shape[0]


@checked
def unit_width(model: HookedModelBase, layer: int, kind: UnitKind) -> int:
    """How many numbers of its stream a neuron (1) or a head (d_head) of a block gives.

    Raises:
        HookpointError: the layer does not exist, or the model has experts in the place of an MLP.
    """
    return 1 if kind == "neuron" else _projection(model, layer, kind).weight.shape[0] // n_heads(model)


@checked
def output_map(model: HookedModelBase, layer: int, kind: UnitKind) -> OutputMap:
    """The map from a block's heads or neurons to what its attention or MLP adds to the residual stream.

    Raises:
        HookpointError: the layer does not exist, or the model has experts in the place of an MLP.
        ModelError: the weights are quantised, or something else than an RMS norm follows.
    """
    linear = _projection(model, layer, kind)
    norm = norm_after(plain_module(find_blocks(model.module)[1][layer]), _ADDED[kind])
    if norm is None:
        return linear
    gain, epsilon = _rms_norm(plain_module(norm), model)
    return OutputMap(linear.weight, linear.bias, gain, epsilon)


@checked
def check_places(model: HookedModelBase, kind: UnitKind, places: Sequence[tuple[int, int]]) -> None:
    """Refuse neurons or heads that a model does not have.

    Raises:
        ConfigError: an index is out of range.
        HookpointError: a layer is.
    """
    model.check_hookpoints([Hookpoint(layer, UNIT_STREAMS[kind]) for layer, _ in places])
    for layer in dict.fromkeys(layer for layer, _ in places):
        n = n_units(model, layer, kind)
        if beyond := [index for at, index in places if at == layer and not 0 <= index < n]:
            raise ConfigError(
                f"{kind} {beyond[0]} does not exist: layer {layer} of {model.name} has {kind}s 0 to {n - 1}."
            )


def _projection(model: HookedModelBase, layer: int, kind: UnitKind) -> OutputMap:
    model.check_hookpoints([hookpoint := Hookpoint(layer, UNIT_STREAMS[kind])])
    module = plain_module(find_blocks(model.module)[1][layer])
    for part in inner_path(module, hookpoint, model.name).split("."):
        module = plain_module(module.get_submodule(part))
    if isinstance(module, Conv1D):
        weight = module.weight
    elif isinstance(module, nn.Linear) and module.weight.is_floating_point():
        weight = module.weight.T
    else:
        raise ModelError(
            f"the output projection of layer {layer} of {model.name} is a {type(module).__name__}, no plain weights.",
            "Attribution to heads and neurons needs them: load the model without quantisation.",
        )
    if weight.is_meta:
        raise ModelError(f"the weights of layer {layer} of {model.name} are kept on disk.", "Load it into memory.")
    bias = None if module.bias is None else module.bias.detach().float()
    return OutputMap(weight.detach().float(), bias)


def plain_module(module: nn.Module) -> nn.Module:
    """The module of transformers that a component of a bridge wraps, or the module itself."""
    while isinstance(inner := module._modules.get("_original_component"), nn.Module):
        module = inner
    return module


def _rms_norm(norm: nn.Module, model: HookedModelBase) -> tuple[Float[Tensor, " d_model"], float]:
    """Gain and epsilon of an RMS norm, found by what it makes of ones and tried on something else."""
    epsilon = float(getattr(norm, "variance_epsilon", getattr(norm, "eps", 0.0)))
    with torch.inference_mode():
        weight = next(norm.parameters())
        ones = torch.ones(1, 1, model.d_model, device=weight.device, dtype=weight.dtype)
        gain = norm(ones)[0, 0].float() * (1 + epsilon) ** 0.5
        probe = torch.linspace(-1, 2, model.d_model, device=weight.device, dtype=weight.dtype)[None, None]
        expected = norm(probe)[0, 0].float()
        made = probe[0, 0].float() * (probe.float().square().mean() + epsilon).rsqrt() * gain
    if not float((made - expected).norm()) <= 0.02 * float(expected.norm()):
        raise ModelError(
            f"the norm behind a part of {model.name} is a {type(norm).__name__}, which is no RMS norm.",
            "Shares of heads and neurons after it are not known to be exact: use attn_out and mlp_out.",
        )
    return gain, epsilon
