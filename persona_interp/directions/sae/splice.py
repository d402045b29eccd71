"""Edits that put a dictionary's reconstruction, or nothing, in the place of what it stands for."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.errors import ModelError
from persona_interp.types import Edit, Edits, Span

Put = Callable[[Float[Tensor, "token d_in"], Float[Tensor, "token d_model"]], Float[Tensor, "token d_model"]]
"""From what a dictionary reads and what is there at `writes`, at some positions, to what is put there."""


def splice_edits(dictionary: Dictionary, put: Put, span: Span, *, last_prompt_token: bool = True) -> Edits:
    """Edits that replace what is at `writes` by what `put` makes of it, at positions that are not massive.

    Where a dictionary reads elsewhere than it writes, what it reads is held from the one place to the other, which
    comes later in the same pass.
    """
    if not dictionary.is_transcoder:

        def replace(
            residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]
        ) -> Float[Tensor, "batch pos d_model"]:
            kept = _ordinary(dictionary, residual, mask)
            return _put(residual, kept, put(residual[kept], residual[kept]))

        return {dictionary.hookpoint: (Edit(replace, span, last_prompt_token),)}
    held: list[tuple[Tensor, Tensor]] = []

    def hold(read: Float[Tensor, "batch pos d_in"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_in"]:
        kept = _ordinary(dictionary, read, mask)
        held[:] = [(read[kept], kept)]
        return read

    def write(
        residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_model"]:
        if not held or held[0][1].shape != mask.shape:
            raise ModelError(
                f"{dictionary.writes} was reached before {dictionary.hookpoint}, which {dictionary.id} reads.",
                "A transcoder writes later in a block than it reads.",
            )
        read, kept = held.pop()
        kept = kept.to(residual.device)
        return _put(residual, kept, put(read, residual[kept]))

    return {
        dictionary.hookpoint: (Edit(hold, span, last_prompt_token),),
        dictionary.writes: (Edit(write, span, last_prompt_token),),
    }


def reconstruction_edits(dictionary: Dictionary, how: Literal["reconstruct", "zero"], span: Span) -> Edits:
    """Edits that replace what a dictionary stands for by its reconstruction, or by zeros."""
    if how == "zero":
        return splice_edits(dictionary, lambda _, there: torch.zeros_like(there), span, last_prompt_token=False)
    return splice_edits(dictionary, lambda read, _: dictionary.reconstruct(read), span, last_prompt_token=False)


def _ordinary(dictionary: Dictionary, values: Tensor, mask: Tensor) -> Bool[Tensor, "batch pos"]:
    """The positions of the mask whose norm is not massive."""
    if dictionary.norm_limit is None:
        return mask
    return mask & (values.float().norm(dim=-1) <= dictionary.norm_limit)


def _put(residual: Tensor, kept: Tensor, values: Tensor) -> Tensor:
    changed = residual.clone()
    changed[kept] = values.to(residual.device, residual.dtype)
    return changed
