"""The folder of a PsychAdapter run: checkpoints while it goes on, the adapter and its losses when it is done."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.errors import ArtefactError
from persona_interp.finetuning.adapter import CONFIG, WEIGHTS
from persona_interp.io import (
    Kinds,
    check_record,
    load_tensors,
    manifest_path,
    read_record,
    save_tensors,
    sha256_file,
    write_json,
)
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import Backend, load_model
from persona_interp.studies.psychadapter import forms
from persona_interp.tables import read_table, write_table

logger = logging.getLogger(__name__)
ADAPTER, LORA, LOSSES = "psychadapter.safetensors", "adapter", "losses.csv"
_RESULT, _CHECKPOINT = "result.json", "psychadapter_checkpoint"
_LOSS = (float, NoneType)
_KEPT: Kinds = {
    **{"n_texts": int, "n_steps": int, "n_cut": int, "n_left_out": int, "seconds": float, "dtype": str},
    **{"holdout_loss": _LOSS, "base_loss": _LOSS, "start_loss": _LOSS},
}
_COUNTS: Kinds = dict.fromkeys(("psychadapter", "lora", "base"), int)
_KEYS: Kinds = {**_KEPT, "sha256": str, "lora": (str, NoneType), "parameters": dict}


@dataclass(frozen=True)
class ParameterCount:
    """Numbers that were trained, and that were not."""

    psychadapter: int
    lora: int
    base: int

    @property
    def share(self) -> float:
        """What was trained, as a share of the base's parameters."""
        return (self.psychadapter + self.lora) / self.base


@dataclass(frozen=True, eq=False)
class TrainedPsychAdapter:
    """A finished run.

    Args:
        adapter: frozen; it belongs to the base, or to the base with the LoRA adapter merged in where one was trained.
        lora: the folder of that LoRA adapter, as PEFT saves it; None where the base stayed as it is.
        losses: one row a step: step, epoch, loss (nats a token), grad_norm, learning_rate, n_tokens.
        holdout_loss: nats a token on the texts held out, with their own trait vectors; None where there are none.
        base_loss: the same without virtual tokens, by the base alone.
        start_loss: the same with the untrained adapter.
        n_cut: texts of which only the first tokens were used; n_left_out: longer ones that were left out.
    """

    base: str
    adapter: PsychAdapter
    lora: Path | None
    n_texts: int
    n_steps: int
    n_cut: int
    n_left_out: int
    parameters: ParameterCount
    losses: pd.DataFrame
    holdout_loss: float | None
    base_loss: float | None
    start_loss: float | None
    seconds: float
    dtype: str

    def load(
        self,
        backend: Backend = "transformer_lens",
        *,
        dtype: torch.dtype | str | None = None,
        device: str | None = None,
    ) -> HookedModelBase:
        """The model that the adapter belongs to, in the dtype it was trained in unless another is given.

        Merged weights differ by rounding between dtypes: bind the adapter with `rebind_psychadapter` to use another.
        """
        return load_model(self.base, backend, dtype=dtype or self.dtype, device=device, adapter=self.lora)


@dataclass
class TrainingState:
    """Everything that changes in training: trained weights by name, the optimiser's, and the losses so far."""

    weights: dict[str, nn.Parameter]
    optimiser: torch.optim.AdamW
    losses: list[dict[str, float | int]]

    @property
    def n_done(self) -> int:
        """Steps taken."""
        return len(self.losses)

    def is_finite(self) -> bool:
        """Whether every trained weight is a number."""
        return all(bool(torch.isfinite(weight).all()) for weight in self.weights.values())

    def save(self, folder: Path) -> None:
        """A checkpoint (safetensors); the one before the last is deleted once this one is whole."""
        tensors: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            tensors[f"weight/{name}"] = weight
            tensors |= {f"{key}/{name}": value for key, value in self.optimiser.state.get(weight, {}).items()}
        save_tensors(
            folder / f"step-{self.n_done:06d}.safetensors", tensors, kind=_CHECKPOINT, manifest={"losses": self.losses}
        )
        for old in checkpoints(folder)[:-2]:
            old.unlink()
            manifest_path(old).unlink(missing_ok=True)

    def resume(self, folder: Path) -> None:
        """Take up the last whole checkpoint with finite weights; broken ones are deleted."""
        for path in reversed(checkpoints(folder)):
            try:
                tensors, manifest = load_tensors(path, kind=_CHECKPOINT, keys={"losses": list})
            except ArtefactError:
                logger.warning("%s is unfinished or altered; it is left out", path)
                path.unlink()
                continue
            self._take(tensors, manifest["losses"])
            return

    def _take(self, tensors: Mapping[str, Tensor], losses: list[dict[str, float | int]]) -> None:
        for name, weight in self.weights.items():
            with torch.no_grad():
                weight.copy_(tensors[f"weight/{name}"])
            self.optimiser.state[weight] = {
                key.split("/")[0]: value.to(weight.device) if not key.startswith("step/") else value
                for key, value in tensors.items()
                if key.partition("/")[2] == name and not key.startswith("weight/")
            }
        self.losses = losses


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, the last one last."""
    return sorted(folder.glob("step-*.safetensors"))


def finish(folder: Path, adapter: PsychAdapter, losses: list[dict[str, float | int]], result: dict[str, Any]) -> None:
    """Keep the adapter, the losses, then the result: a run killed here is not lost."""
    adapter.save(folder / ADAPTER)
    write_table(folder / LOSSES, pd.DataFrame(losses, columns=forms.LOSSES.names), forms.LOSSES)
    lora = folder / LORA / WEIGHTS
    hashes = {"sha256": sha256_file(folder / ADAPTER), "lora": sha256_file(lora) if lora.is_file() else None}
    if lora.is_file():
        hashes["lora_config"] = sha256_file(folder / LORA / CONFIG)
    write_json(folder / _RESULT, {**result, **hashes})


def finished(folder: Path, base: str) -> TrainedPsychAdapter | None:
    """The finished run in a folder; None where it is not finished.

    Raises:
        ArtefactError: an adapter was altered or is missing.
    """
    if not (folder / _RESULT).is_file():
        return None
    remedy = f"Restore it, or delete {folder} and run the same again."
    result = read_record(folder / _RESULT, _KEYS, optional={"lora_config": str}, remedy=remedy)
    parameters = result.pop("parameters")
    check_record(folder / _RESULT, parameters, _COUNTS, remedy=remedy)
    files = {folder / ADAPTER: result.pop("sha256"), folder / LORA / WEIGHTS: (has_lora := result.pop("lora"))}
    files[folder / LORA / CONFIG] = result.pop("lora_config", None)  # results of earlier versions have none
    for path, sha256 in files.items():
        if sha256 is not None and (not path.is_file() or sha256_file(path) != sha256):
            raise ArtefactError(
                f"{path} is missing or was altered after the run.", f"Delete {folder} and run the same again."
            )
    for path in (manifest_path(folder / ADAPTER), folder / LOSSES):
        if not path.is_file():
            raise ArtefactError(f"{path} is missing.", remedy)
    losses = read_table(folder / LOSSES, forms.LOSSES, remedy=remedy)
    if len(losses) != result["n_steps"]:
        raise ArtefactError(f"{folder / LOSSES} has {len(losses)} rows of {result['n_steps']} steps.", remedy)
    return TrainedPsychAdapter(
        base=base,
        adapter=PsychAdapter.load(folder / ADAPTER),
        lora=None if has_lora is None else folder / LORA,
        losses=losses,
        parameters=ParameterCount(**{name: parameters[name] for name in _COUNTS}),
        **{name: result[name] for name in _KEPT},
    )
