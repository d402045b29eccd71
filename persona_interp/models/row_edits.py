"""Edits that differ from row to row of a batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, as_tensor

from persona_interp.errors import AlignmentError
from persona_interp.types import Edit, Edits, RowEditFunction


def row_addition(vectors: Float[Tensor, "row d_model"]) -> RowEditFunction:
    """Adds to each row of a batch its own vector."""

    def add(
        residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"], rows: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch pos d_model"]:
        if int(rows.max()) >= len(vectors):
            raise AlignmentError(
                f"{len(vectors)} rows have a direction; the batch has {int(rows.max()) + 1}.", "Give one a row."
            )
        chosen = vectors.to(residual.device)[rows]
        return residual + mask[..., None] * chosen[:, None].to(residual.dtype)

    return add


def renumbered(edits: Edits, owners: Sequence[int]) -> Edits:
    """The same edits for a batch whose rows continue these rows of the one that they were made for."""
    return {hookpoint: tuple(_renumbered(edit, owners) for edit in several) for hookpoint, several in edits.items()}


def _renumbered(edit: Edit, owners: Sequence[int]) -> Edit:
    if not edit.by_row:
        return edit
    function = cast(RowEditFunction, edit.function)

    def of_owner(
        residual: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"], rows: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch pos d_model"]:
        return function(residual, mask, as_tensor(owners, device=rows.device)[rows])

    return replace(edit, function=of_owner)
