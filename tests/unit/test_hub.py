"""A name that the hub would have to be asked for, where there is no network: at once, in one paragraph."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from persona_interp import hub
from persona_interp.hub import ask_hub

COMMIT = "0" * 40


def cache(folder: Path, *files: str) -> None:
    """A hub's cache with one revision of `someone/something`."""
    repo = folder / "models--someone--something"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "blobs").mkdir()
    for file in files:
        path = repo / "snapshots" / COMMIT / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


@pytest.mark.parametrize("name", ["a/b/c", "..", "~x", "a b", "x" * 500, ""])
def test_what_is_no_name_of_the_hub(name: str) -> None:
    answer = ask_hub(name)
    assert (answer.files, answer.problem) == (
        frozenset(),
        "nothing on this machine has that path, and it is no name of the hub",
    )


def test_the_cache_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path))
    cache(tmp_path, "config.json", "sub/model.safetensors")
    answer = ask_hub("someone/something")
    assert answer == hub.HubAnswer(frozenset({"config.json", "sub/model.safetensors"}), False, None)
    assert ask_hub("someone/something", revision=COMMIT[:8]) == answer
    other = ask_hub("someone/something", revision="other")
    assert other.problem is not None and other.problem.endswith("the hub cannot be reached: HF_HUB_OFFLINE is set")
    assert ask_hub("someone/something", "dataset").problem is not None


def test_a_host_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_WAIT_S", 0.2)
    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", lambda *_, **__: time.sleep(5))
    started = time.monotonic()
    assert "cannot be reached" in str(ask_hub("no/such-model").problem)
    assert time.monotonic() - started < 3


@pytest.mark.slow
def test_an_unknown_model_is_told_at_once_without_network() -> None:
    """Counted from where the package is imported; without HF_HUB_OFFLINE."""
    code = (
        "import time\nfrom persona_interp.models.load import load_model\nstarted = time.monotonic()\n"
        "try:\n    load_model('no/such-model')\nexcept Exception as error:\n"
        "    print(type(error).__name__, time.monotonic() - started)\n"
    )
    settings = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    settings["HF_ENDPOINT"] = "https://hub.invalid"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=settings, check=True)
    name, seconds = done.stdout.split()
    assert name == "ModelError" and float(seconds) < 5
    assert done.stderr == ""
