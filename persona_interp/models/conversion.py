"""A GGUF file, whole or in parts, as a folder that transformers loads: converted once, checked by hash on every use.

Values are kept in float32. What dequantised blocks stand for has more digits than float16 or bfloat16 hold (a value of
Q4_K is rounded once, to float32), so each of these would be another model than the file's, also when loaded as float32.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from persona_interp.errors import ArtefactError, ModelError, PersonaInterpError
from persona_interp.gguf_header import GGUFHeader, check_gguf
from persona_interp.io import read_record, sha256_file, write_advice, write_json
from persona_interp.lock import scratch_folder
from persona_interp.models.file_hashes import cache_folder, kept_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

CONVERSION_VERSION = 1
ELSEWHERE = "set PERSONA_INTERP_CACHE to another folder"
_WEIGHTS = "model.safetensors"
_SIZES = (".block_count", ".embedding_length", ".vocab_size", ".feed_forward_length", ".attention.head_count")
_WIDEST = 2**24
_DAMAGED = "The file may be truncated or damaged. Get it again."


def gguf_folder(path: Path) -> Path:
    """The converted folder of a user's GGUF file, kept in the cache under the file's hash.

    Raises:
        ModelError: the file is truncated, altered or of an architecture that transformers does not read.
    """
    if not path.is_file():
        raise ModelError(f"the GGUF file {path} does not exist.", "Give the path of one.")
    digest = kept_sha256(path)
    folder = cache_folder() / "models" / f"{path.stem[:80]}-{digest[:12]}"
    if folder.is_dir():
        check_folder(folder)
        return folder
    return convert([path], digest, path.name, folder, "Wait until nothing writes to it any more, and try again.")


def check_folder(folder: Path) -> None:
    """Refuse a converted folder that was altered or truncated since.

    Raises:
        ArtefactError: a file is missing or has another hash.
    """
    remedy = f"Delete the folder {folder}: the next load converts the model again."
    hashes = read_record(folder / "conversion.json", {"files": dict}, remedy=remedy)["files"]
    for name, digest in hashes.items():
        file = folder / name
        if not file.is_file() or kept_sha256(file) != digest:
            raise ArtefactError(
                f"{file} is missing or was altered after conversion.",
                remedy,
            )


def convert(parts: Sequence[Path], sha256: str, name: str, folder: Path, remedy: str) -> Path:
    """Convert in a temporary folder beside the final one and rename; what a killed conversion left goes first.

    Args:
        parts: that make up the file, in order.
        sha256: of the whole file.
        remedy: what to do where it is another file.

    Raises:
        ModelError: the file is not the expected one, or transformers does not read it.
        ArtefactError: the folder cannot be written.
    """
    logger.info("converting %s once to %s", name, folder)
    with scratch_folder(folder.parent, folder.name, ELSEWHERE) as scratch:
        gguf, made = scratch / "model.gguf", scratch / "converted"
        _in_one_file(parts, gguf)
        check_sha256(gguf, sha256, parts, remedy)
        made.mkdir()
        known = _write_plain(gguf, made, name)
        check_sha256(gguf, sha256, parts, remedy)  # it may be the user's own, which may have changed meanwhile
        files = {file.name: known.get(file.name) or sha256_file(file) for file in sorted(made.iterdir())}
        write_json(
            made / "conversion.json",
            {"source": name, "source_sha256": sha256, "version": CONVERSION_VERSION, "files": files},
        )
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder


def join(parts: Sequence[Path], target: Path) -> None:
    """Write the parts of a file one behind the other.

    Raises:
        ArtefactError: the target cannot be written.
    """
    try:
        with target.open("wb") as whole:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, whole, length=1 << 24)
    except OSError as error:
        raise unwritten(target.parent, error) from error


def check_sha256(gguf: Path, sha256: str, parts: Sequence[Path], remedy: str) -> None:
    """Refuse a file of other bytes than the expected ones.

    Args:
        parts: that it was made of, for the message.
        remedy: what to do.

    Raises:
        ModelError: it has another SHA-256.
    """
    found = kept_sha256(gguf)
    if found != sha256:
        names = [part.name for part in parts]
        shown = names if len(names) <= 4 else [names[0], "…", names[-1]]
        raise ModelError(
            f"{' + '.join(shown)} has SHA-256 {found[:12]}…, not {sha256[:12]}….",
            f"The file is truncated or altered. {remedy}",
        )


def check_space(folder: Path, n_bytes: int, what: str) -> None:
    """Refuse to begin what does not fit on the disk.

    Raises:
        ArtefactError: says how much is needed and how much is free.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise ArtefactError(
            f"could not write {folder}: {what} takes {n_bytes / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free.",
            f"Nothing was kept. Free space, or {ELSEWHERE}.",
        )


def unwritten(what: Path | str, error: OSError, kept: str = "Nothing was kept.") -> ArtefactError:
    """The error of something that was not written, and of which nothing is left."""
    return ArtefactError(
        f"could not write {what}: {error.strerror or error}.", f"{kept} {write_advice(error, ELSEWHERE)}"
    )


def _in_one_file(parts: Sequence[Path], target: Path) -> None:
    """The parts under one name, alone in its folder, where transformers finds no other settings than the file's own."""
    if len(parts) == 1:
        try:
            target.symlink_to(parts[0].resolve())
            return
        except OSError:  # a file system without links
            pass
    join(parts, target)


def _check_header(path: Path, name: str) -> GGUFHeader:
    """Refuse a GGUF file that claims more than it holds before a library believes it."""
    try:
        header = check_gguf(path)
    except ArtefactError as error:
        found = str(error).splitlines()[0].rpartition("GGUF file: ")[2]
        raise ModelError(f"cannot read the GGUF file {name}: {found}", _DAMAGED) from error
    for key, value in header.numbers.items():
        most = len(header.tensors) if key.endswith(".block_count") else _WIDEST
        if key.endswith(_SIZES) and not 1 <= value <= most:
            raise ModelError(f"cannot read the GGUF file {name}: it says {key} = {value}.", _DAMAGED)
    return header


def _write_plain(gguf: Path, folder: Path, name: str) -> dict[str, str]:
    """Dequantise a GGUF file to float32 safetensors with its tokenizer; returns the hashes of files that are known.

    Weights are written one by one. Those that transformers puts together of several tensors are loaded as a whole.
    """
    from persona_interp.models.gguf_weights import plan_weights, write_weights

    header = _check_header(gguf, name)
    try:
        model = _empty_model(gguf)
        planned = plan_weights(header, model)
        if planned is None:
            _load_whole(gguf, model, name)
        tokenizer = _tokenizer(gguf, model.config)
    except PersonaInterpError:
        raise
    except Exception as error:
        raise ModelError(
            f"transformers cannot read the GGUF file of {name}: {type(error).__name__}: {str(error)[:200]}",
            "The file may be truncated, or its architecture may not be supported.",
        ) from error
    try:
        tokenizer.save_pretrained(folder)
        if planned is None:
            model.save_pretrained(folder)
            return {}
        weights, layout = planned
        check_space(folder, sum(weight.n_bytes for weight in weights), f"{name} in float32")
        _write_settings(model, folder)
        return {_WEIGHTS: write_weights(gguf, weights, layout, folder / _WEIGHTS, name)}
    except OSError as error:
        raise unwritten(f"the converted {name} to {folder}", error) from error


def _empty_model(gguf: Path) -> "PreTrainedModel":
    """The model of a GGUF file's settings, without values."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def _load_whole(gguf: Path, model: "PreTrainedModel", name: str) -> None:
    """Give a model its values by transformers' own loader, which has all of them in memory."""
    import torch
    from transformers import AutoModelForCausalLM

    loaded, report = AutoModelForCausalLM.from_pretrained(  # pyright: ignore (a pair, with output_loading_info)
        gguf.parent, gguf_file=gguf.name, config=model.config, dtype=torch.float32, output_loading_info=True
    )
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"cannot read the GGUF file {name}: {len(missing)} weights are not in it, {missing[0]} first.", _DAMAGED
        )
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()


def _tokenizer(gguf: Path, config: "PreTrainedConfig") -> "PreTrainedTokenizerBase":
    """The tokenizer of a GGUF file, of the class that `AutoTokenizer` takes for a model's settings.

    It would read the settings of the file again to find it, which takes seconds for each hundred thousand tokens.
    """
    from transformers import TOKENIZER_MAPPING, PreTrainedTokenizerFast

    kind = TOKENIZER_MAPPING.get(type(config), PreTrainedTokenizerFast)
    return kind.from_pretrained(gguf.parent, gguf_file=gguf.name)  # pyright: ignore (a class, looked up lazily)


def _write_settings(model: "PreTrainedModel", folder: Path) -> None:
    """What `save_pretrained` writes beside the weights."""
    model.config.dtype = "float32"
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)  # pyright: ignore (there where it can generate)
