"""Edits that differ from row to row of a batch."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from persona_interp.errors import AlignmentError
from persona_interp.types import RowEditFunction


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
