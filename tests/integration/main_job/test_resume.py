"""The main job killed wherever it can be: it goes on to the same results."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from persona_interp import files
from persona_interp.errors import ArtefactError
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.run import run_main_job
from tests.integration.main_job.conftest import results_of


@pytest.fixture(scope="module")
def small_whole(small: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("small") / "run"
    run_main_job(small, folder)
    return folder


def assert_same_results(folder: Path, whole: Path) -> None:
    came, expected = results_of(folder), results_of(whole)
    assert sorted(came) == sorted(expected)
    assert [name for name in came if came[name] != expected[name]] == []
    assert list(folder.rglob("*.tmp")) == []


class Kill:
    """Ends a run at the n-th call of a function, as Ctrl-C would."""

    def __init__(self, call: Callable, at: int) -> None:
        self.call, self.left = call, at

    def wrapped(self) -> Callable:
        def counted(*args: object, **kwargs: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return self.call(*args, **kwargs)

        return counted


PLACES = {"generate": (HookedModelBase, "generate"), "rate": (EmbeddingJudge, "rate"), "write": (os, "fsync")}


@pytest.mark.parametrize(
    ("place", "at"),
    [
        ("generate", 11),
        *(pytest.param("generate", n, marks=pytest.mark.slow) for n in (1, 2, 4, 6, 9)),
        *(pytest.param("rate", n, marks=pytest.mark.slow) for n in (1, 3, 5)),
        *(pytest.param("write", n, marks=pytest.mark.slow) for n in (1, 3, 9, 17)),
    ],
)
def test_a_killed_run_goes_on_to_the_same_result(
    place: str,
    at: int,
    small_whole: Path,
    small: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, name = PLACES[place]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owner, name, Kill(getattr(owner, name), at).wrapped())
        run_main_job(small, tmp_path / "run")
    assert list(tmp_path.rglob("*.tmp")) == []
    assert not (tmp_path / "run" / "measurements.parquet").exists()
    run_main_job(small, tmp_path / "run")
    assert_same_results(tmp_path / "run", small_whole)


@pytest.mark.slow
def test_a_run_killed_again_and_again_still_ends_the_same(
    small_whole: Path, small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0
    while not (tmp_path / "summary.json").exists():
        attempts += 1
        with monkeypatch.context() as patched:
            patched.setattr(HookedModelBase, "generate", Kill(HookedModelBase.generate, 4).wrapped())
            try:
                run_main_job(small, tmp_path)
            except KeyboardInterrupt:
                continue
    n_calls = len(list(small_whole.rglob("part-*.parquet"))) + 2  # the speed of the machine is measured by two, once
    assert attempts == -(-n_calls // 3) > 1  # three calls are finished at a time
    assert_same_results(tmp_path, small_whole)


SIGKILLED = """
import json, os, signal, sys
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.run import run_main_job

settings = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()}
left = [12]

def die(_):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

os.fsync = die
run_main_job(RunConfig(**settings), __import__("pathlib").Path(sys.argv[2]))
"""


def test_a_process_killed_while_it_writes_goes_on_to_the_same_result(
    small_whole: Path, small: RunConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SIGKILLED, json.dumps(asdict(small)), str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("*.tmp"))) == 1  # SIGKILL leaves no time to tidy up
    run_main_job(small, tmp_path / "run")
    assert_same_results(tmp_path / "run", small_whole)


def test_a_truncated_table_is_named(small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(HookedModelBase, "generate", Kill(HookedModelBase.generate, 5).wrapped())
        run_main_job(small, tmp_path)
    for path in (next(tmp_path.rglob("scores.parquet")), next(tmp_path.rglob("part-*.parquet"))):
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        with pytest.raises(ArtefactError, match=f"{re.escape(str(path))} is not a whole Parquet file.*\n.*Delete it"):
            run_main_job(small, tmp_path)
        path.write_bytes(kept)


def test_a_full_disk_says_so_and_the_run_goes_on_afterwards(
    small_whole: Path, small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, n_left = os.fsync, [10]

    def full(descriptor: int) -> None:
        n_left[0] -= 1
        if n_left[0] < 0:
            raise OSError(28, os.strerror(28))
        write(descriptor)

    with (
        monkeypatch.context() as patched,
        pytest.raises(ArtefactError, match="could not write .*No space left") as caught,
    ):
        patched.setattr(files.os, "fsync", full)
        run_main_job(small, tmp_path)
    assert "run the same command again: it goes on where it stopped" in str(caught.value)
    assert list(tmp_path.rglob("*.tmp")) == []
    run_main_job(small, tmp_path)
    assert_same_results(tmp_path, small_whole)
