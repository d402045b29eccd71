"""The drift callback: an independent computation's numbers, planted drift, resume, bounds, and untouched training."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedModel, TrainerCallback

from persona_interp.directions.direction import rebind_direction
from persona_interp.finetuning.callback import DriftCallback
from persona_interp.models.load import load_model
from persona_interp.studies.finetuning.drift import finetuning_shift, probe_activations
from tests.contract.tiny import Tiny
from tests.unit.finetuning.drift import CountingJudge, Planted, Reporter, drift, expression
from tests.unit.finetuning.training import (
    N_STEPS,
    PROMPTS,
    fresh,
    loud,
    make_trainer,
    save_merged,
    weights_of,
)


@pytest.mark.parametrize("lora", [True, False])
def test_shifts_equal_those_of_the_trained_weights_loaded_anew(small: Tiny, tmp_path: Path, lora: bool) -> None:
    directions = [loud(small), loud(small, trait="calm", seed=1)]
    callback = DriftCallback(directions, [0, 2], prompts=PROMPTS, every=4)
    trainer = make_trainer(small, tmp_path, [callback], lora=lora)
    trainer.train()
    assert isinstance(trainer.model, torch.nn.Module)
    folder = save_merged(trainer.model, small, tmp_path / "merged")
    before = probe_activations(small.hooked("nnsight"), PROMPTS)
    after = probe_activations(load_model(folder, "nnsight", device="cpu"), PROMPTS)
    frame = callback.frame()
    assert list(frame["step"].unique()) == [0, 4, N_STEPS]
    last = frame[frame["step"] == N_STEPS].set_index(["trait", "layer"])
    for direction in directions:
        shift = finetuning_shift(before, after, direction, n_resamples=4000).frame().set_index("layer")
        projection = rebind_direction(direction, _Named(after)).project(after).mean(0)  # pyright: ignore
        for layer in (0, 2):
            row = last.loc[(direction.trait, layer)]
            assert abs(row["shift"]) > 0.01, "training moved nothing"
            assert row["shift"] == pytest.approx(shift.loc[layer, "shift"], abs=1e-4)
            assert row["projection"] == pytest.approx(float(projection[layer]), abs=1e-4)
            width = shift.loc[layer, "high"] - shift.loc[layer, "low"]
            assert row["low"] == pytest.approx(shift.loc[layer, "low"], abs=0.1 * width)
            assert row["high"] == pytest.approx(shift.loc[layer, "high"], abs=0.1 * width)
    first = frame[frame["step"] == 0]
    assert (first[["shift", "low", "high"]] == 0).all(axis=None)


@dataclasses.dataclass
class _Named:
    provenance: Any

    def __init__(self, activations: Any) -> None:
        self.provenance = activations.provenance
        self.name, self.backend, self.tokenizer = "", "", None
        self.n_layers, self.d_model, self.device = 3, 32, torch.device("cpu")

    def run(self) -> None: ...

    generate = run


def test_planted_drift_is_found_where_and_as_large_as_it_was_planted(tmp_path: Path) -> None:
    tiny = Tiny.make("gpt2", tmp_path / "gpt2")
    vectors = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(1)))[0]
    along, across = (
        dataclasses.replace(loud(tiny, trait=name), vectors=vectors[i].repeat(3, 1) * 7)
        for i, name in enumerate(("along", "across"))
    )
    callback = DriftCallback([along, across], [0, 1], prompts=PROMPTS, every=1)
    planted = Planted(vectors[0], -0.5)
    make_trainer(tiny, tmp_path, [planted, callback], lora=False, learning_rate=0.0).train()
    table = callback.frame().pivot_table(values="shift", index="step", columns=["trait", "layer"])
    np.testing.assert_allclose(table["along"][1], -0.5 * np.arange(N_STEPS + 1), atol=1e-4)
    for column in ([("along", 0)], [("across", 0)], [("across", 1)]):
        np.testing.assert_allclose(table[column], 0, atol=1e-4)


@pytest.mark.parametrize(
    ("lora", "changes"),
    [
        (True, {}),
        (False, {}),
        (True, {"activation_checkpointing": True}),
        (False, {"bf16": True, "gradient_accumulation_steps": 2}),
    ],
)
def test_training_ends_at_the_same_bits_with_and_without_the_callback(
    small: Tiny, tmp_path: Path, lora: bool, changes: dict[str, Any]
) -> None:
    ends, judge = [], CountingJudge()
    callback = drift(small, every=1, expression=expression(judge, every=2), path=tmp_path / "log.csv")
    for callbacks in ([], [callback]):
        trainer = make_trainer(small, tmp_path, callbacks, lora=lora, dropout=0.3, **changes)
        assert isinstance(trainer.model, PreTrainedModel | PeftModel)
        if lora and changes:
            trainer.model.enable_input_require_grads()
        trainer.train()
        ends.append(weights_of(trainer.model))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert len(callback.frame()) == 2 * (N_STEPS + 1) and len(judge.answers) == N_STEPS // 2 + 1
    trained = [name for name in ends[0] if "lora_B" in name or not lora]
    start = weights_of(fresh(small, lora=lora))
    assert any(not torch.equal(ends[0][name], start[name]) for name in trained), "nothing was trained"


def test_dropout_would_show_a_disturbed_random_state(small: Tiny, tmp_path: Path) -> None:
    class Disturbing(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            torch.rand(1)

    ends = []
    for callbacks in ([], [Disturbing()]):
        trainer = make_trainer(small, tmp_path, callbacks, dropout=0.3)
        trainer.train()
        assert isinstance(trainer.model, torch.nn.Module)
        ends.append(weights_of(trainer.model))
    assert not all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("attached", [True, False])
def test_values_are_in_the_trainers_logs_at_their_steps(small: Tiny, tmp_path: Path, attached: bool) -> None:
    callback, reporter = drift(small, expression=expression(CountingJudge())), Reporter()
    trainer = make_trainer(small, tmp_path, [reporter, callback], logging_steps=500)
    if attached:
        assert callback.attach(trainer) is callback
        assert trainer.callback_handler.callbacks.count(callback) == 1
    trainer.train()
    rows = callback.frame().set_index(["step", "layer"])
    logged = {int(entry["step"]): entry for entry in trainer.state.log_history if "drift/loud/layer0" in entry}
    assert sorted(logged) == [2, 3, 4, 6]
    for step, entry in logged.items():
        assert entry["drift/loud/layer2"] == rows.loc[(step, 2), "shift"]
        assert "loss" in entry
        expressed = rows.loc[(step, 0), "expression"]
        assert entry.get("drift/loud/expression", math.nan) == pytest.approx(expressed, nan_ok=True)
        if attached:
            assert {name: value for name, value in entry.items() if name != "step"}.items() <= reporter.seen[
                step
            ].items()
    assert rows.loc[3, "expression"].notna().all() and rows.loc[2, "expression"].isna().all()
    json.dumps(trainer.state.log_history)


def test_a_trainer_that_logs_nothing_stays_quiet(small: Tiny, tmp_path: Path) -> None:
    callback = drift(small)
    trainer = make_trainer(small, tmp_path, [callback], logging_strategy="no")
    trainer.train()
    assert [entry["step"] for entry in trainer.state.log_history] == [N_STEPS]
    assert "drift/loud/layer0" in trainer.state.log_history[0]
    assert list(callback.frame()["step"].unique()) == [0, 2, 4, 6]
