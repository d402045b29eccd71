"""One process at a time in a folder: the second is refused, a dead one's lock is taken over."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from persona_interp.directions.style_training import train_style_vectors
from persona_interp.errors import ConfigError
from persona_interp.finetuning.estimated_scores import generate_trait_texts
from persona_interp.finetuning.psychadapter import train_psychadapter
from persona_interp.finetuning.train import finetune
from persona_interp.io import TEMPORARY, atomic_write_bytes, remove_partial_writes
from persona_interp.lock import NAME, STALE_S, Holder, _clear, alone_in, locked, scratch_folder
from persona_interp.main_job.run import run_main_job
from persona_interp.measurements.inventory_run import InventoryTables
from persona_interp.measurements.psychadapter_expression import trait_texts_over_z
from persona_interp.measurements.psychadapter_run import measure_psychadapter
from persona_interp.measurements.style_run import run_styles
from persona_interp.measurements.style_steering import measure_styles
from persona_interp.rollouts.generate import answer
from persona_interp.screening.run import screen

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


SCRATCH = """
import sys, time
from pathlib import Path
from persona_interp.models import packaged
def convert(gguf, folder, name):
    (folder / "model.safetensors").write_bytes(bytes(10**6))
    print("converting", flush=True)
    time.sleep(60 if len(sys.argv) > 2 else 0)
packaged._write_plain = convert
packaged.gguf_folder(Path(sys.argv[1]))
"""


def test_what_a_killed_conversion_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    gguf, models = tmp_path / "m.gguf", tmp_path / "cache" / "models"
    gguf.write_bytes(b"GGUF")
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
    with scratch_folder(models, name) as made:
        assert {path for path in models.iterdir() if path.name.startswith(".")} == {theirs[0], made}
    assert theirs[0].is_dir() and not made.exists()


def test_a_function_locks_the_folder_it_is_given(tmp_path: Path) -> None:
    @alone_in("out")
    def write(text: str, out: Path | None = None) -> str:
        return text if out is None else f"{text} {(out / NAME).is_file()}"

    assert write("a") == "a" and write("a", tmp_path) == write("a", out=tmp_path) == "a True"
    with holder(tmp_path) as job:
        with pytest.raises(ConfigError, match=f"another process is at work in {tmp_path}: number {job.pid}"):
            write("a", tmp_path)
        os.kill(job.pid, signal.SIGKILL)


def calls(folder: Path) -> dict[str, Callable[[], object]]:
    """Every function that writes to a folder it is given, with nothing else that it could use."""
    none: Any = None
    return {
        "run_main_job": lambda: run_main_job(none, folder),
        "run_styles": lambda: run_styles(none, none, none, judges=[], coherence=none, folder=folder),
        "measure_styles": lambda: measure_styles(
            none, none, {}, activations=none, settings=none, judges=[], coherence=none, selection=[], prompts={},
            folder=folder,
        ),
        "train_style_vectors": lambda: train_style_vectors(none, none, layers=[0], folder=folder),
        "measure_psychadapter": lambda: measure_psychadapter(none, none, none, judges=[], out=folder),
        "trait_texts_over_z": lambda: trait_texts_over_z(none, none, folder=folder),
        "train_psychadapter": lambda: train_psychadapter(none, none, out=folder),
        "generate_trait_texts": lambda: generate_trait_texts(none, n_texts=4, judges=[], folder=folder),
        "finetune": lambda: finetune(none, none, out=folder),
        "screen": lambda: screen(none, "", [], out=folder),
        "answer": lambda: answer(none, none, sampling=none, folder=folder),
        "inventories": lambda: InventoryTables.write(none, folder, {}),
    }  # fmt: skip


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("taken")
    with holder(folder) as job:
        yield folder
        os.kill(job.pid, signal.SIGKILL)


@pytest.mark.parametrize("name", sorted(calls(Path())))
def test_the_library_refuses_a_folder_that_another_process_writes_to(taken: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="another process is at work"):
        calls(taken)[name]()
