"""How commands end on Ctrl-C and SIGTERM: one line, nothing half-written, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.conftest import HEARS_CTRL_C, Shell
from tests.integration.test_cli import CALL


def run_options(model_folder: Path, trait: Path, out: Path) -> list[object]:
    return [
        *("run", "--out", out, "--model", model_folder, "--trait", trait, "--dtype", "float32", "--layer", "1"),
        *("--coefficient", "-0.3,0.3", "--n-questions", 4, "--n-instructions", 2, "--n-eval-questions", 3),
        *("--n-eval-samples", 1, "--max-new-tokens", 6, "--filter", "none", "--seed", 2),
    ]


def test_ctrl_c_is_one_line_and_the_run_goes_on(
    shell: Shell, environment: dict[str, str], model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = map(str, run_options(model_folder, trait_files[0], out))
    command = [sys.executable, "-c", HEARS_CTRL_C + CALL, *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        deadline = time.monotonic() + 100
        while not list(out.rglob("part-*.parquet")):
            assert job.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(job.pid, signal.SIGINT)
        written, errors = job.communicate(timeout=100)
    assert job.returncode == 130
    assert written == ""
    message = "interrupted. What was finished is kept: run the same command again to go on."
    assert [line for line in errors.splitlines() if line.strip()][-1].endswith(message)
    assert "Traceback" not in errors
    assert list(out.rglob("*.tmp")) == []
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("part-*.parquet")}
    done = shell(*run_options(model_folder, trait_files[0], out))
    assert (done.code, done.out) == (0, f"report: {out / 'report.html'}\n")
    assert (out / "report.html").is_file()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    refused = shell(*run_options(model_folder, trait_files[0], out), "--seed", 3)
    assert refused.code == 2
    assert refused.error.startswith(
        f"ConfigError: {out} holds results of another configuration.\n  seed: there 2, now 3\n"
    )


HEARS_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
START = (sys.executable, "-c", HEARS_SIGTERM + "from persona_interp.__main__ import main; main()")


@pytest.mark.slow
def test_sigterm_is_one_line_and_the_run_goes_on_to_the_same_result(
    shell: Shell, environment: dict[str, str], model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    command = [*START, *map(str, run_options(model_folder, trait_files[0], out))]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        deadline = time.monotonic() + 100
        while not list(out.rglob("part-*.parquet")):
            assert job.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(job.pid, signal.SIGTERM)
        written, errors = job.communicate(timeout=100)
    assert (job.returncode, written) == (143, "")
    message = "ended by SIGTERM. What was finished is kept: run the same command again to go on."
    assert [line for line in errors.splitlines() if line.strip()][-1].endswith(message)
    assert "Traceback" not in errors and "interrupted" not in errors
    assert list(out.rglob("*.tmp")) == list(out.rglob("*.lock")) == []
    for folder in (out, whole):
        done = shell(*run_options(model_folder, trait_files[0], folder))
        assert (done.code, done.out) == (0, f"report: {folder / 'report.html'}\n")
    tables = [sorted((folder / "tables").glob("*.csv")) for folder in (out, whole)]
    assert [path.name for path in tables[0]] == [path.name for path in tables[1]] != []
    assert [path.read_bytes() for path in tables[0]] == [path.read_bytes() for path in tables[1]]


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.3, 0.8])
def test_sigterm_during_start_up_leaves_no_traceback(
    delay: float, environment: dict[str, str], model_folder: Path, trait_files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Before Python itself is there, nothing can hear it; from then on the code is 143."""
    out = tmp_path / "run"
    command = [*START, *map(str, run_options(model_folder, trait_files[0], out))]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        time.sleep(delay)
        os.kill(job.pid, signal.SIGTERM)
        written, errors = job.communicate(timeout=10)
    assert (job.returncode, written) in [(143, ""), (-signal.SIGTERM, "")]
    assert "Traceback" not in errors
    assert ("ended by SIGTERM." in errors) == (job.returncode == 143)
    assert not out.exists()


WAITS = """
import time
from persona_interp.cli import app, main

@app.command()
def wait() -> None:
    try:
        print("waiting", flush=True)
        time.sleep(60)
    finally:
        print("tidying", flush=True)
        time.sleep({})

main()
"""


@pytest.mark.parametrize("twice", [False, True])
def test_sigterm_tidies_up_and_a_second_one_ends_at_once(twice: bool, environment: dict[str, str]) -> None:
    """A command without a folder keeps nothing, and says so by not saying it."""
    code = HEARS_SIGTERM + WAITS.format(60 if twice else 0)
    command = [sys.executable, "-c", code, "wait"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "waiting\n"
        os.kill(job.pid, signal.SIGTERM)
        assert job.stdout.readline() == "tidying\n"
        if twice:
            os.kill(job.pid, signal.SIGTERM)
        errors = job.communicate(timeout=10)[1]
    assert job.returncode == (-signal.SIGTERM if twice else 143)
    assert errors.strip() == ("" if twice else "ended by SIGTERM.")


def test_importing_the_command_line_changes_no_signal(environment: dict[str, str]) -> None:
    code = HEARS_SIGTERM + "import persona_interp.cli; print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
