"""`DriftCallback`: how far training has moved a model along directions, while any Trainer of transformers trains it."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Some
from persona_interp.directions.direction import Direction, check_same_model
from persona_interp.errors import ConfigError, TrainingError
from persona_interp.finetuning.drift_log import COLUMNS, Base, base_path, check_log, drift_frame, read_rows, write_rows
from persona_interp.finetuning.probe import DriftBound, DriftProbe, ExpressionProbe, check_drift
from persona_interp.models.identity import describe
from persona_interp.models.probe import adapters_off, base_fingerprint, has_adapters, language_model, undisturbed
from persona_interp.statistics.means import bootstrap_mean_columns

logger = logging.getLogger(__name__)


class DriftCallback(TrainerCallback):
    """Mean projection a.v/|v| of the last token of fixed prompts, minus the base model's, every so many steps.

    In residual units; above 0 towards the direction's positive pole. Works in any Trainer of transformers and in TRL's,
    with adapters or without. The base is the model with adapters off or, without adapters, the weights at step 0. The
    model is read as it is trained (its dtype, its autocast) but in evaluation mode, and training ends at the very
    weights it would end at without the callback. The last step is always measured.

    The values are in the Trainer's logs as `drift/TRAIT/layerN` and `drift/TRAIT/expression`, at their steps unless
    `logging_strategy` is "no". A Trainer calls its reporters (TensorBoard and the like) before callbacks given to it,
    so they see these values only after `attach`.

    Args:
        directions: one a trait, of the base model.
        prompts: user questions, put into the tokenizer's chat template. A dozen or two of short ones stay cheap.
        every: steps between two measurements.
        tokenizer: default: the Trainer's.
        expression: also answer questions and have the answers judged.
        bounds: shifts at which to warn or stop.
        path: a .jsonl or .csv file for `frame`, rewritten at each measurement and continued by a resumed run. The
            base's projections are kept beside it, or else in the Trainer's output folder.

    Raises:
        ConfigError: nothing to measure, two directions of one trait, a bound on what is not measured, a zero vector.
        HookpointError: a direction has no vector at a layer, or the model no such layer.
        IncompatibleDirectionError: training begins on another base model than a direction's.
        TrainingError: a resumed run without adapters finds no base to compare with, or weights are sharded.
    """

    @checked
    def __init__(
        self,
        directions: Direction | Some[Direction],
        layers: int | Some[int],
        *,
        prompts: Some[str],
        every: Count = 10,
        tokenizer: PreTrainedTokenizerBase | None = None,
        expression: ExpressionProbe | None = None,
        bounds: Sequence[DriftBound] = (),
        path: Path | None = None,
        progress: bool = False,
    ) -> None:
        self.directions = (directions,) if isinstance(directions, Direction) else tuple(directions)
        self.layers = (layers,) if isinstance(layers, int) else tuple(layers)
        self.prompts, self.every, self.tokenizer = tuple(prompts), every, tokenizer
        self.expression, self.bounds, self.path, self.progress = expression, tuple(bounds), path, progress
        check_drift(self.directions, self.layers, expression, self.bounds)
        check_log(path)
        self._rows: list[dict[str, Any]] = []
        self._logs: dict[str, float] = {}
        self._passed: set[DriftBound] = set()

    @checked
    def attach(self, trainer: Trainer) -> "DriftCallback":
        """This callback at the front of a Trainer's, added if need be, so that every reporter gets its values."""
        handler = trainer.callback_handler
        if self in handler.callbacks:
            handler.callbacks.remove(self)
        handler.callbacks.insert(0, self)
        return self

    def frame(self) -> pd.DataFrame:
        """One row a step, trait and layer.

        `shift` with its 95% bootstrap interval over prompts (`low`, `high`), the mean `projection` itself, the mean
        `expression` (NaN where not measured), and the `action` taken at a bound that was passed.
        """
        return drift_frame(self._rows)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Measure the base, or read what the run began with."""
        assert model is not None, "a Trainer gives its model"
        if getattr(args, "deepspeed", None) or getattr(args, "fsdp", None):
            raise TrainingError("cannot probe a model whose weights are sharded.", "Train without FSDP and DeepSpeed.")
        self._tokenizer = _text_tokenizer(processing_class if self.tokenizer is None else self.tokenizer)
        self._probe = DriftProbe.of(self.prompts, self.directions, self.layers, self._tokenizer)
        self._passed.clear()
        self._rows = []
        if state.global_step and self.path is not None and self.path.is_file():
            self._rows = [row for row in read_rows(self.path) if row["step"] <= state.global_step]
        with _as_trained(model, args):
            self._base = self._found_base(model, base_path(self.path, args.output_dir), state)
            if not any(row["step"] == state.global_step for row in self._rows):
                self._measure(model, state, control)
        self._logs.clear()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **_: Any,
    ) -> None:
        """Measure where it is time, and act on bounds."""
        assert model is not None, "a Trainer gives its model"
        if not (self._is_due(self.every, state) or self._expression_due(state)):
            return
        with _as_trained(model, args):
            self._measure(model, state, control)
        if args.logging_strategy != "no":
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Add the values of this step to what is logged of it."""
        if logs is None or not self._logs or state.global_step != self._rows[-1]["step"]:
            return
        logs.update(self._logs)
        state.log_history[-1].update(self._logs)
        self._logs.clear()

    def _measure(self, model: torch.nn.Module, state: TrainerState, control: TrainerControl) -> None:
        values = self._probe.measure(model)
        change = values - self._base.projections
        low, high = bootstrap_mean_columns(change)
        self._logs.clear()
        expressed = math.nan
        if self.expression is not None and self._expression_due(state):
            expressed = self.expression.measure(model, self._tokenizer, progress=self.progress)
            if not math.isnan(expressed):
                self._logs[f"drift/{self.expression.trait.name}/expression"] = expressed
        for i, trait in enumerate(self._probe.traits):
            for j, layer in enumerate(self.layers):
                shift = float(change[:, i, j].mean())
                own = self.expression is not None and trait == self.expression.trait.name
                numbers = (shift, float(low[i, j]), float(high[i, j]), float(values[:, i, j].mean()))
                action = self._acted(trait, layer, shift, state, control)
                row = (state.global_step, trait, layer, *numbers, expressed if own else math.nan, action)
                self._rows.append(dict(zip(COLUMNS, row, strict=True)))
                self._logs[f"drift/{trait}/layer{layer}"] = shift
        if self.path is not None and state.is_world_process_zero:
            write_rows(self.path, self._rows)

    def _acted(self, trait: str, layer: int, shift: float, state: TrainerState, control: TrainerControl) -> str:
        """Act on the bounds of this shift that were just passed; the strongest action taken, or nothing."""
        actions = set()
        for bound in self.bounds:
            if (bound.trait, bound.layer) != (trait, layer):
                continue
            if not bound.passed(shift):
                self._passed.discard(bound)
            elif bound not in self._passed:
                self._passed.add(bound)
                actions.add(bound.action)
                stops = "; training stops" if bound.action == "stop" else ""
                where = f"{trait} at layer {layer}, step {state.global_step}"
                logger.warning("drift of %s: %+.4g has passed the bound %+.4g%s", where, shift, bound.value, stops)
        if "stop" in actions:
            control.should_training_stop = control.should_save = True
        return "stop" if "stop" in actions else "warn" if actions else ""

    def _found_base(self, model: torch.nn.Module, path: Path, state: TrainerState) -> Base:
        """The base of the run this one resumes, or the base of the model as it is; kept for a later resume.

        Raises:
            TrainingError: the run was resumed, and neither is there.
            IncompatibleDirectionError: a direction is of another model.
        """
        base = Base.load(path, self._probe.key) if state.global_step else None
        if base is None and state.global_step and not has_adapters(model):
            raise TrainingError(
                f"this run was resumed at step {state.global_step}, and what the base model gave is not in {path}.",
                "Its weights are trained already, so the base cannot be measured again.",
                "Give the path, prompts, directions and layers that the run began with, or begin it again.",
            )
        if base is None:
            with adapters_off(model):
                base = Base(base_fingerprint(model), self._probe.measure(model))
        own = describe(language_model(model), self._tokenizer, weights=base.weights)
        for direction in self.directions:
            check_same_model(direction, own)
        if state.is_world_process_zero:
            base.save(path, self._probe.key)
        return base

    def _is_due(self, every: int, state: TrainerState) -> bool:
        return state.global_step % every == 0 or state.global_step >= state.max_steps

    def _expression_due(self, state: TrainerState) -> bool:
        return self.expression is not None and self._is_due(self.expression.every, state)


@contextmanager
def _as_trained(model: torch.nn.Module, args: TrainingArguments) -> Iterator[None]:
    """A context in which the model computes in the precision it is trained in, and is as it was afterwards."""
    dtype = torch.float16 if args.fp16 else torch.bfloat16
    mixed = torch.autocast(args.device.type, dtype=dtype, enabled=bool(args.fp16 or args.bf16))
    with undisturbed(model), mixed:
        yield


def _text_tokenizer(found: Any) -> PreTrainedTokenizerBase:
    """The tokenizer, or the one inside a processor of text and images."""
    found = getattr(found, "tokenizer", found)
    if not isinstance(found, PreTrainedTokenizerBase):
        raise ConfigError(
            "cannot render the probe prompts: the Trainer has no tokenizer.",
            "Give DriftCallback a tokenizer, or the Trainer a processing_class.",
        )
    return found
