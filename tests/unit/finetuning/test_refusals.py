"""What `finetune` refuses, a loss that is no number among it, and what it leaves behind then."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from persona_interp.data.conversations import question_and_answer
from persona_interp.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    HookpointError,
    IncompatibleDirectionError,
    ModelError,
    TrainingError,
)
from persona_interp.finetuning.penalty import ProjectionPenalty
from persona_interp.finetuning.settings import LoRA, TrainingSettings
from persona_interp.interventions.protocol import Stack
from persona_interp.interventions.residual import Ablate, Add
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Edit, Edits, Hookpoint, KVPrefix
from tests.contract.tiny import Tiny, random_prefix
from tests.small import provenance
from tests.unit.finetuning.runs import quick, run
from tests.unit.finetuning.training import loud

SEEN: dict[str, int] = {}


@dataclass(frozen=True)
class Poison:
    """Does nothing until a step; then the loss is no number, or only its gradient is none."""

    name: str
    step: int
    backward: bool = False
    prefix: KVPrefix | None = None

    def check(self, model: HookedModel) -> None:
        """Fits all."""

    @property
    def edits(self) -> Edits:
        """One a step."""
        return {Hookpoint(1): (Edit(self._apply),)}

    def _apply(self, residual: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002
        SEEN[self.name] = SEEN.get(self.name, 0) + 1
        if SEEN[self.name] < self.step:
            return residual
        if not self.backward:
            return residual * torch.nan
        return residual + 0 * (residual - residual.detach()).abs().sqrt()


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(small: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(TrainingError) as raised:
        run(small, out, intervention=Poison("a", 6))
    assert str(raised.value).split("\n  ") == [
        f"the loss is nan at step 6. Training of {out} stopped.",
        f"The last good checkpoint is kept: {out / 'checkpoints' / 'checkpoint-3'}.",
        "Lower the learning rate, the weight of the penalty or the coefficient, or look at the data.",
    ]
    assert not (out / "adapter").exists() and not (out / "result.json").exists()
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["checkpoint-3"]


def test_without_a_checkpoint_it_says_so(small: Tiny, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nan at step 2\.[^\n]*\n  No checkpoint had been written yet\.\n"):
        run(small, tmp_path / "run", intervention=Poison("b", 2))


@pytest.mark.parametrize("step", [6, 8])
def test_weights_that_are_no_numbers_are_never_kept(small: Tiny, tmp_path: Path, step: int) -> None:
    """The gradient is not finite: step 6 ends in a checkpoint, step 8 is the last, after which there is no loss."""
    out = tmp_path / "run"
    with pytest.raises(TrainingError) as raised:
        run(small, out, intervention=Poison(f"c{step}", step, backward=True))
    said = "the loss is nan at step 7" if step == 6 else "the adapter is not finite after step 8"
    assert str(raised.value).startswith(f"{said}. Training of {out} stopped.\n")
    kept = out / "checkpoints" / ("checkpoint-3" if step == 6 else "checkpoint-6")
    assert f"The last good checkpoint is kept: {kept}." in str(raised.value)
    assert sorted((out / "checkpoints").iterdir())[-1] == kept
    assert not (out / "adapter").exists()


def test_a_huge_learning_rate_is_one_error_too(small: Tiny, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^(the loss is (nan|inf) at step \d|the adapter is not finite)"):
        run(small, tmp_path / "run", settings=quick(learning_rate=10.0, n_epochs=5.0, max_grad_norm=1e6))
    assert not (tmp_path / "run" / "adapter").exists()


def foreign(small: Tiny) -> Any:
    direction = loud(small)
    return replace(
        direction,
        provenance=provenance(model="other", weights="ffff", n_layers=3, d_model=32),
        residual_norms=torch.ones(3),
    )


@pytest.mark.parametrize(
    "options",
    [
        lambda d: {"intervention": Add(d, 1, 1.0)},
        lambda d: {"intervention": Stack(Ablate(d, 1))},
        lambda d: {"penalty": ProjectionPenalty(d, 1)},
    ],
)
def test_a_direction_of_another_base_is_refused(small: Tiny, tmp_path: Path, options: Any) -> None:
    with pytest.raises(IncompatibleDirectionError) as raised:
        run(small, tmp_path / "run", **options(foreign(small)))
    named = "belongs to other (3 layers, d_model 32, weights ffff), not to " + str(small.folder)
    assert named in str(raised.value)
    assert not (tmp_path / "run").exists(), "the folder is free for the next try"


def test_layers_that_do_not_exist_are_refused_before_anything_is_written(small: Tiny, tmp_path: Path) -> None:
    vectors = replace(loud(small), hookpoints=tuple(map(Hookpoint, (0, 1, 7))))
    with pytest.raises(HookpointError, match=r"cannot edit resid_post at layer 7 in training\.\n  Layers run 0\.\.2\."):
        run(small, tmp_path / "run", intervention=Ablate(vectors, 7))
    assert not (tmp_path / "run").exists()


def test_a_penalty_needs_the_residuals_that_checkpointing_throws_away(small: Tiny, tmp_path: Path) -> None:
    penalty = ProjectionPenalty(replace(loud(small), residual_norms=torch.ones(3)), 1)
    with pytest.raises(ConfigError, match="penalty cannot be computed under gradient checkpointing"):
        run(small, tmp_path / "run", penalty=penalty, settings=quick(gradient_checkpointing=True))


def test_virtual_tokens_are_refused(small: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="virtual tokens cannot be trained under"):
        run(small, tmp_path / "run", intervention=Poison("d", 1, prefix=random_prefix(small, 1)))


@dataclass
class Opaque:
    """An intervention that holds what no file can say."""

    function: Any
    prefix: None = None

    def check(self, model: HookedModel) -> None:
        """Fits all."""

    @property
    def edits(self) -> Edits:
        """None."""
        return {}


def test_an_intervention_that_cannot_be_written_down_is_refused(small: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing says what a function does\."):
        run(small, tmp_path / "run", intervention=Opaque(lambda: 0))


def test_data_that_cannot_be_trained_on_is_refused(small: Tiny, tmp_path: Path) -> None:
    long = [question_and_answer("Why?", "so " * 400, name="row 1")]
    with pytest.raises(DataError, match=r"row 1: \d+ tokens, more than 512"):
        run(small, tmp_path / "run", long)
    with pytest.raises(DataError, match=r"row 1: \d+ tokens, more than 20"):
        run(small, tmp_path / "run", long, settings=quick(max_tokens=20))
    with pytest.raises(ArtefactError, match="does not exist"):
        run(small, tmp_path / "run", tmp_path / "nothing.jsonl")
    assert not (tmp_path / "run").exists()


def test_an_unknown_model_is_refused(small: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot load"):
        run(replace(small, folder=tmp_path / "nowhere"), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and at most 10, got 0.0"),
        ({"n_epochs": -1.0}, "n_epochs must be above 0 and at most 1000000, got -1.0"),
        ({"batch_size": 0}, "batch_size must be 1 to 65536, got 0"),
        ({"accumulation": 0}, "accumulation must be 1 to 65536, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be 0 to 1000000, got -1"),
        ({"max_tokens": 1}, "max_tokens must be 2 to 1000000, got 1"),
        ({"holdout": 1.0}, "holdout must be at least 0 and below 1, got 1.0"),
        ({"checkpoint_every": 0}, "checkpoint_every must be 1 to 1000000, got 0"),
        ({"dtype": "float16"}, "dtype must be float32, bfloat16 or auto, got 'float16'"),
    ],
)
def test_settings_that_cannot_be_trained_with(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError) as raised:
        TrainingSettings(**changes)
    assert str(raised.value).startswith(f"{rule}.")


@pytest.mark.parametrize("changes", [{"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}])
def test_adapters_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(changes))} must be "):
        LoRA(**changes)
