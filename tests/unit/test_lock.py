"""One process at a time in a folder: the second is refused, a dead one's lock is taken over."""

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Barrier, Event

import pytest

from persona_interp import lock
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.io import TEMPORARY, atomic_write_bytes, remove_partial_writes
from persona_interp.lock import NAME, STALE_S, Holder, _clear, locked, scratch_folder
from persona_interp.models.conversion import gguf_folder
from tests.unit.lock_holder import holder


def test_the_second_process_is_refused_and_a_killed_one_is_not_waited_for(tmp_path: Path) -> None:
    with holder(tmp_path) as job:
        with pytest.raises(ConfigError) as caught, locked(tmp_path):
            raise AssertionError("two processes in one folder")
        words = f"another process is at work in {tmp_path}: number {job.pid} on {socket.gethostname()}, since 20"
        assert str(caught.value).startswith(words)
        unfinished = tmp_path / f".a.csv.{job.pid}-x1_y{TEMPORARY}"
        unfinished.touch()
        remove_partial_writes(tmp_path)
        assert unfinished.exists(), "a living process is still writing it"
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        with locked(tmp_path):
            assert not unfinished.exists()
            assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
        assert not (tmp_path / NAME).exists()


def test_a_process_may_enter_a_folder_twice_and_leaves_no_empty_one(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with locked(folder), locked(folder):
        assert (folder / NAME).is_file()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), locked(folder):
        (folder / "kept").touch()
        _ = 1 / 0
    assert [path.name for path in folder.iterdir()] == ["kept"]


@pytest.mark.parametrize("name", ["link", "real/../real", "real/."])
def test_a_folder_with_two_names_is_one_folder(tmp_path: Path, name: str) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    with locked(real):
        before = (real / NAME).read_text()
        with locked(tmp_path / name):
            assert (real / NAME).read_text() == before
        assert (real / NAME).read_text() == before
    assert list(real.iterdir()) == []


def test_the_last_thread_to_leave_gives_the_folder_back(tmp_path: Path) -> None:
    folder, entered, left = tmp_path / "a", Event(), Event()

    def second() -> bool:
        with locked(folder):
            entered.set()
            assert left.wait(10)
            return (folder / NAME).is_file()

    with ThreadPoolExecutor() as pool:
        with locked(folder):
            job = pool.submit(second)
            assert entered.wait(10)
        left.set()
        assert job.result()
    assert list(tmp_path.iterdir()) == []


def test_threads_that_enter_at_once_take_one_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, taken, take = Barrier(4), [], lock._take

    def slow(path: Path, own: Holder) -> None:
        taken.append(own)
        time.sleep(0.1)
        take(path, own)

    def enter() -> Holder | None:
        together.wait(10)
        with locked(tmp_path):
            together.wait(10)
            return Holder.read(tmp_path / NAME)

    monkeypatch.setattr(lock, "_take", slow)
    with ThreadPoolExecutor(4) as pool:
        seen = [job.result() for job in [pool.submit(enter) for _ in range(4)]]
    assert seen == taken * 4
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_whole_when_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, link = [], os.link

    def watched(written: Path, path: Path) -> None:
        seen.append((path.exists(), Holder.read(written)))
        link(written, path)

    monkeypatch.setattr(os, "link", watched)
    with locked(tmp_path):
        assert seen == [(False, Holder.read(tmp_path / NAME))]
        assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_file_system_without_links_has_locks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    (tmp_path / NAME).write_text("half a lo")
    with locked(tmp_path):
        own = Holder.read(tmp_path / NAME)
        assert own is not None and own.pid == os.getpid()
        _clear(tmp_path / NAME, None, Holder("here", 2, 0.0, "rival"))
        assert Holder.read(tmp_path / NAME) == own, "it is put back"
    assert list(tmp_path.iterdir()) == []
    with holder(tmp_path) as job:
        with pytest.raises(ConfigError, match=f"number {job.pid}"), locked(tmp_path):
            pass
        os.kill(job.pid, signal.SIGKILL)


def test_a_lock_that_another_replaced_is_not_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that saw the lock while it was empty cleared it away and wrote its own."""
    rival, place = Holder("elsewhere", 1, time.time(), "new"), lock._place

    def replaced(written: Path, path: Path) -> None:
        place(written, path)
        path.write_text(json.dumps(asdict(rival)))

    monkeypatch.setattr(lock, "_place", replaced)
    with pytest.raises(ConfigError, match="number 1 on elsewhere"), locked(tmp_path):
        pass
    assert Holder.read(tmp_path / NAME) == rival


@pytest.mark.parametrize(("age", "free"), [(60.0, False), (STALE_S + 60, True)])
def test_another_machine_s_lock_counts_until_it_is_old(tmp_path: Path, age: float, free: bool) -> None:
    held = {"host": "elsewhere", "pid": 1, "since": time.time() - age, "token": "a"}
    (tmp_path / NAME).write_text(json.dumps(held))
    if free:
        with locked(tmp_path):
            pass
        return
    with pytest.raises(ConfigError, match="number 1 on elsewhere"), locked(tmp_path):
        pass
    assert json.loads((tmp_path / NAME).read_text()) == held


def test_an_earlier_process_with_our_own_number_holds_nothing(tmp_path: Path) -> None:
    left = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time() - 60, "token": "a"}
    (tmp_path / NAME).write_text(json.dumps(left))
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["token"] != "a"
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_another_s_by_now_is_left_alone(tmp_path: Path) -> None:
    """Two processes see one stale lock; the second must not clear what the first put in its place."""
    stale, rival = (Holder("elsewhere", 1, since, token) for since, token in ((0.0, "old"), (time.time(), "new")))
    (tmp_path / NAME).write_text(json.dumps(asdict(rival)))
    _clear(tmp_path / NAME, stale, Holder("here", 2, 0.0, "own"))
    assert Holder.read(tmp_path / NAME) == rival
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    with locked(tmp_path / "mine"):
        (tmp_path / "mine" / NAME).write_text(json.dumps(asdict(rival)))
    assert Holder.read(tmp_path / "mine" / NAME) == rival


def test_only_this_program_s_temporary_files_are_removed(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    ours = tmp_path / "tables" / f".a.csv.{int(gone.stdout)}-k2_j{TEMPORARY}"
    theirs = [tmp_path / name for name in (".notes.tmp", ".a.csv.tmp", "tables/.draft.tmp", f"tables/.mine{TEMPORARY}")]
    for path in (ours, *theirs):
        path.parent.mkdir(exist_ok=True)
        path.write_text("kept")
    remove_partial_writes(tmp_path)
    assert not ours.exists()
    assert all(path.read_text() == "kept" for path in theirs)
    atomic_write_bytes(tmp_path / "tables" / "a.csv", b"1")
    assert not list((tmp_path / "tables").glob(f".a.csv*{TEMPORARY}"))


SCRATCH = """
import sys, time
from pathlib import Path
from persona_interp.models import conversion
def convert(gguf, folder, name):
    (folder / "model.safetensors").write_bytes(bytes(10**6))
    print("converting", flush=True)
    time.sleep(60 if len(sys.argv) > 2 else 0)
    return {}
conversion._write_plain = convert
conversion.gguf_folder(Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_what_a_killed_conversion_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    gguf, models = tmp_path / "m.gguf", tmp_path / "cache" / "models"
    gguf.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PERSONA_INTERP_CACHE": str(tmp_path / "cache"),
    }

    def convert(*more: str) -> "subprocess.Popen[str]":
        code = [sys.executable, "-c", SCRATCH, str(gguf), *more]
        return subprocess.Popen(code, stdout=subprocess.PIPE, text=True, env=environment)

    with convert("wait") as killed, convert("wait") as living:
        for job in (killed, living):
            assert job.stdout is not None and job.stdout.readline() == "converting\n"
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert len(list(models.iterdir())) == 2
        name = next(models.iterdir()).name.split(".")[1]
        theirs = [models / f".{name}.draft", models / f".{name}.new{TEMPORARY}"]
        for path in theirs:
            path.mkdir()
        with convert() as last:
            assert last.wait() == 0
        left = {path for path in models.iterdir() if path.name.startswith(".")} - set(theirs)
        assert [Holder.read(path / NAME).pid for path in left] == [living.pid]  # pyright: ignore
        assert all(path.is_dir() for path in theirs), "nobody says that they were made by this program"
        os.kill(living.pid, signal.SIGKILL)
    assert (models / name / "model.safetensors").is_file()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(theirs[1], (long_ago, long_ago))
    with scratch_folder(models, name, "") as made:
        assert {path for path in models.iterdir() if path.name.startswith(".")} == {theirs[0], made}
    assert theirs[0].is_dir() and not made.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, gguf = tmp_path / "cache", tmp_path / "m.gguf"
    cache.write_text("a file")
    gguf.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    monkeypatch.setenv("PERSONA_INTERP_CACHE", str(cache))
    with pytest.raises(ArtefactError) as caught:
        gguf_folder(gguf)
    assert str(caught.value) == (
        f"could not write {cache / 'models'}: Not a directory.\n"
        "  Move the file that stands where a folder is needed away, or set PERSONA_INTERP_CACHE to another folder."
    )
