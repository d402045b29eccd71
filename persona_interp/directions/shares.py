"""A watch that sums, while a model runs, what every part of it adds along unit vectors."""

from collections.abc import Sequence

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from persona_interp.models.components import UNIT_STREAMS, OutputMap, n_heads, output_map
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.recorder import Segment
from persona_interp.types import Hookpoint, Pooling

EMBEDDING = Hookpoint(0, "resid_pre")


class Shares:
    """A watch that sums what every part adds along unit vectors, over the pooled positions of every row."""

    def __init__(
        self, model: HookedModelBase, units: Float[Tensor, "vector d_model"], layer: int, pooling: Pooling
    ) -> None:
        self._units, self._target = units, Hookpoint(layer)
        self._pooling: Pooling = pooling
        self._maps: dict[Hookpoint, OutputMap] = {
            Hookpoint(block, UNIT_STREAMS[kind]): output_map(model, block, kind)
            for block in range(layer + 1)
            for kind in ("head", "neuron")
        }
        self._readers = {
            h: (m.readers(units.to(m.weight.device)), m.bias_share(units.to(m.weight.device)))
            for h, m in self._maps.items()
        }
        self._n_heads = n_heads(model)
        self.hookpoints: Sequence[Hookpoint] = (EMBEDDING, *self._maps, self._target)
        self.keep: Bool[Tensor, "row pos"] | None = None
        self.start()

    def start(self) -> None:
        """Forget the rows of the last call."""
        self.sums: dict[tuple[Hookpoint, str], Float[Tensor, "row vector ..."]] = {}
        self.counts = torch.zeros(0)

    def begin(self, segment: Segment, rows: Tensor | None) -> None:
        """The weight of every position of this segment."""
        assert rows is None, "attribution is of given responses, whose segments hold all rows"
        weights = segment.pooled(self._pooling).float()
        if self.keep is not None and segment.response.any():
            n = min(self.keep.shape[1], weights.shape[1])
            weights[:, -n:] *= self.keep[:, -n:].to(weights.device)
        self._weights = weights
        counts = weights.sum(-1).cpu()
        self.counts = self.counts + counts if len(self.counts) else counts

    def observe(self, hookpoint: Hookpoint, residual: Float[Tensor, "batch pos width"]) -> None:
        """Add what this part gives."""
        if not self._weights.any():
            return
        values, weights = residual.float(), self._weights.to(residual.device)
        if hookpoint not in self._maps:
            along = einsum(values, weights, self._units.to(values.device), "b p d, b p, v d -> b v")
            self._add(hookpoint, "share", along)
            if hookpoint == self._target:
                self._add(hookpoint, "norm", (values.norm(dim=-1) * weights).sum(-1, keepdim=True))
            return
        readers, bias = self._readers[hookpoint]
        scale = self._maps[hookpoint].scale(values)
        weights = weights if scale is None else weights * scale
        pooled = einsum(values, weights, "b p u, b p -> b u")
        shares = pooled[:, None] * readers
        if hookpoint.stream == "head_out":
            shares = shares.unflatten(-1, (self._n_heads, -1)).sum(-1)
        self._add(hookpoint, "share", shares)
        self._add(hookpoint, "bias", weights.sum(-1)[:, None] * bias)

    def end(self) -> None:
        """Nothing to do."""

    def expand(self, parent: Int[Tensor, " row"]) -> None:
        """Rows go on as others."""
        self.sums = {key: value[parent.to(value.device)] for key, value in self.sums.items()}
        self.counts = self.counts[parent.cpu()] if len(self.counts) else self.counts

    def _add(self, hookpoint: Hookpoint, what: str, values: Tensor) -> None:
        before = self.sums.get((hookpoint, what))
        self.sums[hookpoint, what] = values if before is None else before + values
