"""`persona-interp convert`: directions between our files and other tools'."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from persona_interp.errors import ConfigError
from persona_interp.studies import options
from persona_interp.studies.options import Outcome

if TYPE_CHECKING:
    from persona_interp.directions.direction import Direction
    from persona_interp.directions.formats import ModelShape
    from persona_interp.models.protocol import HookedModel

NATIVE = "native"
NUMBERED = ("gguf", "easysteer")
Format = Literal["native", "persona-vectors", "assistant-axis", "gguf", "steering-vectors", "easysteer"]


def convert(
    source: Annotated[Path, typer.Argument(help="The file to read.")],
    dest: Annotated[Path, typer.Argument(help="The file to write.")],
    source_format: Annotated[Format, typer.Option("--from", help="Of the file to read.")],
    dest_format: Annotated[Format, typer.Option("--to", help="Of the file to write.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The model it belongs to; or its shape below.")] = "",
    model_name: Annotated[str, typer.Option(help="Name of the model, instead of loading it.")] = "",
    n_layers: Annotated[int, typer.Option(help="Its number of layers, with --model-name.", min=0)] = 0,
    width: Annotated[int, typer.Option(help="Its d_model, with --model-name.", min=0)] = 0,
    trait: Annotated[str, typer.Option(help="Name of the trait, where the file does not say it.")] = "",
    convention: Annotated[
        Literal["block_output", "hidden_state"] | None, typer.Option(help="What a GGUF's numbers count.")
    ] = None,
    drop_layer_0: Annotated[bool, typer.Option(help="Leave out what llama.cpp has no slot for.")] = False,
    incomplete: Annotated[bool, typer.Option(help="Zeros in rows of persona-vectors that have no vector.")] = False,
    last_row: Annotated[
        Literal["normed", "residual"] | None, typer.Option(help="What the last row of persona-vectors is.")
    ] = None,
) -> Outcome:
    """A direction as another tool's file, or another tool's file as a direction; layers checked against the model."""
    from persona_interp.directions.formats import load_foreign, save_foreign

    options.existing(source, "SOURCE")
    _check_files(source, dest, source_format, dest_format)
    _refuse_idle(
        source_format,
        dest_format,
        {
            "--convention": bool(convention),
            "--drop-layer-0": drop_layer_0,
            "--incomplete": incomplete,
            "--last-row": bool(last_row),
            "--trait": bool(trait),
            "--model-name, --n-layers and --width": bool(model_name or n_layers or width),
        },
    )
    numbered_source = source_format in NUMBERED
    if source_format == NATIVE:
        direction = _load_native(source, model)
    else:
        direction = load_foreign(
            source,
            source_format,
            _owner(model, model_name, n_layers, width),
            trait=trait or None,
            convention=convention if numbered_source else None,
            last_row=last_row or "normed",
        )
    if dest_format == NATIVE:
        direction.save(dest)
    else:
        save_foreign(
            direction,
            dest,
            dest_format,
            convention=None if numbered_source else convention,
            drop_layer_0=drop_layer_0,
            incomplete=incomplete,
            last_row=last_row,
        )
    left_out = ", layer 0 left out" if drop_layer_0 else ""
    data = {"file": dest, "trait": direction.trait, "model": direction.provenance.model}
    return Outcome(
        [f"{dest}: from {_described(direction)}{left_out}"], {**data, "n_vectors": len(direction.hookpoints)}
    )


def _check_files(source: Path, dest: Path, source_format: str, dest_format: str) -> None:
    """Refuse files that cannot be of their format or are in each other's way."""
    shared = _files(source, source_format) & _files(dest, dest_format)
    if shared:
        raise ConfigError(
            f"{min(shared)} would be read and written at once.",
            "A native direction is NAME.safetensors with NAME.json, an easysteer file NAME.json with NAME.gguf.",
            "Name another file to write.",
        )
    if dest_format == NATIVE and dest.suffix != ".safetensors":
        raise ConfigError(f"a native direction must be a .safetensors file, got {dest.name}.")


def _refuse_idle(source_format: str, dest_format: str, given: Mapping[str, bool]) -> None:
    """Refuse options that would do nothing between these formats."""
    rows = "persona-vectors"
    uses = {
        "--convention": ("is for GGUF files", source_format in NUMBERED or dest_format == "gguf"),
        "--drop-layer-0": ("is for writing gguf and easysteer files", dest_format in NUMBERED),
        "--incomplete": (f"is for writing {rows} files", dest_format == rows),
        "--last-row": (f"is for {rows} files", rows in (source_format, dest_format)),
        "--trait": ("is for files that do not name their trait", source_format not in (NATIVE, "assistant-axis")),
        "--model-name, --n-layers and --width": ("are for files that do not name their model", source_format != NATIVE),
    }
    for option, (use, applies) in uses.items():
        if given[option] and not applies:
            raise ConfigError(f"{option} {use}; {source_format} to {dest_format} has no use for it.", "Leave it out.")


def _files(path: Path, name: str) -> set[Path]:
    """The file and what lies beside it."""
    beside = {NATIVE: (".json",), "easysteer": (".gguf",)}.get(name, ())
    real = Path(os.path.realpath(path))
    return {real, *(real.with_suffix(suffix) for suffix in beside)}


def _owner(model: str, model_name: str, layers: int, width: int) -> "HookedModel | ModelShape":
    """The model itself, or what is known of it."""
    from persona_interp.directions.formats import ModelShape

    if model and (model_name or layers or width):
        raise ConfigError("--model loads the model; --model-name, --n-layers and --width stand in for it.", "Give one.")
    if model:
        from persona_interp.models.load import load_model

        return load_model(model)
    if not (model_name and layers and width):
        raise ConfigError(
            "the file must be checked against the model that it belongs to, and none was named.",
            "Give --model MODEL, or without loading it --model-name NAME --n-layers N --width D (then the direction"
            " stays unbound, and is refused for steering until rebind_direction).",
        )
    return ModelShape(model_name, layers, width)


def _load_native(source: Path, model: str) -> "Direction":
    """A direction of ours, checked against the model where one is named."""
    from persona_interp.directions.direction import Direction

    direction = Direction.load(source)
    if model:
        from persona_interp.directions.direction import check_direction
        from persona_interp.models.load import load_model

        check_direction(direction, load_model(model))
    return direction


def _described(direction: "Direction") -> str:
    from persona_interp.directions.formats.shape import UNBOUND

    owner = direction.provenance
    bound = "unbound: rebind_direction before steering" if owner.weights == UNBOUND else f"weights {owner.weights}"
    places = f"{direction.hookpoints[0]} to {direction.hookpoints[-1]}"
    return f"{direction.trait}, {len(direction.hookpoints)} vectors, {places}, of {owner.model} ({bound})"
