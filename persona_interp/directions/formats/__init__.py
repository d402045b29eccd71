"""Directions in other tools' files, one file a format; the layer convention of each is checked against the model."""

from pathlib import Path
from typing import Literal, get_args

from persona_interp.arguments import checked
from persona_interp.directions.direction import Direction
from persona_interp.directions.formats.assistant_axis import load_assistant_axis, save_assistant_axis
from persona_interp.directions.formats.easysteer import load_easysteer, save_easysteer
from persona_interp.directions.formats.gguf import Convention, load_gguf, save_gguf
from persona_interp.directions.formats.hidden_states import LastRow
from persona_interp.directions.formats.persona_vectors import load_persona_vectors, save_persona_vectors
from persona_interp.directions.formats.shape import ModelShape
from persona_interp.directions.formats.steering_vectors import load_steering_vectors, save_steering_vectors
from persona_interp.errors import ConfigError
from persona_interp.models.protocol import HookedModel

__all__ = [
    "FOREIGN_FORMATS",
    "Convention",
    "ForeignFormat",
    "LastRow",
    "ModelShape",
    "load_assistant_axis",
    "load_easysteer",
    "load_foreign",
    "load_gguf",
    "load_persona_vectors",
    "load_steering_vectors",
    "save_assistant_axis",
    "save_easysteer",
    "save_foreign",
    "save_gguf",
    "save_persona_vectors",
    "save_steering_vectors",
]

ForeignFormat = Literal["persona-vectors", "assistant-axis", "gguf", "steering-vectors", "easysteer"]
FOREIGN_FORMATS: tuple[ForeignFormat, ...] = get_args(ForeignFormat)


@checked
def load_foreign(
    path: str | Path,
    format: ForeignFormat,
    model: HookedModel | ModelShape,
    *,
    trait: str | None = None,
    convention: Convention | None = None,
    last_row: LastRow = "normed",
) -> Direction:
    """The direction in another tool's file, in raw norm, with its source's SHA-256 in the provenance.

    It carries no residual norms: steer with `Add(..., units="direction")`. Loaded with a model it belongs to that
    model's weights; loaded with a `ModelShape` alone it is unbound until `rebind_direction`.

    Args:
        convention: what the layer numbers of a GGUF count; the other formats have one convention each.
        last_row: for persona-vectors, see `load_persona_vectors`.

    Raises:
        ArtefactError: the file is damaged, or holds more than tensors.
        AlignmentError: its rows or layers do not fit the model under the format's convention.
        IncompatibleDirectionError: another width.
        ConfigError: no such format, or what must be named was not.
    """
    _check_convention(format, convention, ("gguf", "easysteer"))
    match format:
        case "persona-vectors":
            return load_persona_vectors(path, model, trait=trait, last_row=last_row)
        case "assistant-axis":
            return load_assistant_axis(path, model)
        case "gguf":
            return load_gguf(path, model, trait=trait, convention=convention)
        case "steering-vectors":
            return load_steering_vectors(path, model, trait=trait)
        case "easysteer":
            return load_easysteer(path, model, trait=trait, convention=convention)
        case _:
            raise _unknown(format)


@checked
def save_foreign(
    direction: Direction,
    path: str | Path,
    format: ForeignFormat,
    *,
    convention: Convention | None = None,
    drop_layer_0: bool = False,
    incomplete: bool = False,
    last_row: LastRow | None = None,
) -> None:
    """Write a direction as another tool's file.

    Args:
        convention: how a GGUF numbers its layers; default `block_output`, which llama.cpp and repeng apply.
        drop_layer_0: for gguf and easysteer, see `save_gguf`.
        incomplete, last_row: for persona-vectors, see `save_persona_vectors`.

    Raises:
        AlignmentError: the format cannot hold the direction; says what to leave out.
        ConfigError: no such format.
    """
    _check_convention(format, convention, ("gguf",))
    match format:
        case "persona-vectors":
            save_persona_vectors(direction, path, incomplete=incomplete, last_row=last_row)
        case "assistant-axis":
            save_assistant_axis(direction, path)
        case "gguf":
            save_gguf(direction, path, convention=convention or "block_output", drop_layer_0=drop_layer_0)
        case "steering-vectors":
            save_steering_vectors(direction, path)
        case "easysteer":
            save_easysteer(direction, path, drop_layer_0=drop_layer_0)
        case _:
            raise _unknown(format)


def _check_convention(format: str, convention: str | None, named: tuple[str, ...]) -> None:
    if convention is not None and format not in named:
        raise ConfigError(
            f"the layers of a {format} file are numbered in one way only, got {convention!r}.",
            "Leave the convention out.",
        )


def _unknown(format: str) -> ConfigError:
    return ConfigError(f"no format is called {format!r}.", f"Formats: {', '.join(FOREIGN_FORMATS)}.")
