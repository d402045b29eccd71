"""An adapter whose virtual values carry z as it is, and models that do with it what a test plants."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persona_interp.data.trait_texts import Standard
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.types import ForwardPass, Generation, Hookpoint, KVPrefix, TokenBatch
from tests.contract.tiny import make_tokenizer
from tests.small import StubModel, provenance

D_MODEL, N_LAYERS = 24, 2
Shift = Callable[[Tensor, Tensor], Tensor]
"""(z of every row, a number that belongs to the row's text) -> shift [row, layer, d_model]."""


def planted_adapter(traits: tuple[str, ...] = ("loud", "slow"), standard: Standard | None = None) -> PsychAdapter:
    adapter = PsychAdapter(
        KVShape(N_LAYERS, 1, len(traits)),
        traits,
        provenance(n_layers=N_LAYERS, d_model=D_MODEL, details={"start": "<eos>"}),
        standard=standard,
    )
    with torch.no_grad():
        adapter.affine.weight.zero_()
        adapter.affine.bias.zero_()
        adapter.affine.weight[len(traits) : 2 * len(traits)] = torch.eye(len(traits))
    return adapter.eval().requires_grad_(False)


def z_of(prefix: KVPrefix | None, n_rows: int, n_traits: int = 2) -> Tensor:
    """The trait vectors that a prefix carries."""
    if prefix is None:
        return torch.zeros(n_rows, n_traits)
    return prefix.values[0, :, 0, 0].expand(n_rows, -1)


class PlantedModel(StubModel):
    """Residuals that are normal per text, plus the planted shift; log-probabilities and texts as planted."""

    name = "tiny-a"
    n_layers = N_LAYERS
    d_model = D_MODEL

    def __init__(self, shift: Shift | None = None, logprob: Any = None, write: Any = None) -> None:
        super().__init__(n_layers=N_LAYERS, d_model=D_MODEL)
        self.tokenizer: Any = make_tokenizer()
        self.shift, self.logprob, self.write = shift, logprob, write
        self.passes: list[int] = []

    def run(
        self,
        batch: TokenBatch,
        *,
        read: Any = (),
        pool: Any = (),
        outputs: str = "logits",
        prefix: Any = None,
        **_: Any,
    ) -> ForwardPass:
        self.passes.append(len(batch))
        z = z_of(prefix, len(batch))
        if outputs == "token_logprobs":
            each = self.logprob(self._texts(batch), z, prefix is not None)
            return ForwardPass(token_logprobs=torch.where(batch.response, each[:, None], 0.0))
        assert self.shift is not None
        assert list(read) == [Hookpoint(layer) for layer in range(N_LAYERS)]
        numbers = torch.tensor([float(sum(map(ord, text)) % 9973) for text in self._texts(batch)])
        base = torch.stack([self._residual(int(number)) for number in numbers])
        pooled = base + self.shift(z, numbers)
        return ForwardPass(pooled={pool[0]: pooled}, norms=torch.full(pooled.shape[:2], 10.0))

    def generate(self, batch: TokenBatch, *, sampling: Any, prefix: Any = None, **_: Any) -> Generation:
        self.passes.append(len(batch))
        texts = self.write(self._texts(batch), z_of(prefix, len(batch)), sampling.seed)
        return Generation(ids=[[5] for _ in texts], texts=texts, finished=[True for _ in texts])

    def _texts(self, batch: TokenBatch) -> list[str]:
        rows = [ids[mask].tolist() for ids, mask in zip(batch.ids, batch.mask, strict=True)]
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True)

    @staticmethod
    def _residual(number: int) -> Tensor:
        drawn = np.random.default_rng([7, number]).standard_normal((N_LAYERS, D_MODEL))
        return torch.from_numpy(drawn * np.linspace(0.2, 2, D_MODEL)).float()
