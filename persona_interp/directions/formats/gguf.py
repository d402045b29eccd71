"""GGUF control vectors: F32 tensors `direction.N`, as llama.cpp and repeng read them.

What N counts differs between writers, so it is never guessed:

- `block_output`: direction.N is added to the output of the 0-based block N. llama.cpp's loader does this, and repeng
  writes it (it reads `hidden_states[N + 1]`).
- `hidden_state`: direction.N was read at `hidden_states[N]`, the output of block N-1. llama.cpp's own cvector-generator
  numbers so, as do scripts that copy rows of persona_vectors files.

llama.cpp has no slot for a vector at block 0: it refuses a file with `direction.0`, so none is written. Besides the
keys of the format, a file of ours names its numbering, trait and pole under `persona_interp.*`, for its own reader.
"""

import re
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.directions.direction import Direction
from persona_interp.directions.formats.hidden_states import aside, hidden_state_index, hookpoint_of, with_aside
from persona_interp.directions.formats.shape import (
    ModelShape,
    check_layers,
    check_outputs,
    checked_vector,
    imported_provenance,
    need_trait,
    shape_of,
)
from persona_interp.errors import AlignmentError, ArtefactError, ConfigError
from persona_interp.files import MIB, read_bytes
from persona_interp.gguf_header import check_gguf
from persona_interp.io import atomic_write_bytes, sha256_bytes
from persona_interp.models.protocol import HookedModel
from persona_interp.texts import clean_text
from persona_interp.types import Hookpoint

FORMAT = "gguf"
ARCHITECTURE = "controlvector"
Convention = Literal["block_output", "hidden_state"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
MOST_BYTES = 1024 * MIB
"""Of a file: the vectors of the largest models fill a few."""
_TENSOR = re.compile(r"direction\.(0|[1-9][0-9]{0,5})")
_MEANINGS = (
    "block_output: direction.N is added to the output of block N (llama.cpp's loader, repeng).",
    "hidden_state: direction.N was read at hidden_states[N], the output of block N-1 (llama.cpp's cvector-generator).",
)


@dataclass(frozen=True, eq=False)
class _File:
    """The vectors by their number, and the texts among the keys."""

    vectors: dict[int, Float[Tensor, " d_model"]]
    texts: dict[str, str]
    digest: str


def load_gguf(
    path: str | Path, model: HookedModel | ModelShape, *, trait: str | None = None, convention: Convention | None = None
) -> Direction:
    """The direction in a control vector file.

    Args:
        trait: default: what the file says, where it is one of ours.
        convention: what N counts; may be left out for files of ours, which say it.

    Raises:
        ArtefactError: no whole control vector file, or tensors of another kind or name.
        ConfigError: the file does not say what N counts, and neither did the caller.
        AlignmentError: the numbers do not fit the convention, or the file names another.
        IncompatibleDirectionError: another width.
    """
    path, shape = Path(path), shape_of(model)
    file = _read(path, shape)
    numbers = sorted(file.vectors)
    convention = _convention(convention, file.texts.get("persona_interp.layer_convention"), numbers, path.name, shape)
    details = {"source": path.name, "source_sha256": file.digest, "numbering": convention}
    if hint := file.texts.get("controlvector.model_hint"):
        details["model_hint"] = clean_text(hint, f"the model hint in {path.name}", longest=1000, error=ArtefactError)
    name = need_trait(trait or file.texts.get("persona_interp.trait"), path)
    pole = clean_text(
        file.texts.get("persona_interp.positive_pole", name),
        f"the positive pole in {path.name}",
        longest=1000,
        error=ArtefactError,
    )
    provenance = imported_provenance(shape, FORMAT, **details)
    normed = None
    if convention == "hidden_state" and numbers[-1] == shape.n_layers:
        normed = file.vectors[numbers.pop()]
    if not numbers:
        raise ArtefactError(f"{path.name} holds only the hidden state after the final norm.", "No block has it.")
    places = [hookpoint_of(n) if convention == "hidden_state" else Hookpoint(n) for n in numbers]
    rows = torch.stack([file.vectors[n] for n in numbers])
    return with_aside(Direction(rows, tuple(places), name, provenance.method, pole, provenance), normed)


def save_gguf(
    direction: Direction,
    path: str | Path,
    *,
    convention: Convention = "block_output",
    drop_layer_0: bool = False,
    model_hint: str | None = None,
) -> None:
    """Write a control vector file.

    Args:
        convention: `block_output` is what llama.cpp and repeng apply.
        drop_layer_0: leave out the tensor numbered 0, with which llama.cpp refuses the whole file.
        model_hint: the architecture in llama.cpp's words ("llama"); default: that of its file, else the model's name.

    Raises:
        AlignmentError: a vector at number 0 that may not be dropped, or one elsewhere than at outputs of blocks.
    """
    if convention not in CONVENTIONS:
        raise ConfigError(f"no convention is called {convention!r}.", *_MEANINGS)
    numbered = _numbered(direction, convention)
    if 0 in numbered and not drop_layer_0:
        where = "the output of block 0" if convention == "block_output" else "the embedding output"
        raise AlignmentError(
            f"{direction.trait} has a vector at {where}, which would be direction.0 of a GGUF control vector.",
            "llama.cpp has no slot for layer 0 and refuses a file with direction.0.",
            "Leave that vector out: drop_layer_0=True (--drop-layer-0). The others are written as they are.",
        )
    numbered.pop(0, None)
    if not numbered:
        raise AlignmentError(f"{direction.trait} has no vector that a GGUF control vector can hold.")
    hint = model_hint or direction.provenance.details.get("model_hint") or direction.provenance.model
    texts = {
        "controlvector.model_hint": hint,
        "persona_interp.layer_convention": convention,
        "persona_interp.trait": direction.trait,
        "persona_interp.positive_pole": direction.positive_pole,
    }
    atomic_write_bytes(Path(path), _as_bytes(numbered, texts))


def _numbered(direction: Direction, convention: Convention) -> dict[int, Float[Tensor, " d_model"]]:
    if convention == "block_output":
        return dict(zip(check_outputs(direction, FORMAT), direction.vectors, strict=True))
    indices = [hidden_state_index(hookpoint, direction.trait) for hookpoint in direction.hookpoints]
    numbered = dict(zip(indices, direction.vectors, strict=True))
    normed = aside(direction)
    return numbered if normed is None else numbered | {direction.provenance.n_layers: normed}


def _convention(
    asked: Convention | None, said: str | None, numbers: list[int], name: str, shape: ModelShape
) -> Convention:
    """The convention that the caller or the file names, checked against the other and against the numbers."""
    for one in (asked, said):
        if one is not None and one not in CONVENTIONS:
            raise ConfigError(f"no convention is called {one!r}.", *_MEANINGS)
    if asked and said and asked != said:
        raise AlignmentError(
            f"{name} says that its layers are numbered as {said}, got convention={asked}.",
            f"Leave the convention out, or name {said}.",
        )
    if numbers[-1] == shape.n_layers and (asked or said) != "hidden_state":
        raise AlignmentError(
            f"{name} has direction.{numbers[-1]}; the blocks of {shape.name} run 0..{shape.n_layers - 1},"
            " so its numbers cannot be block outputs.",
            _MEANINGS[1],
            'If that is what they are, say convention="hidden_state"; otherwise it belongs to another model.',
        )
    if numbers[-1] != shape.n_layers:
        check_layers(numbers, name, shape)
    convention = asked or said
    if convention is None:
        raise ConfigError(
            f"{name} does not say what its layer numbers count ({numbers[0]}..{numbers[-1]},"
            f" {shape.name} has {shape.n_layers} layers, and both ways fit).",
            *_MEANINGS,
            "Ask whoever wrote the file, then name it: convention=... (--convention).",
        )
    return convention  # pyright: ignore (one of the two was checked above)


def _read(path: Path, shape: ModelShape) -> _File:
    from gguf import GGUFReader

    data = read_bytes(path, most=MOST_BYTES)
    check_gguf(path, most_entries=1000)
    try:
        with np.errstate(all="ignore"):
            reader = GGUFReader(path)
            texts = {key: _text(field) for key, field in reader.fields.items() if _is_text(field)}
            tensors = list(reader.tensors)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError, OSError, struct.error) as error:
        raise ArtefactError(
            f"{path.name} is not a whole GGUF file: {error or type(error).__name__}.",
            "It may be truncated. Restore it or make it again.",
        ) from error
    if texts.get("general.architecture") != ARCHITECTURE:
        raise ArtefactError(
            f"{path.name} has the architecture {texts.get('general.architecture')!r}.",
            f"A control vector has {ARCHITECTURE!r}; a model's weights are no direction.",
        )
    vectors = {_number(tensor, path.name): _vector(tensor, path.name, shape) for tensor in tensors}
    if not vectors:
        raise ArtefactError(f"{path.name} holds no vectors.", "Expected tensors direction.1, direction.2, ….")
    return _File(vectors, texts, sha256_bytes(data))


def _is_text(field: Any) -> bool:
    from gguf import GGUFValueType

    return field.types == [GGUFValueType.STRING]


def _text(field: Any) -> str:
    return bytes(field.parts[field.data[0]]).decode("utf-8")


def _number(tensor: Any, name: str) -> int:
    found = _TENSOR.fullmatch(tensor.name)
    if found is None:
        raise ArtefactError(
            f"{name} has a tensor called {tensor.name[:40]!r}.", "Expected direction.1, direction.2, …."
        )
    return int(found[1])


def _vector(tensor: Any, name: str, shape: ModelShape) -> Float[Tensor, " d_model"]:
    if tensor.tensor_type.name != "F32" or len(tensor.shape) != 1:
        raise ArtefactError(
            f"{tensor.name} of {name} is {tensor.tensor_type.name} with {len(tensor.shape)} axes.",
            "A control vector holds F32 tensors with one axis; llama.cpp refuses others too.",
        )
    # A copy in the machine's own byte order: the reader maps the file, which may be big-endian.
    return checked_vector(torch.from_numpy(np.array(tensor.data, dtype=np.float32)), f"{tensor.name} of {name}", shape)


def _as_bytes(vectors: dict[int, Float[Tensor, " d_model"]], texts: dict[str, str]) -> bytes:
    from gguf import GGUFWriter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vector.gguf"
        writer = GGUFWriter(path, ARCHITECTURE)
        for key, text in texts.items():
            writer.add_string(key, text)
        writer.add_uint32("controlvector.layer_count", len(vectors))
        for number in sorted(vectors):
            writer.add_tensor(f"direction.{number}", vectors[number].numpy().astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()
