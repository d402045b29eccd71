"""The folder of a finetuning run: what it is a run of, checkpoints while it goes on, the adapter when it is done."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd
import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from persona_interp.data.conversations import Unusable
from persona_interp.errors import ArtefactError, ConfigError
from persona_interp.finetuning.adapter import CONFIG, WEIGHTS, keep_adapter
from persona_interp.io import Kinds, read_json, read_record, sha256_file, write_json
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import Backend, load_model
from persona_interp.rollouts.parts import refuse_other_config

logger = logging.getLogger(__name__)
_RECORD, _RESULT = "finetune.json", "result.json"
_NUMBERS: Kinds = {
    **{"n_samples": int, "n_steps": int, "stopped": bool, "holdout_loss": (float, NoneType), "seconds": float},
}
_KEYS: Kinds = {**_NUMBERS, "losses": list, "unusable": list, "sha256": str}
_OWN = ("adapter", ".adapter", "lora", "checkpoints", "psychadapter.safetensors", "result.json")
"""What a run writes and may replace or delete, beside its records."""


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A finished run: its adapter (safetensors, as PEFT saves it), the losses, and what was left out.

    Args:
        losses: one row a step: step, loss (nats a token), grad_norm, learning_rate, and what a penalty added.
        stopped: whether a callback (a drift bound, say) ended the run before its last step.
        holdout_loss: nats a token on the samples held out; None where there are none.
    """

    base: str
    adapter: Path
    n_samples: int
    n_steps: int
    stopped: bool
    holdout_loss: float | None
    seconds: float
    losses: pd.DataFrame
    unusable: tuple[Unusable, ...]

    def load(
        self, backend: Backend = "transformer_lens", *, dtype: torch.dtype | str = "float32", device: str | None = None
    ) -> HookedModelBase:
        """The finetuned model, its adapter merged in; carry directions over with `rebind_direction`."""
        return load_model(self.base, backend, dtype=dtype, device=device, adapter=self.adapter)


@dataclass(frozen=True)
class RunFolder:
    """Where a run is kept, and what it is a run of."""

    path: Path
    base: str
    plan: Mapping[str, Any]

    @classmethod
    def claim(cls, path: Path, base: str, plan: Mapping[str, Any]) -> "RunFolder":
        """The folder for this run, begun or not; nothing is written yet.

        Raises:
            ConfigError: it holds a run of something else; what differs is named.
        """
        if (path / _RECORD).is_file():
            refuse_other_config(path / _RECORD, plan)
        elif foreign := [name for name in _OWN if (path / name).exists()]:
            raise ConfigError(
                f"{path / foreign[0]} is there and was not made by a run in this folder: there is no {path / _RECORD}.",
                "A run keeps its adapter and its checkpoints under such names.",
                f"Restore {_RECORD}, choose another folder, or move what is there away.",
            )
        return cls(path, base, plan)

    def begin(self) -> None:
        """Say what it is a run of."""
        refuse_other_config(self.path / _RECORD, self.plan)

    def finished(self) -> Finetuned | None:
        """The finished run; None where it is not.

        Raises:
            ArtefactError: its adapter was altered or is missing.
        """
        if not (self.path / _RESULT).is_file():
            return None
        path, adapter = self.path / _RESULT, self.path / "adapter"
        remedy = f"Restore it, or delete {self.path} and run the same again."
        result = read_record(path, _KEYS, optional={"config_sha256": str}, remedy=remedy)
        for row in result["unusable"]:
            if not isinstance(row, dict) or set(row) != {"name", "reason"}:
                raise ArtefactError(f"{path}: a row of unusable has no name and reason.", remedy)
        if not all(isinstance(row, dict) for row in result["losses"]):
            raise ArtefactError(f"{path}: losses must hold one object a step.", remedy)
        hashes = {WEIGHTS: result["sha256"], CONFIG: result.get("config_sha256")}  # earlier versions kept one of them
        for name, known in hashes.items():
            file = adapter / name
            if known is not None and (not file.is_file() or sha256_file(file) != known):
                raise ArtefactError(
                    f"{file} is missing or was altered after the run.", f"Delete {self.path} and run the same again."
                )
        losses, unusable = pd.DataFrame(result["losses"]), tuple(Unusable(**row) for row in result["unusable"])
        numbers = {name: result[name] for name in _NUMBERS}
        return Finetuned(base=self.base, adapter=adapter, losses=losses, unusable=unusable, **numbers)

    def finish(self, model: PeftModel, result: dict[str, Any]) -> None:
        """Keep the adapter, then the result, then let the checkpoints go: a run killed here is not lost."""
        adapter = keep_adapter(model, self.path)
        hashes = {"sha256": sha256_file(adapter / WEIGHTS), "config_sha256": sha256_file(adapter / CONFIG)}
        write_json(self.path / _RESULT, {**result, **hashes})
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    @property
    def checkpoints(self) -> Path:
        """Where transformers keeps its checkpoints while the run goes on (its own format)."""
        return self.path / "checkpoints"

    def last_checkpoint(self) -> Path | None:
        """The last whole checkpoint with finite weights; unfinished and broken ones are deleted.

        Transformers writes the trainer's state last, so a checkpoint without it was interrupted.
        """
        found = sorted(self.checkpoints.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
        while found:
            if _is_whole(found[-1]):
                return found[-1]
            logger.warning("%s is unfinished or holds weights that are not finite; it is left out", found[-1])
            shutil.rmtree(found.pop())
        return None


def _is_whole(checkpoint: Path) -> bool:
    try:
        read_json(checkpoint / "trainer_state.json")
        weights = load_file(checkpoint / WEIGHTS)
    except (ArtefactError, OSError, SafetensorError):
        return False
    return all(bool(torch.isfinite(weight).all()) for weight in weights.values())
