"""`persona-interp screen`: as a command, killed and run again, on a Ray cluster that loses a worker, and in memory."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from persona_interp.directions.direction import Direction
from persona_interp.io import read_json
from tests.integration.conftest import Shell
from tests.integration.screen_data import FIRST, write_data

CALL = "from persona_interp.cli import main; main()"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "data.jsonl", 400)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("clean") / "clean.jsonl", 96)


@pytest.fixture(scope="module")
def vectors(vector: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The extracted vector, and its opposite under another name."""
    opposite = tmp_path_factory.mktemp("opposite") / "gloomy.safetensors"
    direction = Direction.load(vector)
    replace(-direction, trait="gloomy").save(opposite)
    return f"{vector},{opposite}"


@pytest.fixture(scope="module")
def options(data: Path, clean: Path, vectors: str, model_folder: Path) -> list[object]:
    """Everything but the folder."""
    return [
        *("screen", data, "--vector", vectors, "--clean", clean, "--model", model_folder),
        *("--dtype", "float32", "--batch-rows", 8, "--n-flagged", 5),
    ]


@pytest.fixture(scope="module")
def whole(shell: Shell, options: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a screening that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = shell(*options, "--out", out)
    assert done.code == 0, done.err
    return out


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "config.screen.toml")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def assert_same(folder: Path, whole: Path) -> None:
    came, expected = contents(folder), contents(whole)
    assert sorted(came) == sorted(expected)
    assert [name for name in expected if came[name] != expected[name]] == []


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """A process that does not outlive the test."""
    with (
        log.open("w") as written,
        subprocess.Popen(command, env=environment, stdout=written, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def wait_for_shards(folder: Path, n: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while len(list(folder.glob("samples/part-*.parquet"))) < n:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_command_writes_scores_ranking_and_flagged_samples(
    shell: Shell, options: list[object], whole: Path, tmp_path: Path
) -> None:
    done = shell(*options, "--out", tmp_path / "out")
    assert (done.code, done.error.strip()) == (0, "")
    assert "396 of 400 rows screened, 4 unusable (unusable.csv says why)." in done.out
    assert "Threshold: percentile 95 of the difference of 96 clean samples" in done.out
    assert_same(tmp_path / "out", whole)
    ranking = pd.read_parquet(whole / "ranking.parquet")
    assert ranking["direction"].unique().tolist() == ["cheerful", "gloomy"]
    cheerful, gloomy = (ranking[ranking["direction"] == name] for name in ("cheerful", "gloomy"))
    assert cheerful["row"].tolist() == gloomy.sort_values(["score", "row"])["row"].tolist()
    summary = read_json(whole / "screening.json")
    assert (summary["n_rows"], summary["n_unusable"], summary["n_flagged"]) == (400, 4, 10)
    assert {row["layer"] for row in summary["scores"]} == {1}
    flagged = [json.loads(line) for line in (whole / "flagged.jsonl").read_text().splitlines()]
    assert [line["row"] for line in flagged[:5]] == cheerful["row"][:5].tolist()
    assert len(pd.read_parquet(whole / "samples")) == 400


def test_without_clean_data_the_command_says_that_it_only_ranks(
    shell: Shell, data: Path, vector: Path, model_folder: Path, tmp_path: Path
) -> None:
    options = ["--model", model_folder, "--layer", "0,1", "--delta", "none", "--n-flagged", 1]
    done = shell("screen", data, "-v", vector, "--out", tmp_path / "out", *options)
    assert done.code == 0, done.err
    assert "there is no threshold: samples are only ranked, by projection." in done.out
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary[["layer", "score"]].to_numpy().tolist() == [
        *([layer, score] for layer in (0, 1) for score in ("projection", "prompt_last"))
    ]


def test_a_folder_belongs_to_one_data_set_and_configuration(
    shell: Shell, options: list[object], whole: Path, data: Path, tmp_path: Path
) -> None:
    refused = shell(*options, "--out", whole, "--delta", "none")
    assert (refused.code, refused.out) == (2, "")
    assert refused.error.startswith(f"ConfigError: {whole} holds results of another configuration.\n  delta: there")
    other = tmp_path / data.name
    other.write_text(data.read_text().replace("tea", "tee", 1))
    refused = shell(options[0], other, *options[2:], "--out", whole)
    assert refused.code == 2
    assert "holds results of another configuration." in refused.error
    assert "data set (SHA-256): there" in refused.error


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--percentile", 90], "--percentile was given without --clean"),
        (["--max-new-tokens", 9], "--max-new-tokens was given without --delta generate"),
        (["--ray-address", "auto"], "--ray-address was given without --engine ray"),
        (["--workers", 2], "--workers was given without --engine ray"),
        (["--engine", "spark"], "'spark' is not one of 'local', 'ray'"),
        (["--delta", "some"], "'some' is not one of 'prompt', 'generate', 'none'"),
        (["--judge", "me"], "'me' is not one of 'embedding'"),
        (["--judge", "embedding"], "the embedding judge knows no trait of cheerful"),
        (["--rank-by", "judge"], "cheerful has no such score"),
        (["--layer", "x"], "--layer must be whole numbers"),
        (["--layer", "9"], "no vector for resid_post at layer 9"),
        (["--batch-rows", 0], "'--batch-rows': must be greater than or equal to 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    extra: list[object], words: str, shell: Shell, data: Path, vector: Path, model_folder: Path, tmp_path: Path
) -> None:
    done = shell("screen", data, "-v", vector, "--out", tmp_path / "out", "--model", model_folder, *extra)
    assert (done.code, done.out) == (1 if "HookpointError" in done.error else 2, "")
    assert words in done.error
    assert not (tmp_path / "out").exists()


def test_a_missing_file_and_a_vector_of_another_model_are_refused(
    shell: Shell, data: Path, vector: Path, model_folder: Path, other_model_folder: Path, tmp_path: Path
) -> None:
    out = ["--out", tmp_path / "out"]
    done = shell("screen", tmp_path / "none.jsonl", "-v", vector, "--model", model_folder, *out)
    assert done.code == 1
    assert done.error.startswith(f"ArtefactError: {tmp_path / 'none.jsonl'} does not exist.")
    done = shell("screen", data, "-v", vector, "--model", other_model_folder, *out)
    assert done.code == 1
    assert done.error.startswith("IncompatibleDirectionError: the direction cheerful")
    assert str(model_folder) in done.error and str(other_model_folder) in done.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", [pytest.param(".", marks=pytest.mark.slow), "clean"])
def test_killed_in_the_middle_it_goes_on_to_the_same_result(
    place: str, shell: Shell, options: list[object], whole: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", CALL, *map(str, options), "--out", str(out)]
    with started(command, environment, tmp_path / "log.txt") as process:
        wait_for_shards(out / place, FIRST, process)
        process.kill()
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("part-*.parquet")}
    total = len(list(whole.rglob("part-*.parquet")))
    assert FIRST <= len(kept) < total
    assert not (out / "screening.json").exists()
    done = shell(*options, "--out", out)
    assert done.code == 0, done.err
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # only what was not written yet is computed
    assert_same(out, whole)


RAY = """
import ray

import persona_interp.studies.screening.command
from persona_interp.cli import main
from persona_interp.data.streams import count_rows
from persona_interp.studies.screening import run


def nothing_left(screener, source, shards, *, progress):
    assert shards.first_missing() == -(-count_rows(source) // screener.config.batch_rows)


if __name__ == "__main__":
    run.screen_here = nothing_left  # what Ray does not run again would be missing
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    main()
"""


@pytest.fixture
def ray_environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """No reports of usage, and nothing of Ray in the home folder."""
    return {**environment, "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path)}


def children(pid: int) -> dict[int, str]:
    """Every process below one, with its command line."""
    parents, commands = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
                commands[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    below, found = {pid}, {}
    while grown := {child for child, parent in parents.items() if parent in below} - below:
        below |= grown
        found |= {child: commands[child] for child in grown}
    return found


@pytest.mark.slow
def test_ray_loses_a_worker_and_gives_what_one_process_gives(
    options: list[object], whole: Path, ray_environment: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = tmp_path / "on_ray.py"
    script.write_text(RAY)
    command = [sys.executable, str(script), *map(str, options), "--out", str(out), "--engine", "ray", "--workers", "2"]
    log = tmp_path / "log.txt"
    with started(command, ray_environment, log) as process:
        wait_for_shards(out, FIRST, process)
        workers = [
            pid for pid, line in children(process.pid).items() if line.startswith("ray::") and "MapWorker" in line
        ]
        os.kill(workers[0], signal.SIGKILL)
        n_then = len(list(out.rglob("part-*.parquet")))
        assert process.wait(timeout=180) == 0, log.read_text()[-3000:]
    assert len(workers) == 2
    assert n_then < len(list(whole.rglob("part-*.parquet")))
    assert "rows screened" in log.read_text()
    assert_same(out, whole)
