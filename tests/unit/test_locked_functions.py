"""Functions that write to a folder have it locked while they run."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_interp.directions.style_training import train_style_vectors
from persona_interp.errors import ConfigError
from persona_interp.finetuning.train import finetune
from persona_interp.lock import NAME, alone_in
from persona_interp.measurements.strengths import strength_table
from persona_interp.rollouts.generate import answer
from persona_interp.studies.finetuning.run import run_prevention, run_robustness, run_shift
from persona_interp.studies.inventory.run import run_inventories
from persona_interp.studies.persona.run import run_main_job
from persona_interp.studies.psychadapter.estimated_scores import generate_trait_texts
from persona_interp.studies.psychadapter.expression import trait_texts_over_z
from persona_interp.studies.psychadapter.run import measure_psychadapter
from persona_interp.studies.psychadapter.train import train_psychadapter
from persona_interp.studies.screening.run import screen
from persona_interp.studies.styles.run import run_styles
from persona_interp.studies.styles.steering import measure_styles
from tests.unit.lock_holder import holder


def test_a_function_locks_the_folder_it_is_given(tmp_path: Path) -> None:
    @alone_in("out")
    def write(text: str, out: Path | None = None) -> str:
        return text if out is None else f"{text} {(out / NAME).is_file()}"

    assert write("a") == "a" and write("a", tmp_path) == write("a", out=tmp_path) == "a True"
    with holder(tmp_path) as job:
        with pytest.raises(ConfigError, match=f"another process is at work in {tmp_path}: number {job.pid}"):
            write("a", tmp_path)
        os.kill(job.pid, signal.SIGKILL)


def test_a_function_without_the_folder_it_should_lock_is_refused() -> None:
    with pytest.raises(AssertionError, match="has no parameter ouput"):

        @alone_in("ouput")
        def _(output: Path) -> None: ...


def calls(folder: Path) -> dict[str, Callable[[], object]]:
    """Every function that writes to a folder it is given, with nothing else that it could use: past `checked`."""
    none: Any = None

    def past(function: Any) -> Any:
        return function.__wrapped__ if hasattr(function, "__checked__") else function

    return {
        "run_main_job": lambda: past(run_main_job)(none, folder),
        "strength_table": lambda: past(strength_table)(none, none, none, layers=[], folder=folder),
        "run_styles": lambda: past(run_styles)(none, none, none, judges=[], coherence=none, out=folder),
        "measure_styles": lambda: past(measure_styles)(
            none, none, {}, activations=none, settings=none, judges=[], coherence=none, selection=[], prompts={},
            folder=folder,
        ),
        "train_style_vectors": lambda: past(train_style_vectors)(none, none, layers=[0], folder=folder),
        "measure_psychadapter": lambda: past(measure_psychadapter)(none, none, none, judges=[], out=folder),
        "run_shift": lambda: past(run_shift)(none, work=folder, out=folder),
        "run_prevention": lambda: past(run_prevention)(none, work=folder, out=folder),
        "run_robustness": lambda: past(run_robustness)(none, work=folder, out=folder),
        "trait_texts_over_z": lambda: past(trait_texts_over_z)(none, none, folder=folder),
        "train_psychadapter": lambda: past(train_psychadapter)(none, none, out=folder),
        "generate_trait_texts": lambda: past(generate_trait_texts)(none, n_texts=4, judges=[], folder=folder),
        "finetune": lambda: past(finetune)(none, none, out=folder),
        "screen": lambda: past(screen)(none, "", [], out=folder),
        "answer": lambda: past(answer)(none, none, sampling=none, folder=folder),
        "run_inventories": lambda: past(run_inventories)(none, [], [], none, out=folder),
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
