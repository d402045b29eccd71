"""The drift callback over a run: resume, bounds, exceptions, expression, and what is refused."""

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import Trainer, TrainerCallback

from persona_interp.errors import ConfigError, HookpointError, IncompatibleDirectionError, TrainingError
from persona_interp.finetuning.callback import DriftCallback
from persona_interp.finetuning.drift_log import COLUMNS
from persona_interp.finetuning.probe import DriftBound, greedy_answers
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import line_stop_ids, render_prompt, text_batch
from persona_interp.studies.finetuning.drift import finetuning_shift, probe_activations
from tests.contract.tiny import Tiny
from tests.small import TRAIT
from tests.unit.finetuning.drift import CountingJudge, Planted, drift, expression
from tests.unit.finetuning.training import (
    N_STEPS,
    PROMPTS,
    fresh,
    loud,
    make_trainer,
    n_hooks,
    save_merged,
)


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_resumed_run_compares_with_the_same_base(small: Tiny, tmp_path: Path, lora: bool, suffix: str) -> None:
    whole = drift(small, expression=expression(CountingJudge()))
    make_trainer(small, tmp_path / "whole", [whole], lora=lora, dropout=0.1).train()

    class Killed(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if state.global_step == 5:
                raise KeyboardInterrupt

    saving = {"save_strategy": "steps", "save_steps": 3, "lora": lora, "dropout": 0.1}
    path = tmp_path / "logs" / f"drift{suffix}"
    first = drift(small, expression=expression(CountingJudge()), path=path)
    with pytest.raises(KeyboardInterrupt):
        make_trainer(small, tmp_path / "parts", [first, Killed()], **saving).train()
    assert list(first.frame()["step"].unique()) == [0, 2, 3, 4]
    second = drift(small, expression=expression(CountingJudge()), path=path)
    trainer = make_trainer(small, tmp_path / "parts", [second], **saving)
    trainer.train(resume_from_checkpoint=True)
    whole_frame, frame = whole.frame(), second.frame()
    assert list(frame["step"]) == list(whole_frame["step"])
    for column in COLUMNS[3:8]:
        np.testing.assert_allclose(frame[column], whole_frame[column], rtol=1e-4, atol=1e-5)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, "drift_base.json"]


def resumed(small: Tiny, folder: Path, second: DriftCallback, *, lora: bool, keep: bool) -> Trainer:
    """A run that begins without a log file, and its continuation under another callback."""
    saving = {"save_strategy": "steps", "save_steps": 3, "lora": lora}
    make_trainer(small, folder, [drift(small)], max_steps=3, **saving).train()
    assert (folder / "drift_base.json").is_file()
    if not keep:
        (folder / "drift_base.json").unlink()
    trainer = make_trainer(small, folder, [second], **saving)
    trainer.train(resume_from_checkpoint=True)
    return trainer


def test_without_a_log_file_the_base_is_kept_in_the_runs_folder(small: Tiny, tmp_path: Path) -> None:
    callback = drift(small)
    trainer = resumed(small, tmp_path, callback, lora=False, keep=True)
    frame = callback.frame()
    assert list(frame["step"].unique()) == [3, 4, 6]
    folder = save_merged(trainer.model, small, tmp_path / "merged")  # pyright: ignore
    before = probe_activations(small.hooked("nnsight"), PROMPTS)
    after = probe_activations(load_model(folder, "nnsight", device="cpu"), PROMPTS)
    expected = finetuning_shift(before, after, loud(small)).shift
    np.testing.assert_allclose(frame[frame["step"] == 6]["shift"], expected[[0, 2]], atol=1e-4)


@pytest.mark.parametrize("reason", ["gone", "other prompts"])
def test_a_resumed_run_without_its_base_is_refused_unless_adapters_can_be_taken_off(
    small: Tiny, tmp_path: Path, reason: str
) -> None:
    prompts = PROMPTS if reason == "gone" else PROMPTS[:2]
    with pytest.raises(TrainingError, match=r"resumed at step 3.*drift_base\.json"):
        resumed(small, tmp_path / "full", drift(small, prompts=prompts), lora=False, keep=reason != "gone")
    callback = drift(small, prompts=prompts)
    resumed(small, tmp_path / "lora", callback, lora=True, keep=reason != "gone")
    assert (callback.frame()["shift"] != 0).all()


def test_a_bound_stops_training_with_a_checkpoint(
    small: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = drift(small, every=1)
    make_trainer(small, tmp_path / "free", [first]).train()
    shifts = first.frame().set_index(["step", "layer"])["shift"]
    bound = float(shifts[3, 2]) * 0.999
    crossed = min(step for step in range(1, N_STEPS) if shifts[step, 2] / bound >= 1)
    callback = drift(small, every=1, bounds=[DriftBound("loud", 2, bound, "stop"), DriftBound("loud", 0, 99.0)])
    trainer = make_trainer(small, tmp_path / "bound", [callback])
    with caplog.at_level(logging.WARNING, "persona_interp.finetuning.callback"):
        trainer.train()
    assert trainer.state.global_step == crossed
    assert (tmp_path / "bound" / f"checkpoint-{crossed}" / "adapter_model.safetensors").is_file()
    actions = callback.frame().set_index(["step", "layer"])["action"]
    assert actions[crossed, 2] == "stop" and (actions.drop((crossed, 2)) == "").all()
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"drift of loud at layer 2, step {crossed}: ") and message.endswith("; training stops")


def test_a_warning_comes_once_a_crossing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny = Tiny.make("gpt2", tmp_path / "gpt2")
    direction = loud(tiny)
    unit = direction.unit().at(1)

    class UpAndDown(Planted):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            self.step = [1.0, 1.0, -2.0, 2.0, 0.0, -4.0][state.global_step - 1]
            super().on_step_end(args, state, control, model=model)

    bounds = [DriftBound("loud", 1, 0.5), DriftBound("loud", 1, 1.5), DriftBound("loud", 1, -1.5)]
    callback = DriftCallback(direction, 1, prompts=PROMPTS, every=1, bounds=bounds)
    trainer = make_trainer(tiny, tmp_path, [UpAndDown(unit, 0.0), callback], lora=False, learning_rate=0.0)
    with caplog.at_level(logging.WARNING, "persona_interp.finetuning.callback"):
        trainer.train()
    assert trainer.state.global_step == N_STEPS
    np.testing.assert_allclose(callback.frame()["shift"], [0, 1, 2, 0, 2, 2, -2], atol=1e-4)
    assert list(callback.frame()["action"]) == ["", "warn", "warn", "", "warn", "", "warn"]
    assert len(caplog.records) == 5


def test_an_exception_inside_leaves_no_hook_and_the_modes(small: Tiny, tmp_path: Path) -> None:
    trainer = make_trainer(small, tmp_path, [drift(small, expression=expression(CountingJudge(fails=True)))])
    model = trainer.model
    assert model is not None
    before = n_hooks(model)
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError, match="the judge fails"):
        trainer.train()
    assert n_hooks(model) == before and [module.training for module in model.modules()] == modes

    class Breaking(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
            def fail(module: Any, args: Any) -> None:  # noqa: ARG001
                if not module.training:
                    raise RuntimeError("the block fails")

            self.handle = model.get_base_model().model.layers[2].register_forward_pre_hook(fail)

    breaking = Breaking()
    trainer = make_trainer(small, tmp_path, [breaking, drift(small, every=1)])
    assert trainer.model is not None
    with pytest.raises(RuntimeError, match="the block fails"):
        trainer.train()
    breaking.handle.remove()
    assert n_hooks(trainer.model) == before
    assert trainer.model.training


@pytest.mark.parametrize("lora", [True, False])
def test_expression_is_of_the_answers_that_the_trained_model_gives(small: Tiny, tmp_path: Path, lora: bool) -> None:
    judge = CountingJudge()
    callback = drift(small, every=4, expression=expression(judge, every=6))
    trainer = make_trainer(small, tmp_path, [callback], lora=lora)
    trainer.train()
    trained = load_model(save_merged(trainer.model, small, tmp_path / "merged"), "nnsight", device="cpu")  # pyright: ignore
    prompts = [render_prompt(trained.tokenizer, question) for question in TRAIT.eval_questions]
    stops = line_stop_ids(trained.tokenizer)
    for model, answers in ((small.hooked("nnsight"), judge.answers[0]), (trained, judge.answers[1])):
        sampling = Sampling(max_new_tokens=5, temperature=0.0, stop_ids=stops)
        made = model.generate(text_batch(model.tokenizer, prompts), sampling=sampling)
        assert answers == [text.strip() for text in made.texts]
    expressed = callback.frame().groupby("step")["expression"].first()
    assert expressed[0] == len(judge.answers[0][1]) and expressed[6] == len(judge.answers[1][1])
    assert math.isnan(expressed[4]) and len(judge.answers) == 2


def test_greedy_answers_do_not_depend_on_their_batch_or_on_sampling_defaults(small: Tiny) -> None:
    model = fresh(small, lora=False).eval()
    model.generation_config.do_sample, model.generation_config.temperature = True, 1.7
    tokenizer = small.hooked("nnsight").tokenizer
    together = greedy_answers(model, tokenizer, PROMPTS, max_new_tokens=6)
    alone = [greedy_answers(model, tokenizer, [prompt], max_new_tokens=6)[0] for prompt in PROMPTS]
    assert together == alone and any(together)


def test_a_direction_of_another_base_is_refused_and_its_origin_named(small: Tiny, tmp_path: Path) -> None:
    other = dataclasses.replace(loud(small).provenance, weights="ffff", model="another")
    callback = DriftCallback(dataclasses.replace(loud(small), provenance=other), 1, prompts=PROMPTS)
    for lora in (True, False):
        with pytest.raises(IncompatibleDirectionError, match="another .*weights ffff.*not to"):
            make_trainer(small, tmp_path, [callback], lora=lora).train()


def test_a_layer_that_the_model_lacks_is_refused(small: Tiny, tmp_path: Path) -> None:
    four = loud(small)
    four = dataclasses.replace(
        four, vectors=four.vectors[[0, 1, 2, 2]], hookpoints=(*four.hookpoints, type(four.hookpoints[0])(3))
    )
    with pytest.raises(HookpointError, match=r"Layers run 0\.\.2"):
        make_trainer(small, tmp_path, [DriftCallback(four, 3, prompts=PROMPTS)]).train()


def test_a_trainer_without_a_tokenizer_needs_one_of_the_callback(small: Tiny, tmp_path: Path) -> None:
    tokenizer = small.hooked("nnsight").tokenizer
    for given in (None, tokenizer):
        callback = drift(small, tokenizer=given)
        trainer = make_trainer(small, tmp_path, [callback], max_steps=2)
        trainer.processing_class = trainer.callback_handler.processing_class = None
        if given is None:
            with pytest.raises(ConfigError, match="no tokenizer"):
                trainer.train()
        else:
            trainer.train()
            assert len(callback.frame()) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": ()}, "prompts must be a list of texts that is not empty"),
        ({"layers": ()}, "layers must be a list of whole numbers that is not empty"),
        ({"every": 0}, "every must be 1 to 1000000, got 0"),
        ({"layers": (1, 1)}, "was given twice"),
        ({"bounds": [DriftBound("loud", 1, 2.0)]}, "loud at layer 1, which is not measured"),
        ({"bounds": [DriftBound("calm", 0, 2.0)]}, "calm at layer 0, which is not measured"),
        ({"path": Path("drift.parquet")}, r"\.jsonl or \.csv"),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_training(
    small: Tiny, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        drift(small, **options)


def test_directions_that_cannot_be_used_are_refused_before_training(small: Tiny) -> None:
    direction = loud(small)
    with pytest.raises(ConfigError, match="was given twice"):
        DriftCallback([direction, loud(small, seed=1)], 0, prompts=PROMPTS)
    with pytest.raises(ConfigError, match="loud is zero at resid_post at layer 1"):
        DriftCallback(dataclasses.replace(direction, vectors=direction.vectors * 0), 1, prompts=PROMPTS)
    with pytest.raises(HookpointError, match="no vector for resid_post at layer 7"):
        DriftCallback(direction, 7, prompts=PROMPTS)
    with pytest.raises(ConfigError, match="must be of a measured trait, got loud"):
        probe = expression(CountingJudge())
        DriftCallback(loud(small, trait="calm"), 1, prompts=PROMPTS, expression=probe)
