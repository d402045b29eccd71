"""A study killed with SIGKILL at random points goes on to the results of one that nobody killed."""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from persona_interp.io import TEMPORARY
from tests.integration.conftest import ROOT, Shell
from tests.integration.test_golden_run import CALLS, HASHES, compare, portable, read, tables_of, train_adapter

CALL = "from persona_interp.cli import main; main()"
KILLS = 30

Start = Callable[[Path], subprocess.Popen[bytes]]


def changed(folder: Path, before: set[tuple[Path, int]]) -> bool:
    """Whether a file of the folder is new or was written again."""
    return bool(files(folder) - before)


def files(folder: Path) -> set[tuple[Path, int]]:
    found = set()
    for path in folder.rglob("*"):
        try:
            found.add((path, path.stat().st_mtime_ns))
        except OSError:  # removed since
            continue
    return found


def killed(start: Start, out: Path, delay: float) -> bool:
    """Whether a process was killed so long after the first file that it wrote; False where it was done before."""
    before = files(out)
    with start(out) as job:
        while job.poll() is None and not changed(out, before):
            time.sleep(0.002)
        try:
            job.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            job.kill()
        assert job.wait() in (0, -9), job.stderr and job.stderr.read().decode()
        return job.returncode != 0


def assert_same(out: Path, whole: Path, folder: Path, model: Path) -> None:
    assert tables_of(out) == tables_of(whole)
    for table in tables_of(whole):
        came, wanted = (
            portable(read(home / table).drop(columns=HASHES.get(table, [])), folder, model) for home in (out, whole)
        )
        compare(came.replace(str(out), str(whole)), wanted, table)
    for weights in whole.rglob("adapter*.safetensors"):
        came, wanted = (load_file(home / weights.relative_to(whole)) for home in (out, whole))
        assert all(came[name].equal(wanted[name]) for name in wanted), weights
    assert list(out.rglob(f"*{TEMPORARY}")) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_killed_at_random_points_it_goes_on_to_the_same_results(
    name: str,
    shell: Shell,
    environment: dict[str, str],
    model_folder: Path,
    trait_files: tuple[Path, Path],
    vector: Path,
    tmp_path: Path,
) -> None:
    if name == "psychadapter":
        train_adapter(shell, tmp_path, model_folder)
    arguments = [str(part) for part in CALLS[name](tmp_path, model_folder, trait_files, vector)]

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", CALL, *arguments, "--out", str(out)]
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    rng, whole, out, done = random.Random(0), tmp_path / "whole", tmp_path / "killed", 0
    assert not killed(start, whole, 300.0)
    began = min(stamp for _, stamp in files(whole))
    lasted = (max(stamp for _, stamp in files(whole)) - began) / 1e9
    while done < KILLS:
        shutil.rmtree(out, ignore_errors=True)
        while done < KILLS and killed(start, out, rng.uniform(0, lasted)):
            done += 1
        if not (out / "report.html").exists() or done == KILLS:
            assert not killed(start, out, 300.0)
        assert_same(out, whole, tmp_path, model_folder)
