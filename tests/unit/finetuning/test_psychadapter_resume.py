"""A PsychAdapter run that is interrupted goes on to the very adapter of one that was not."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import persona_interp.studies.psychadapter.steps as steps_module
import persona_interp.studies.psychadapter.train as train_module
from persona_interp.errors import ArtefactError
from persona_interp.finetuning.settings import LoRA
from persona_interp.studies.psychadapter.training_run import ADAPTER, checkpoints
from tests.contract.tiny import Tiny
from tests.unit.finetuning.trait_texts import run

LORA = LoRA(rank=2, alpha=4.0, dropout=0.2)


@pytest.fixture(scope="module", params=[None, LORA], ids=["alone", "with LoRA"])
def whole(request: pytest.FixtureRequest, small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = run(small, tmp_path_factory.mktemp("whole") / "run", lora=request.param)
    return request.param, made


def break_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = steps_module._step

    def stops(*args: Any) -> dict[str, float | int]:
        if args[-1] == step:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(steps_module, "_step", stops)


def assert_same(a: Any, b: Any) -> None:
    assert torch.equal(a.adapter.affine.weight, b.adapter.affine.weight)
    assert torch.equal(a.adapter.affine.bias, b.adapter.affine.bias)
    pd.testing.assert_frame_equal(a.losses, b.losses, check_exact=True)
    assert a.holdout_loss == b.holdout_loss
    if a.lora is not None:
        first, second = (load_file(made.lora / "adapter_model.safetensors") for made in (a, b))
        assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("step", "kept"), [(2, []), (5, [3]), (8, [3, 6])])
def test_it_goes_on_to_the_same_adapter(small: Tiny, whole: Any, tmp_path: Path, step: int, kept: list[int]) -> None:
    lora, expected = whole
    with pytest.MonkeyPatch.context() as patch:
        break_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            run(small, tmp_path / "run", lora=lora)
    folder = tmp_path / "run" / "checkpoints"
    assert [path.name for path in checkpoints(folder)] == [f"step-{k:06d}.safetensors" for k in kept]
    assert_same(run(small, tmp_path / "run", lora=lora), expected)


def test_a_run_interrupted_at_its_very_end_is_only_finished(small: Tiny, whole: Any, tmp_path: Path) -> None:
    lora, expected = whole

    class Full(OSError):
        pass

    def fail(*_: Any) -> None:
        raise Full

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "finish", fail)
        with pytest.raises(Full):
            run(small, tmp_path / "run", lora=lora)
    with pytest.MonkeyPatch.context() as patch:
        break_at(patch, 8)
        assert_same(run(small, tmp_path / "run", lora=lora), expected)


def test_a_broken_checkpoint_is_left_out(small: Tiny, whole: Any, tmp_path: Path) -> None:
    lora, expected = whole
    with pytest.MonkeyPatch.context() as patch:
        break_at(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            run(small, tmp_path / "run", lora=lora)
    last = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    last.write_bytes(last.read_bytes()[:-9])
    assert_same(run(small, tmp_path / "run", lora=lora), expected)


def test_an_altered_adapter_is_not_taken_for_the_run(small: Tiny, tmp_path: Path) -> None:
    run(small, tmp_path / "run")
    path = tmp_path / "run" / ADAPTER
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtefactError, match="is missing or was altered after the run"):
        run(small, tmp_path / "run")
