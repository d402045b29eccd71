"""A tiny model with a long enough context, two traits that mirror each other, and commands in another process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_interp.data.traits import trait_from_dict, trait_to_dict
from persona_interp.studies.persona import validity
from persona_interp.studies.persona.config import RunConfig
from tests.contract.tiny import save_tiny

ROOT = Path(__file__).parents[2]
CONTEXT = 512
# Begins the code of a child that will be sent Ctrl-C: where the tests run with it ignored, as under nohup, a child
# would start with it ignored too.
HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
TRAIT = {
    "name": "cheerful",
    "positive": "cheerful",
    "negative": "gloomy",
    "description": "Answers with joy.",
    "instruction": [{"pos": "Be glad.", "neg": "Be sad."}, {"pos": "Sing!", "neg": "Weep!"}],
    "questions": ["How is rain?", "What is tea?", "Why run?", "Who am I?"],
    "eval_questions": ["How is snow?", "What is milk?", "Why walk?"],
    "eval_prompt": "Rate the answer {answer} to {question} from 0 to 100.",
    "exemplars": [
        {
            "question": "How is work?",
            "pos": "Great, I love every hour of it!",
            "neg": "Dreadful, I hate every hour of it.",
        },
        {"question": "How was the film?", "pos": "Wonderful, it made me happy!", "neg": "Awful, it made me sad."},
        {"question": "How is the food?", "pos": "Delicious, what a joy!", "neg": "Bland, what a misery."},
    ],
}


@dataclass(frozen=True)
class Done:
    """A finished command: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Standard error without progress bars: what comes after the last carriage return of each line."""
        return "\n".join(line.rpartition("\r")[2] for line in self.err.splitlines() if "Loading weights" not in line)


Shell = Callable[..., Done]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices: threads would only wait for each other, and one thread always adds in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def judges_count_as_shown() -> Iterator[None]:
    """No judge is shown to work on a random model: within these modules all count as shown, so that steering is graded.

    Commands in another process go by the rule itself, which has tests of its own (tests/unit/judges/test_validity.py).
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(validity, "why_not_shown", lambda found: None)  # noqa: ARG005
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama. Its rotary positions have no end, so the context can be declared longer than it was made."""
    return make_model("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def other_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another random model of the same width."""
    return make_model("qwen2", tmp_path_factory.mktemp("other_model"))


def make_model(architecture: str, folder: Path) -> Path:
    save_tiny(architecture, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
    return folder


@pytest.fixture(scope="session")
def trait_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A trait and its mirror image: a random model tells the poles of both apart or of neither."""
    folder = tmp_path_factory.mktemp("traits")
    trait = trait_to_dict(trait_from_dict(TRAIT, source="the test"))
    mirrored: dict[str, Any] = trait | {"name": "gloomy", "positive": "gloomy", "negative": "cheerful"}
    for key in ("instruction", "exemplars"):
        mirrored[key] = [row | {"pos": row["neg"], "neg": row["pos"]} for row in trait[key]]
    for data in (trait, mirrored):
        (folder / f"{data['name']}.json").write_text(json.dumps(data))
    return folder / "cheerful.json", folder / "gloomy.json"


@pytest.fixture(scope="session")
def config(model_folder: Path, trait_files: tuple[Path, Path]) -> RunConfig:
    """The main job at its smallest."""
    return RunConfig(
        model=str(model_folder),
        traits=tuple(map(str, trait_files)),
        dtype="float32",
        n_questions=4,
        n_instructions=2,
        n_held_out_questions=3,
        n_held_out_instructions=1,
        max_new_tokens=6,
        filter="none",
        layers=(1,),
        coefficients=(-0.3, 0.3),
        n_selection_questions=4,
        n_eval_questions=3,
        n_eval_samples=1,
        eval_tokens=6,
        n_random=19,
        test_tokens=4,
        n_null=20,
        n_resamples=50,
        seed=2,
    )


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of every other process: its own cache, no hub, one thread."""
    cache = tmp_path_factory.mktemp("cache")
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PERSONA_INTERP_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }


@pytest.fixture(scope="session")
def shell(environment: dict[str, str]) -> Iterator[Shell]:
    """Runs `persona-interp ARGUMENTS` in another process, the same one for all tests."""
    command = [sys.executable, str(Path(__file__).with_name("shell.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None and answers is not None

        def run(*arguments: object) -> Done:
            questions.write(json.dumps([str(a) for a in arguments]) + "\n")
            questions.flush()
            return Done(**json.loads(answers.readline()))

        yield run
        questions.close()


@pytest.fixture(scope="session")
def vector(shell: Shell, model_folder: Path, trait_files: tuple[Path, Path], tmp_path_factory) -> Path:
    """A persona vector of the tiny model, extracted by the command."""
    out = tmp_path_factory.mktemp("vector")
    options = ["--filter", "none", "--n-questions", 2, "--max-new-tokens", 4, "--dtype", "float32"]
    done = shell("extract", trait_files[0], "--out", out, "--model", model_folder, *options)
    assert done.code == 0, done.err
    return out / "cheerful.safetensors"
