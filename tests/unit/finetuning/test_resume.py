"""Runs that are interrupted go on to the very adapter of one that was not; folders of other runs are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import persona_interp.finetuning.train as train_module
from persona_interp.data.conversations import question_and_answer
from persona_interp.directions.direction import Direction
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.finetuning.penalty import ProjectionPenalty
from persona_interp.finetuning.settings import LoRA
from persona_interp.interventions.residual import Add
from persona_interp.io import read_json
from tests.contract.tiny import Tiny
from tests.unit.finetuning.runs import ROWS, Breaks, adapter_of, assert_same_adapter, quick, run
from tests.unit.finetuning.training import loud


def normed(small: Tiny) -> Direction:
    return replace(loud(small), residual_norms=torch.full((3,), 4.0))


def under_everything(small: Tiny) -> dict[str, Any]:
    """Options that keep state: dropout draws numbers, a penalty has a weight."""
    direction = normed(small)
    return {
        "lora": LoRA(rank=4, alpha=8.0, dropout=0.2),
        "intervention": Add(direction, 0, 0.3, span="all"),
        "penalty": ProjectionPenalty(direction, 1, weight=20.0, target=0.01),
    }


@pytest.fixture(scope="module")
def whole(small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(small, tmp_path_factory.mktemp("whole") / "run", **under_everything(small))


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (1, RuntimeError("on purpose")),
        (3, KeyboardInterrupt()),
        (5, RuntimeError("on purpose")),
        (8, KeyboardInterrupt()),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_adapter(
    small: Tiny, whole: Any, tmp_path: Path, step: int, error: BaseException
) -> None:
    options = under_everything(small)
    with pytest.raises(type(error)):
        run(small, tmp_path / "run", callbacks=[Breaks(step, error)], **options)
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*"))
    assert kept == {1: [], 3: [], 5: ["checkpoint-3"], 8: ["checkpoint-3", "checkpoint-6"]}[step]
    seen = Breaks(-1, None)
    made = run(small, tmp_path / "run", callbacks=[seen], **options)
    assert_same_adapter(made, whole)
    assert made.losses.drop(columns="epoch").equals(whole.losses.drop(columns="epoch"))
    assert (made.n_steps, made.stopped) == (8, False)


def test_a_run_that_had_all_its_steps_is_only_finished(small: Tiny, whole: Any, tmp_path: Path) -> None:
    """Interrupted between the last checkpoint and the adapter."""

    class Full(OSError):
        pass

    def fail(*_: Any) -> None:
        raise Full

    options = under_everything(small)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module.RunFolder, "finish", fail)
        with pytest.raises(Full):
            run(small, tmp_path / "run", **options)
    counting = Breaks(-1, None)
    made = run(small, tmp_path / "run", callbacks=[counting], **options)
    assert_same_adapter(made, whole)
    assert counting.model is None, "no step was made"
    assert made.losses.drop(columns="epoch").equals(whole.losses.drop(columns="epoch"))


def halved(checkpoint: Path) -> None:
    (checkpoint / "trainer_state.json").unlink()


def truncated(checkpoint: Path) -> None:
    weights = checkpoint / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])


def spoilt(checkpoint: Path) -> None:
    weights = load_file(checkpoint / "adapter_model.safetensors")
    first = sorted(weights)[0]
    save_file(weights | {first: torch.full_like(weights[first], torch.nan)}, checkpoint / "adapter_model.safetensors")


@pytest.mark.parametrize("damage", [halved, truncated, spoilt])
def test_a_broken_checkpoint_is_left_out(
    small: Tiny, whole: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    options = under_everything(small)
    with pytest.raises(RuntimeError, match="on purpose"):
        run(small, tmp_path / "run", callbacks=[Breaks(7, RuntimeError("on purpose"))], **options)
    last = tmp_path / "run" / "checkpoints" / "checkpoint-6"
    damage(last)
    made = run(small, tmp_path / "run", **options)
    assert f"{last} is unfinished or holds weights that are not finite; it is left out" in caplog.text
    assert_same_adapter(made, whole)


def test_a_finished_run_is_returned_without_loading_a_model(
    small: Tiny, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(train_module, "load_plain", refuse)
    again = run(small, whole.adapter.parent, **under_everything(small))
    assert_same_adapter(again, whole)
    assert again.losses.equals(whole.losses)
    assert (again.base, again.n_samples, again.seconds) == (whole.base, whole.n_samples, whole.seconds)


OTHERS: dict[str, Callable[[Tiny], dict[str, Any]]] = {
    "data": lambda small: {"rows": [*ROWS[:-1], question_and_answer("Why?", "So.")]},  # noqa: ARG005
    "settings": lambda small: {"settings": quick(seed=1)},  # noqa: ARG005
    "lora": lambda small: {"lora": LoRA(rank=3, alpha=8.0)},  # noqa: ARG005
    "intervention": lambda small: {"intervention": Add(loud(small), 1, 1.0, units="direction")},
    "penalty": lambda small: {"penalty": ProjectionPenalty(normed(small), 1)},
}


@pytest.fixture(scope="module")
def begun(small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an interrupted run."""
    out = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(RuntimeError, match="on purpose"):
        run(small, out, callbacks=[Breaks(1, RuntimeError("on purpose"))])
    return out


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_in_the_folder_is_refused_with_what_differs(small: Tiny, begun: Path, what: str) -> None:
    with pytest.raises(ConfigError) as raised:
        run(small, begun, **OTHERS[what](small))
    first, differs, advice = str(raised.value).split("\n  ")
    assert first == f"{begun} holds results of another configuration."
    assert differs.startswith(f"{what}: there ") and ", now " in differs
    assert advice == "Use another folder, or delete this one to start again."


def test_a_direction_with_other_norms_is_another_run(small: Tiny, tmp_path: Path) -> None:
    options = under_everything(small)
    run(small, tmp_path / "run", settings=quick(n_epochs=0.25), intervention=options["intervention"])
    longer = replace(options["intervention"].direction, residual_norms=torch.full((3,), 5.0))
    with pytest.raises(ConfigError, match="intervention: there "):
        run(small, tmp_path / "run", settings=quick(n_epochs=0.25), intervention=Add(longer, 0, 0.3, span="all"))


def test_an_altered_adapter_is_refused(small: Tiny, tmp_path: Path) -> None:
    made = run(small, tmp_path / "run", settings=quick(n_epochs=0.25))
    config = made.adapter / "adapter_config.json"
    config.write_text((kept := config.read_text()).replace('"lora_alpha": ', '"lora_alpha": 1'))
    with pytest.raises(ArtefactError, match="adapter_config.json is missing or was altered after the run"):
        run(small, tmp_path / "run", settings=quick(n_epochs=0.25))
    config.write_text(kept)
    weights = made.adapter / "adapter_model.safetensors"
    save_file({name: 2 * weight for name, weight in adapter_of(made).items()}, weights)
    with pytest.raises(ArtefactError, match="is missing or was altered after the run"):
        run(small, tmp_path / "run", settings=quick(n_epochs=0.25))
    weights.unlink()
    with pytest.raises(ArtefactError, match="is missing or was altered after the run"):
        run(small, tmp_path / "run", settings=quick(n_epochs=0.25))


def test_the_folder_says_what_it_is_a_run_of(small: Tiny, whole: Any) -> None:
    record = read_json(whole.adapter.parent / "finetune.json")
    assert record["base"] == str(small.folder)
    assert record["data"]["n"] == 16
    assert record["intervention"]["kind"] == "Add" and record["intervention"]["coefficient"] == 0.3
    assert record["penalty"]["direction"]["trait"] == "loud"
    assert record["settings"]["learning_rate"] == 1e-2
