"""Whether a row of a batch is computed as it is alone, and whether the parts of a block add up to its output."""

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.errors import HookpointError, ModelError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import token_batch
from persona_interp.types import STREAMS, Hookpoint, Stream, TokenBatch

PARTS: tuple[Stream, ...] = ("attn_out", "mlp_out")
_TOLERANCE = 0.05


def row_error(model: HookedModel, batch: TokenBatch, together: Float[Tensor, "batch pos d_model"]) -> float:
    """Relative difference between the shortest row in a batch, where padding is before it, and alone without its end.

    Of the output of the last block, the median over tokens: in half precision a router may send one token elsewhere.

    Args:
        together: that output of the whole batch.
    """
    row = int(batch.mask.sum(-1).argmin())
    ids, last = batch.ids[row][batch.mask[row]].tolist(), Hookpoint(model.n_layers - 1)
    alone = model.run(token_batch([ids[:-1] or ids]), read=[last], outputs="none").residuals[last][0].cpu().float()
    expected = together[row].cpu().float()[batch.mask[row].cpu()][: len(alone)]
    return float(((alone - expected).norm(dim=-1) / expected.norm(dim=-1)).median())


def check_rows(model: HookedModel, batch: TokenBatch, together: Float[Tensor, "batch pos d_model"]) -> None:
    """Refuse a model of which rows depend on what they share a batch with, or tokens on those after them.

    Args:
        together: the last block's output of the whole batch.

    Raises:
        ModelError: a row differs by more than rounding.
    """
    with torch.inference_mode():
        error = row_error(model, batch, together)
    if not error <= _TOLERANCE:
        raise ModelError(
            f"{model.name} computes a padded row differently from the same row alone.",
            f"The relative difference is {error:.1e}: its tokens see padding, or tokens after them.",
            "A causal language model is needed whose implementation in transformers masks padding on the left.",
        )


def check_parts(model: HookedModel, hookpoint: Hookpoint) -> None:
    """Refuse attn_out and mlp_out of a block whose output is not its input and both of them.

    Raises:
        HookpointError: something else is added, such as a multiple of it.
    """
    reads = [Hookpoint(hookpoint.layer, stream) for stream in STREAMS]
    found = model.run(token_batch([[0, 1, 2, 3]]), read=reads, outputs="none").residuals
    before, attention, mlp, after = (found[read].float() for read in reads)
    same = before.shape == attention.shape == mlp.shape == after.shape
    error = float((before + attention + mlp - after).norm() / after.norm()) if same else torch.inf
    if not error <= _TOLERANCE:
        raise HookpointError(
            f"cannot reach {hookpoint} of {model.name} ({model.backend}).",
            "Attention and MLP do not add up to what the block adds to the residual stream"
            f" (relative difference {error:.1e}).",
            "Use resid_pre or resid_post, which every block has.",
        )
