"""One process at a time in a folder: the second is refused, a dead one's lock is taken over."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from persona_interp.errors import ConfigError
from persona_interp.io import TEMPORARY, atomic_write_bytes, remove_partial_writes
from persona_interp.lock import NAME, STALE_S, Holder, _clear, locked

HOLD = """
import sys, time
from pathlib import Path
from persona_interp.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    job = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert job.stdout is not None and job.stdout.readline() == "held\n"
    return job


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
