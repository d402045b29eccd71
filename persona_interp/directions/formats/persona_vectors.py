"""The `.pt` files of the persona_vectors code: a bare float32 tensor `[n_layers + 1, d_model]`.

Row L is `hidden_states[L]`: row 0 the embedding output, row L the output of block L-1. (The code there that steers at
`layer` L hooks block L-1 for that reason.) The last row was taken after the model's final norm, so it is set aside and
cannot be steered with. Not normalised; pointing toward the trait.
"""

import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.directions.formats.hidden_states import LastRow, aside, hidden_state_index, hookpoint_of, with_aside
from persona_interp.directions.formats.shape import (
    ModelShape,
    check_pole,
    checked_rows,
    imported_provenance,
    need_trait,
    shape_of,
)
from persona_interp.directions.formats.torch_file import load_torch_file, save_torch_file
from persona_interp.errors import AlignmentError
from persona_interp.models.protocol import HookedModel

FORMAT = "persona-vectors"
_NAME = re.compile(r"(?P<trait>[\w -]+)_(?P<pooling>response_avg|prompt_avg|prompt_last)_diff\.pt")
_POOLINGS = {"response_avg": "response_mean", "prompt_avg": "prompt_mean", "prompt_last": "prompt_last"}


def load_persona_vectors(
    path: str | Path, model: HookedModel | ModelShape, *, trait: str | None = None, last_row: LastRow = "normed"
) -> Direction:
    """The direction in a persona_vectors file: resid_pre of block 0, then the outputs of blocks 0 to n_layers-2.

    A row of zeros (where the same token was read on both sides) is no direction and gets no hookpoint; it is written
    back as zeros.

    Args:
        trait: default: from the name `{trait}_{response_avg,prompt_avg,prompt_last}_diff.pt`.
        last_row: `normed`: set aside. `residual`, if the file's maker read the output of the last block with hooks: it
            becomes the last block's vector.

    Raises:
        ArtefactError: not a plain tensor file.
        AlignmentError: the number of rows is not n_layers + 1.
        IncompatibleDirectionError: another width.
    """
    path, shape = Path(path), shape_of(model)
    content, digest = load_torch_file(path)
    rows = checked_rows(content, path.name, shape, axes=("n_layers + 1", "d_model"))
    _check_count(len(rows), path.name, shape)
    named = _NAME.fullmatch(path.name)
    used = range(shape.n_layers + (last_row == "residual"))
    zero = [index for index in used if not rows[index].any()]
    kept = [index for index in used if index not in zero]
    if not kept:
        raise AlignmentError(f"every row of {path.name} is zero.", "There is no direction in it.")
    provenance = imported_provenance(
        shape,
        FORMAT,
        pooling=_POOLINGS[named["pooling"]] if named else None,
        source=path.name,
        source_sha256=digest,
        source_dtype=str(content.dtype).removeprefix("torch."),
        zero_rows=zero,
        last_row=last_row,
    )
    name = need_trait(trait or (named["trait"] if named else None), path)
    hookpoints = tuple(map(hookpoint_of, kept))
    direction = Direction(rows[kept], hookpoints, name, provenance.method, name, provenance)
    return with_aside(direction, rows[-1].clone() if last_row == "normed" else None)


def save_persona_vectors(
    direction: Direction, path: str | Path, *, incomplete: bool = False, last_row: LastRow | None = None
) -> None:
    """Write a persona_vectors file; one that was read from such a file gets every row back, the last one included.

    Args:
        incomplete: zeros where the direction has no vector. Our own directions have none at the embedding output, nor
            after the final norm; their vector at the last block has no row and is left out.
        last_row: `residual` writes the last block's vector into the last row, where readers of the format expect one
            taken after the final norm. Default: as in the file that it was read from, else `normed`.

    Raises:
        AlignmentError: a row is missing, or a vector has no row, and `incomplete` is not set.
    """
    check_pole(direction, FORMAT)
    n_layers = direction.provenance.n_layers
    details = direction.provenance.details
    last_row = last_row or details.get("last_row") or "normed"
    rows: dict[int, Float[Tensor, " d_model"]] = {}
    for hookpoint, vector in zip(direction.hookpoints, direction.vectors, strict=True):
        rows[hidden_state_index(hookpoint, direction.trait)] = vector
    if last_row == "normed":
        if rows.pop(n_layers, None) is not None and not incomplete:
            raise _no_row(direction, n_layers)
        normed = _aside(direction, incomplete)
        rows |= {} if normed is None else {n_layers: normed}
    zero = torch.zeros(direction.vectors.shape[-1])
    rows = {index: zero for index in details.get("zero_rows", ())} | rows
    missing = [index for index in range(n_layers + 1) if index not in rows]
    if missing and not incomplete:
        raise _missing(direction, missing, n_layers)
    save_torch_file(torch.stack([rows.get(index, zero) for index in range(n_layers + 1)]), Path(path))


def _aside(direction: Direction, incomplete: bool) -> Float[Tensor, " d_model"] | None:
    try:
        return aside(direction)
    except AlignmentError:
        if incomplete:
            return None
        raise


def _check_count(n_rows: int, name: str, shape: ModelShape) -> None:
    if n_rows == shape.n_layers + 1:
        return
    advice = "Name the model that the file was made with."
    if n_rows == shape.n_layers:
        advice = (
            'Without an embedding row it may be "assistant-axis" (row i is the output of block i): try that format.'
        )
    raise AlignmentError(
        f"{name} has {n_rows} rows; {shape.name} has {shape.n_layers} layers, so a {FORMAT} file has"
        f" {shape.n_layers + 1} (row L is hidden_states[L]).",
        advice,
    )


def _no_row(direction: Direction, n_layers: int) -> AlignmentError:
    return AlignmentError(
        f"a {FORMAT} file has no row for {direction.trait} at the output of the last block ({n_layers - 1}).",
        "Its last row is the hidden state after the final norm.",
        "Leave that vector out with incomplete=True (--incomplete), or put it there all the same with"
        ' last_row="residual" (--last-row residual).',
    )


def _missing(direction: Direction, missing: list[int], n_layers: int) -> AlignmentError:
    named = ", ".join(str(index) for index in missing[:6]) + (", …" if len(missing) > 6 else "")
    return AlignmentError(
        f"{direction.trait} has no vector for row {named} of a {FORMAT} file.",
        f"Row 0 is the embedding output (resid_pre of block 0), row {n_layers} the hidden state after the final norm.",
        "Write zeros there with incomplete=True (--incomplete).",
    )
