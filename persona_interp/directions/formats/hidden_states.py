"""Numbers that count hidden states (transformers' `output_hidden_states=True`) against hookpoints.

`hidden_states[0]` is the embedding output, the input of block 0. `hidden_states[k]` is the output of block k-1, except
the last one, which transformers gives after the model's final norm: it is no residual of any block. That row is set
aside in the provenance, so that a file can be written back exactly and nothing can be steered with it.
"""

import base64
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError, ArtefactError
from persona_interp.io import sha256_bytes
from persona_interp.types import Hookpoint

LastRow = Literal["normed", "residual"]
"""What the vector of the last hidden state is: taken after the final norm, as transformers gives it, or the output of
the last block, where its maker read the stream with hooks."""

_ASIDE = "normed_last_row"


def hookpoint_of(index: int) -> Hookpoint:
    """The place in the residual stream that `hidden_states[index]` shows."""
    return Hookpoint(0, "resid_pre") if index == 0 else Hookpoint(index - 1)


def hidden_state_index(hookpoint: Hookpoint, trait: str) -> int:
    """The k for which `hidden_states[k]` shows a place.

    Raises:
        AlignmentError: no hidden state shows it.
    """
    if hookpoint == Hookpoint(0, "resid_pre"):
        return 0
    if hookpoint.stream == "resid_post":
        return hookpoint.layer + 1
    raise AlignmentError(
        f"no hidden state is {hookpoint}, where {trait} has a vector.",
        "Hidden states are the embedding output (resid_pre of block 0) and the outputs of blocks (resid_post).",
    )


def with_aside(direction: Direction, row: Float[Tensor, " d_model"] | None) -> Direction:
    """The direction with the vector after the final norm kept in its provenance, out of reach of steering."""
    if row is None:
        return direction
    kept = {"f32le_base64": _encode(row), "belongs_to": _digest(direction)}
    provenance = direction.provenance
    return replace(direction, provenance=replace(provenance, details={**provenance.details, _ASIDE: kept}))


def aside(direction: Direction) -> Float[Tensor, " d_model"] | None:
    """The vector after the final norm that came with the direction's file; None if there was none.

    Raises:
        AlignmentError: the vectors were changed since (scaled, turned), so it no longer belongs to them.
        ArtefactError: the provenance was altered.
    """
    kept = direction.provenance.details.get(_ASIDE)
    if kept is None:
        return None
    try:
        row, digest = _decode(kept["f32le_base64"]), kept["belongs_to"]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"the last row kept with {direction.trait} cannot be read: {error}.") from error
    if digest != _digest(direction) or len(row) != direction.vectors.shape[-1]:
        raise AlignmentError(
            f"the vectors of {direction.trait} were changed after they came from their file, and its last row was not.",
            "That row was taken after the final norm, so the change does not carry over.",
            "Leave it out: in a persona-vectors file incomplete=True (--incomplete) writes zeros there; a GGUF file of"
            " convention block_output has no such row.",
        )
    return row


def _digest(direction: Direction) -> str:
    return sha256_bytes(direction.vectors.numpy().astype("<f4").tobytes())


def _encode(row: Float[Tensor, " d_model"]) -> str:
    return base64.b64encode(row.numpy().astype("<f4").tobytes()).decode("ascii")


def _decode(text: str) -> Float[Tensor, " d_model"]:
    values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    return torch.from_numpy(values.astype(np.float32))
