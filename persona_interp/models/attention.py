"""Attention patterns, and what every head moves from where to where, of a batch that is run once.

Patterns come from the eager attention of transformers, which is switched on for the pass and back afterwards; value
vectors from the projection that makes them. Both are read with plain hooks, so every backend gives the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from persona_interp.arguments import checked
from persona_interp.errors import HookpointError, ModelError
from persona_interp.models.blocks import find_blocks
from persona_interp.models.components import plain_module, unit_width
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import TokenBatch

_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_VALUES = ("v_proj",)
_FUSED = ("c_attn",)


@dataclass(frozen=True, eq=False)
class HeadAttention:
    """Of one block: who looks where, and the values that are there.

    Args:
        pattern: softmaxed attention of every head; 0 at padding and at later positions.
        values: of every head (those of a group of heads are repeated).
    """

    pattern: Float[Tensor, "batch head query key"]
    values: Float[Tensor, "batch head key d_head"]

    def moved(self, sources: Tensor, query: int = -1) -> Float[Tensor, "batch head d_head"]:
        """The part of each head's output at a position that comes from some sources (a mask, batch by key)."""
        weights = self.pattern[:, :, query] * sources[:, None].to(self.pattern)
        return einsum(weights, self.values, "b h k, b h k d -> b h d")


@checked
def read_attention(model: HookedModelBase, batch: TokenBatch, layers: Sequence[int]) -> dict[int, HeadAttention]:
    """Attention of some blocks over a batch, in float32 on the CPU.

    Memory grows with the square of the length: give few rows at a time.

    Raises:
        HookpointError: a layer does not exist, or has no attention with patterns and values that are known.
        ModelError: the model gave no patterns.
    """
    blocks = find_blocks(model.module)[1]
    patterns: dict[int, Tensor] = {}
    values: dict[int, Tensor] = {}
    batch = batch.to(model.device)
    with ExitStack() as stack:
        stack.enter_context(_eager(model))
        for layer in layers:
            if not 0 <= layer < model.n_layers:
                raise HookpointError(
                    f"cannot read attention of layer {layer} of {model.name}.", f"Layers run 0..{model.n_layers - 1}."
                )
            attention, projection, fused = _parts(plain_module(blocks[layer]), layer, model.name)
            stack.callback(attention.register_forward_hook(_keep_pattern(patterns, layer)).remove)
            stack.callback(projection.register_forward_hook(_keep_values(values, layer, fused)).remove)
        forward = stack.enter_context(model.tapped({}))
        with torch.inference_mode():
            forward(batch.ids, batch.mask.long(), batch.position_ids, None, 1)
    if missing := [layer for layer in layers if layer not in patterns or layer not in values]:
        raise ModelError(
            f"{model.name} gave no attention pattern at layer {missing[0]}.", "Its attention is of another kind."
        )
    return {
        layer: _attention(patterns[layer], values[layer], batch, unit_width(model, layer, "head")) for layer in layers
    }


def _attention(pattern: Tensor, values: Tensor, batch: TokenBatch, d_head: int) -> HeadAttention:
    """Real queries and keys alone; the values of a group for each of its heads."""
    mask = batch.mask.cpu()
    pattern = pattern[..., -mask.shape[1] :] * mask[:, None, None, :] * mask[:, None, :, None]
    grouped = values.unflatten(-1, (-1, d_head)).transpose(1, 2)
    return HeadAttention(pattern, grouped.repeat_interleave(pattern.shape[1] // grouped.shape[1], dim=1))


def _parts(block: nn.Module, layer: int, name: str) -> tuple[nn.Module, nn.Module, bool]:
    """The attention of a block, the module that makes its values, and whether that makes queries and keys too."""
    children = dict(block.named_children())
    attention = next((plain_module(children[child]) for child in _ATTENTION if child in children), None)
    inner = {} if attention is None else dict(attention.named_children())
    for names, fused in ((_VALUES, False), (_FUSED, True)):
        for child in names:
            if attention is not None and child in inner:
                return attention, plain_module(inner[child]), fused
    raise HookpointError(
        f"cannot read attention of layer {layer} of {name}.",
        f"Expected an attention with one of {', '.join((*_VALUES, *_FUSED))}, got {', '.join(inner) or 'none'}.",
    )


def _keep_pattern(kept: dict[int, Tensor], layer: int) -> Any:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, tuple) and len(output) > 1 and isinstance(output[1], Tensor):
            kept[layer] = output[1].detach().float().cpu()

    return hook


def _keep_values(kept: dict[int, Tensor], layer: int, fused: bool) -> Any:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        made = output.detach().float().cpu()
        kept[layer] = made.chunk(3, dim=-1)[-1] if fused else made

    return hook


@contextmanager
def _eager(model: HookedModelBase) -> Iterator[None]:
    """Eager attention, which gives its pattern, in the place of what the model uses."""
    configs = {id(config): config for config in (model.config, model.config.get_text_config(decoder=True))}.values()
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, implementation in zip(configs, before, strict=True):
            config._attn_implementation = implementation
