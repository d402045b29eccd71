"""The key/value cache of transformers, with the few operations that shared prefixes and sampling need."""

from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import (
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
    LinearAttentionLayer,
)

from persona_interp.errors import ContextLengthError, ModelError
from persona_interp.types import KVPrefix, TokenBatch

_HEADROOM = 64


class RoomyLayer(DynamicLayer):
    """A cache layer that appends in place to a buffer with room to spare.

    The library's own layer concatenates, which copies the whole cache at every generated token. Only for passes
    without gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, Tensor] | None = None

    def update(
        self,
        key_states: Float[Tensor, "batch kv_head pos d_head"],
        value_states: Float[Tensor, "batch kv_head pos d_head"],
        *args: object,  # noqa: ARG002 (the library's signature)
        **kwargs: object,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values; returns everything cached so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < end:
            self._buffers = (self._roomy(self.keys, key_states, start), self._roomy(self.values, value_states, start))
        keys, values = self._buffers
        keys[:, :, start:end], values[:, :, start:end] = key_states, value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Int[Tensor, " row"]) -> None:
        """Keep these rows (repeats allowed)."""
        super().batch_select_indices(indices)
        self._buffers = None

    @staticmethod
    def _roomy(cached: Tensor | None, new: Tensor, start: int) -> Tensor:
        batch, heads, added, width = new.shape
        buffer = new.new_empty(batch, heads, start + added + _HEADROOM, width)
        if start and cached is not None:
            buffer[:, :, :start] = cached
        return buffer


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache for a model, its full-attention layers appending in place."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def prefixed_cache(config: PreTrainedConfig, prefix: KVPrefix, n_rows: int, *, grad: bool = False) -> DynamicCache:
    """A cache that starts with virtual key/value tokens; with `grad`, gradients flow to them.

    A prefix of one row starts all of `n_rows` rows.
    """
    cache = DynamicCache(config=config) if grad else new_cache(config)
    for layer, (keys, values) in enumerate(zip(prefix.keys, prefix.values, strict=True)):
        cache.update(keys.expand(n_rows, -1, -1, -1), values.expand(n_rows, -1, -1, -1), layer)
    return cache


def is_shared(prefix: KVPrefix | None) -> bool:
    """Whether every row begins alike: without virtual tokens, or with the same ones."""
    return prefix is None or prefix.keys.shape[1] == 1


def n_virtual(prefix: KVPrefix | None) -> int:
    """Number of virtual tokens in front of a row."""
    return 0 if prefix is None else prefix.keys.shape[3]


def has_kv_cache(config: PreTrainedConfig) -> bool:
    """Whether every layer caches keys and values (state-space layers, for one, do not)."""
    layers = DynamicCache(config=config).layers
    return bool(layers) and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def refuse_unsupported(config: PreTrainedConfig, name: str) -> None:
    """Refuse models without attention.

    Raises:
        ModelError: a state-space model.
    """
    layers = DynamicCache(config=config).layers
    if layers and all(type(layer) in (LinearAttentionLayer, DummyLayer) for layer in layers):
        raise ModelError(
            f"{name} is a state-space model ({config.model_type}): none of its blocks has attention.",
            "Models of attention blocks can be read and edited, and those that mix them with others.",
        )


def shares_prefixes(config: PreTrainedConfig, length: int) -> bool:
    """Whether rows of `length` tokens may be computed in segments.

    Segments leave padding inside a row, which masks hide; a sliding window shorter than the row would count it.
    Caches that are not keys and values cannot be split either.
    """
    return has_kv_cache(config) and length <= window_of(config, length)


def window_of(config: PreTrainedConfig, default: int) -> int:
    """Tokens in the shortest sliding window of a model, or the default where it has none."""
    layers = DynamicCache(config=config).layers
    windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
    return min(windows, default=default)


def select_rows(cache: DynamicCache, rows: Int[Tensor, " row"]) -> None:
    """Reorder, repeat or drop the rows of a cache in place."""
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            layer.reorder_cache(rows)  # pyright: ignore (repeats and drops too)
        else:
            layer.batch_select_indices(rows)  # pyright: ignore


def check_window(name: str, config: PreTrainedConfig, batch: TokenBatch, prefix: KVPrefix | None, length: int) -> None:
    """Refuse padding between virtual tokens and text where a sliding window would count it.

    Raises:
        ContextLengthError: rows of unequal length behind a prefix are longer than the window.
    """
    window = window_of(config, length)
    if prefix is not None and length > window and not bool(batch.mask.all()):
        raise ContextLengthError(
            f"rows of unequal length behind a key/value prefix do not fit a sliding window of {name}.",
            f"With prefix and answer they have up to {length} tokens; the window holds {window}, padding included.",
            "Give rows of one length, or one row at a time.",
        )
