"""The `.pt` files of the assistant-axis code: `[n_layers, d_model]`, row i the output of block i.

An axis is a bare tensor or `{"axis": tensor, "metadata": ...}`, and points toward the default Assistant. A role vector
is `{"vector": tensor, "type": text, "role": text}`: the mean activation under that role, not a difference.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.directions.formats.shape import (
    ModelShape,
    check_outputs,
    check_pole,
    checked_rows,
    imported_provenance,
    outputs,
    shape_of,
)
from persona_interp.directions.formats.torch_file import load_torch_file, save_torch_file
from persona_interp.errors import AlignmentError, ArtefactError, ConfigError
from persona_interp.models.protocol import HookedModel
from persona_interp.texts import clean_text, path_part

FORMAT = "assistant-axis"
ASSISTANT = "assistant"
Layout = Literal["axis", "bare", "role"]


def load_assistant_axis(path: str | Path, model: HookedModel | ModelShape) -> Direction:
    """The axis or role vector in a file, at the outputs of all blocks.

    An axis has trait and positive pole "assistant": more projection is more of the default Assistant. A role vector
    has its role for both.

    Raises:
        ArtefactError: not a plain tensor file, or other keys.
        AlignmentError: the number of rows is not n_layers.
        IncompatibleDirectionError: another width.
    """
    path, shape = Path(path), shape_of(model)
    content, digest = load_torch_file(path)
    tensor, layout, trait, said = _unpack(content, path.name)
    rows = checked_rows(tensor, path.name, shape, axes=("n_layers", "d_model"))
    _check_count(len(rows), path.name, shape)
    provenance = imported_provenance(
        shape,
        FORMAT,
        source=path.name,
        source_sha256=digest,
        source_dtype=str(tensor.dtype).removeprefix("torch."),
        layout=layout,
        **said,
    )
    method = f"{provenance.method} (role mean)" if layout == "role" else provenance.method
    return Direction(rows, outputs(range(shape.n_layers)), trait, method, trait, provenance)


def save_assistant_axis(direction: Direction, path: str | Path, *, layout: Layout | None = None) -> None:
    """Write an axis, bare or with its metadata, or a role vector.

    Args:
        layout: default: that of the file that it came from, else `axis`.

    Raises:
        AlignmentError: the direction lacks a block, lies elsewhere, or an axis does not point toward the Assistant.
        ConfigError: there is no such layout.
    """
    details = direction.provenance.details
    layout = layout or details.get("layout") or "axis"
    if layout not in get_args(Layout):
        raise ConfigError(f"no layout is called {layout!r}.", f"Layouts: {', '.join(get_args(Layout))}.")
    rows = _all_rows(direction)
    if layout == "role":
        check_pole(direction, FORMAT)
        save_torch_file({"vector": rows, "type": details.get("type", "mean"), "role": direction.trait}, Path(path))
        return
    if direction.positive_pole != ASSISTANT:
        raise AlignmentError(
            f"an {FORMAT} file points toward the default Assistant, and {direction.trait} points toward"
            f" {direction.positive_pole!r}.",
            'Give layout="role" to write it under its own name, or choose another format.',
        )
    metadata = details.get("metadata", {"model": direction.provenance.model, "method": direction.method})
    save_torch_file(rows if layout == "bare" else {"axis": rows, "metadata": metadata}, Path(path))


def _unpack(content: Any, name: str) -> tuple[Any, Layout, str, dict[str, Any]]:
    """The tensor, which layout it came in, the trait, and what else the file says."""
    if isinstance(content, Tensor):
        return content, "bare", ASSISTANT, {}
    keys = sorted(map(str, content)) if isinstance(content, dict) else []
    if isinstance(content, dict) and "axis" in content and set(content) <= {"axis", "metadata"}:
        return content["axis"], "axis", ASSISTANT, {"metadata": _plain(content.get("metadata", {}), name)}
    if isinstance(content, dict) and set(content) == {"vector", "type", "role"}:
        if not isinstance(content["role"], str) or not isinstance(content["type"], str):
            raise ArtefactError(f"{name} has a role or a type that is no text.")
        kind = clean_text(content["type"], f"the type in {name}", longest=1000, error=ArtefactError)
        return content["vector"], "role", path_part(content["role"], f"role in {name[:80]}"), {"type": kind}
    raise ArtefactError(
        f"{name} holds {'the keys ' + ', '.join(keys[:6]) if keys else type(content).__name__}.",
        f"An {FORMAT} file is a tensor, or has the keys axis and metadata, or vector, type and role.",
    )


def _plain(metadata: Any, name: str) -> Any:
    """The metadata, which must survive JSON to be saved with the direction."""
    try:
        same = json.loads(json.dumps(metadata)) == metadata
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise ArtefactError(
            f"the metadata of {name} holds more than texts, numbers and lists.",
            "Save the axis alone, or with plain metadata.",
        )
    return metadata


def _all_rows(direction: Direction) -> Float[Tensor, "layer d_model"]:
    layers = check_outputs(direction, FORMAT)
    missing = sorted(set(range(direction.provenance.n_layers)) - set(layers))
    if missing:
        raise AlignmentError(
            f"{direction.trait} has no vector for the output of block {missing[0]}.",
            f"An {FORMAT} file has a row for each of the {direction.provenance.n_layers} blocks.",
        )
    return torch.stack([direction.at(layer) for layer in range(direction.provenance.n_layers)])


def _check_count(n_rows: int, name: str, shape: ModelShape) -> None:
    if n_rows == shape.n_layers:
        return
    advice = "Name the model that the file was made with."
    if n_rows == shape.n_layers + 1:
        advice = 'With one row more it may be "persona-vectors" (row L is hidden_states[L]): try that format.'
    raise AlignmentError(
        f"{name} has {n_rows} rows; {shape.name} has {shape.n_layers} layers, so an {FORMAT} file has"
        f" {shape.n_layers} (row i is the output of block i).",
        advice,
    )
