"""What a name stands for: a folder or a repository of the hub with a model, and the adapters merged into it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import Repr

from persona_interp.errors import ModelError
from persona_interp.hub import ask_hub, quiet_hub
from persona_interp.models.conversion import gguf_folder
from persona_interp.models.file_hashes import files_in, hash_of_files, tokenizer_files, weight_files
from persona_interp.models.packaged import PACKAGED_MODELS, packaged_folder, packaged_name

ADAPTER_CONFIG, ADAPTER_WEIGHTS, _PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
EXPECTED = (
    f"Give a hub id, a folder with config.json and safetensors, a .gguf file, or one of {', '.join(PACKAGED_MODELS)}."
)


_names = Repr()
_names.maxstring = 300
quoted = _names.repr
"""A name in quotation marks, its middle left out where it is longer than a path should be."""


@dataclass(frozen=True)
class Adapter:
    """A folder that PEFT saved, and what the user calls it."""

    folder: Path
    label: str

    def files(self) -> dict[str, Path]:
        """Its files that decide what is computed, by name; a tokenizer that was saved beside it takes the base's place.

        Raises:
            ModelError: it is not whole.
        """
        weights = [ADAPTER_CONFIG, ADAPTER_WEIGHTS]
        missing = [name for name in weights if not (self.folder / name).is_file()]
        if missing:
            raise ModelError(
                f"{self.label} holds no adapter: {missing[0]} is not there.", _where_it_may_be(self.folder, missing[0])
            )
        return {name: self.folder / name for name in weights} | tokenizer_files(self.folder)


@dataclass(frozen=True)
class Source:
    """Where a model is loaded from.

    Args:
        name: what the user calls the model without adapters.
        place: a folder, or a repository of the hub.
        adapters: merged one after the other.
        local_only: whether the hub is not to be asked.
    """

    name: str
    place: str
    adapters: tuple[Adapter, ...] = ()
    revision: str | None = None
    local_only: bool = True

    @property
    def label(self) -> str:
        """`name + adapter`, which is what the loaded model is called."""
        return " + ".join([self.name, *(adapter.label for adapter in self.adapters)])

    def adapter_files(self) -> dict[str, Path]:
        """The files of all adapters, by name."""
        named = {"adapter" if i == 0 else f"adapter{i + 1}": adapter for i, adapter in enumerate(self.adapters)}
        return {f"{key}/{name}": path for key, adapter in named.items() for name, path in adapter.files().items()}


def find_source(name: str | Path, adapter: str | Path | None = None, revision: str | None = None) -> Source:
    """Where a model is: the name of an adapter stands for its base with the adapter merged into it.

    Raises:
        ModelError: nothing has that name, or an adapter is not whole or does not say what its base is.
    """
    found = _resolved(str(name), revision, ())
    if adapter is not None:
        given = Adapter(_adapter_folder(str(adapter)), str(adapter))
        given.files()
        found = replace(found, adapters=(*found.adapters, given))
    return found


def local_files_hash(name: str | Path) -> str | None:
    """Hash of the bytes that a packaged model, a folder or a GGUF file is loaded from; None of a hub id.

    Raises:
        ModelError: the packaged model, the GGUF file or the index of a folder's weights cannot be read.
    """
    local = str(name) in PACKAGED_MODELS or str(name).endswith(".gguf") or _is_dir(_path(str(name)))
    if not local:
        return None
    source = find_source(name)
    base = files_in(Path(source.place)) if Path(source.place).is_dir() else {}
    return hash_of_files(base | source.adapter_files())


def _resolved(name: str, revision: str | None, seen: tuple[Path, ...]) -> Source:
    source, folder = _place(name, revision)
    if folder is None:
        return source
    adapter = Adapter(folder, name)
    adapter.files()
    if (folder / "config.json").is_file() and weight_files(folder):
        return replace(source, adapters=(adapter,))  # a whole model with an adapter beside it
    base, revision = _base_of(adapter)
    if folder in seen:
        raise ModelError(f"the adapter {name} names itself as the model it was trained on.", "Give that model's name.")
    try:
        inner = _resolved(base, revision, (*seen, folder))
    except ModelError as error:
        raise ModelError(
            f"the adapter in {name} was trained on {quoted(base)}, which cannot be loaded:",
            str(error).splitlines()[0][:400],
            "Give the model's name or folder, and this folder as its adapter.",
        ) from error
    return replace(inner, adapters=(*inner.adapters, adapter))


def _place(name: str, revision: str | None) -> tuple[Source, Path | None]:
    """Where a name leads, and the folder of the adapter where it is one."""
    if name in PACKAGED_MODELS:
        return Source(name, str(packaged_folder(PACKAGED_MODELS[name]))), None
    path = _path(name)
    if name.endswith(".gguf"):
        return Source(name, str(gguf_folder(path))), None
    if _is_dir(path):
        return Source(name, str(path)), path if (path / ADAPTER_CONFIG).is_file() else None
    if _exists(path):
        raise ModelError(f"cannot load {quoted(name)}: it is a file, and no GGUF file by its name.", EXPECTED)
    answer = ask_hub(name, "model", revision)
    if answer.problem is not None:
        raise ModelError(f"cannot load {quoted(name)}: {answer.problem}.", EXPECTED)
    source = Source(name, name, revision=revision, local_only=not answer.reached)
    is_adapter = ADAPTER_CONFIG in answer.files and "config.json" not in answer.files
    return source, _downloaded(name, revision, source.local_only) if is_adapter else None


def _adapter_folder(name: str) -> Path:
    """The folder of an adapter, downloaded where it is on the hub."""
    path = _path(name)
    if _is_dir(path) or _exists(path) or name.count("/") != 1 or name[0] in "./~":
        return path
    answer = ask_hub(name)
    if answer.problem is not None:
        raise ModelError(f"cannot load the adapter {quoted(name)}: {answer.problem}.", "Give the folder PEFT saved.")
    return _downloaded(name, None, local_only=not answer.reached)


def _downloaded(name: str, revision: str | None, local_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [ADAPTER_CONFIG, ADAPTER_WEIGHTS, "tokenizer*", "special_tokens_map.json", "added_tokens.json"]
    wanted += ["chat_template.jinja", "vocab.json", "merges.txt"]
    try:
        with quiet_hub():
            found = snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=local_only)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot download the adapter {name}: {str(error)[:200]}", "Try again.") from error
    return Path(found)


def _base_of(adapter: Adapter) -> tuple[str, str | None]:
    """The name of the model that an adapter was trained on, and its revision."""
    path = adapter.folder / ADAPTER_CONFIG
    try:
        settings = json.loads(path.read_bytes())
        base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: it is damaged.", "Save the adapter again.") from error
    if not isinstance(base, str) or not base or not isinstance(revision, str | None):
        raise ModelError(
            f"the adapter in {adapter.label} does not say which model it was trained on.",
            "Give the model's name or folder, and this folder as its adapter.",
        )
    return packaged_name(Path(base)) or base, revision


def _where_it_may_be(folder: Path, missing: str) -> str:
    if missing == ADAPTER_WEIGHTS and (folder / _PICKLED).is_file():
        return f"{_PICKLED} is a pickle, which can run code when it is read. Save it with PEFT as safetensors."
    below = sorted(path.parent.name for path in folder.glob(f"*/{ADAPTER_CONFIG}")) if _is_dir(folder) else []
    if missing == ADAPTER_CONFIG and below:
        return f"Folders in it hold adapters; give one of them: {', '.join(below[:8])}."
    return "Give the folder that PEFT saved."


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # the home of nobody
        return Path(name)


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long, or has a zero in it
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except (OSError, ValueError):
        return False
