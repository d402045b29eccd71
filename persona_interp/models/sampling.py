"""Drawing the next token, each row from its own stream of uniform numbers."""

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from persona_interp.models.protocol import Sampling

_BLOCK = 256
_BELOW_ONE = 1 - 2**-24


def row_uniforms(
    prompts: Sequence[Sequence[int]], sampling: Sampling, *, continued: bool = True
) -> Float[Tensor, "sample step"]:
    """Uniform numbers in [0, 1), one stream a sample, seeded by (seed, prompt tokens, sample index).

    Args:
        continued: a prompt that is there twice continues its sample index, so that its samples differ. False where rows
            of one prompt differ in their edits, and are compared by the same random numbers.
    """
    seen: Counter[int] = Counter()
    streams = []
    for prompt in prompts:
        key = zlib.crc32(np.asarray(prompt, dtype=np.int64).tobytes())
        if not continued:
            seen[key] = 0
        for _ in range(sampling.n_samples):
            streams.append(np.random.default_rng([sampling.seed, key, seen[key]]).random(sampling.max_new_tokens))
            seen[key] += 1
    return torch.from_numpy(np.stack(streams)).float().clamp(max=_BELOW_ONE)  # float32 rounds some up to 1


def sample_tokens(
    logits: Float[Tensor, "batch d_vocab"], uniforms: Float[Tensor, " batch"], sampling: Sampling
) -> Int[Tensor, " batch"]:
    """The token at which the cumulative probability passes u, after temperature, top-k and top-p."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    scaled = logits.float() / sampling.temperature
    if sampling.top_k is not None or sampling.top_p is not None:
        scaled = _restrict(scaled, sampling.top_k, sampling.top_p)
    weights = (scaled - scaled.amax(-1, keepdim=True)).exp()
    return _inverse_cdf(weights, uniforms)


def _restrict(
    logits: Float[Tensor, "batch d_vocab"], top_k: int | None, top_p: float | None
) -> Float[Tensor, "batch d_vocab"]:
    """Logits with everything outside the top k, and outside the smallest set of mass p, at minus infinity."""
    k = min(top_k or logits.shape[-1], logits.shape[-1])
    values, indices = logits.topk(k, dim=-1)
    if top_p is not None:
        before = values.softmax(-1).cumsum(-1) - values.softmax(-1)
        values = values.masked_fill(before >= top_p, -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter(-1, indices, values)


def _inverse_cdf(weights: Float[Tensor, "batch d_vocab"], uniforms: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """First index whose cumulative weight exceeds u times the total, found block by block."""
    padding = -weights.shape[-1] % _BLOCK
    blocks = torch.nn.functional.pad(weights, (0, padding)).unflatten(-1, (-1, _BLOCK))
    cumulative = blocks.sum(-1).double().cumsum(-1)
    target = uniforms.double()[:, None] * cumulative[:, -1:]
    block = (cumulative <= target).sum(-1).clamp(max=cumulative.shape[-1] - 1)
    rows = torch.arange(len(weights), device=weights.device)
    before = torch.where(block > 0, cumulative[rows, (block - 1).clamp(min=0)], 0.0)
    inside = blocks[rows, block].double().cumsum(-1)
    offset = (inside <= target - before[:, None]).sum(-1)
    heaviest = blocks[rows, block].argmax(-1)
    found = torch.where(offset < _BLOCK, offset, heaviest)
    found = torch.where(blocks[rows, block, found] > 0, found, heaviest)
    return block * _BLOCK + found
