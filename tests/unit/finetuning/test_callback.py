"""The drift callback: an independent computation's numbers, planted drift, resume, bounds, and untouched training."""

import dataclasses
import gc
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerCallback

from persona_interp.data.traits import Trait
from persona_interp.directions.direction import rebind_direction
from persona_interp.errors import ConfigError, HookpointError, IncompatibleDirectionError, TrainingError
from persona_interp.finetuning.callback import DriftCallback
from persona_interp.finetuning.drift_log import COLUMNS
from persona_interp.finetuning.probe import DriftBound, ExpressionProbe, greedy_answers
from persona_interp.judges.protocol import Score
from persona_interp.measurements.drift import finetuning_shift, probe_activations
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import line_stop_ids, render_prompt, text_batch
from tests.contract.tiny import Tiny
from tests.small import TRAIT
from tests.unit.finetuning.training import (
    N_STEPS,
    PROMPTS,
    fresh,
    loud,
    make_trainer,
    n_hooks,
    save_merged,
    weights_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> Iterator[None]:
    """A Trainer collects garbage when it starts, which takes longer than these runs where much is loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


class CountingJudge:
    """Rates an answer by its length, counts what it is asked, and disturbs the random numbers as it does."""

    name = "length"
    description = "The length of the answer."

    def __init__(self, fails: bool = False) -> None:
        self.answers: list[list[str]] = []
        self._fails = fails

    def rate(self, trait: Trait, questions: Any, answers: Any) -> list[Score]:
        assert trait is TRAIT and len(questions) == len(answers)
        torch.rand(3)
        if self._fails:
            raise RuntimeError("the judge fails")
        self.answers.append(list(answers))
        return [Score(float("nan") if i == 0 else float(len(answer)), 0.0) for i, answer in enumerate(answers)]


class Reporter(TrainerCallback):
    """What TensorBoard would get: placed where a Trainer puts its own reporters."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, float]] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        self.seen.setdefault(state.global_step, {}).update(logs)


def expression(judge: CountingJudge, every: int = 3) -> ExpressionProbe:
    return ExpressionProbe(judge, TRAIT, TRAIT.eval_questions, max_new_tokens=5, every=every)


def drift(tiny: Tiny, layers: Any = (0, 2), **options: Any) -> DriftCallback:
    return DriftCallback(loud(tiny), layers, **{"prompts": PROMPTS, "every": 2, **options})


@pytest.mark.parametrize("lora", [True, False])
def test_shifts_equal_those_of_the_trained_weights_loaded_anew(small: Tiny, tmp_path: Path, lora: bool) -> None:
    directions = [loud(small), loud(small, trait="calm", seed=1)]
    callback = DriftCallback(directions, [0, 2], prompts=PROMPTS, every=4)
    trainer = make_trainer(small, tmp_path, [callback], lora=lora)
    trainer.train()
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


class Planted(TrainerCallback):
    """Moves what block 1 adds to the residual stream by so much of a unit vector, each step."""

    def __init__(self, unit: torch.Tensor, step: float) -> None:
        self.unit, self.step = unit, step

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        with torch.no_grad():
            model.transformer.h[1].mlp.c_proj.bias += self.step * self.unit


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
        assert trainer.model is not None
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
    logged = {entry["step"]: entry for entry in trainer.state.log_history if "drift/loud/layer0" in entry}
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
        ({"prompts": ()}, "0 prompts"),
        ({"layers": ()}, "0 layers"),
        ({"every": 0}, "every 0 steps"),
        ({"layers": (1, 1)}, "came twice"),
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
    with pytest.raises(ConfigError, match="came twice"):
        DriftCallback([direction, loud(small, seed=1)], 0, prompts=PROMPTS)
    with pytest.raises(ConfigError, match="loud is zero at layer 1"):
        DriftCallback(dataclasses.replace(direction, vectors=direction.vectors * 0), 1, prompts=PROMPTS)
    with pytest.raises(HookpointError, match="no vector for resid_post at layer 7"):
        DriftCallback(direction, 7, prompts=PROMPTS)
    with pytest.raises(ConfigError, match="expression is of loud"):
        probe = expression(CountingJudge())
        DriftCallback(loud(small, trait="calm"), 1, prompts=PROMPTS, expression=probe)
