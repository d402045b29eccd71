"""The state of a training: weights, optimiser, counts, the stream's position, what its buffer holds. No pickle."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from persona_interp.directions.sae.buffer import Position, ShuffledActivations
from persona_interp.errors import ArtefactError
from persona_interp.io import load_tensors, manifest_path, save_tensors
from persona_interp.records import list_of, number, whole

KIND = "checkpoint of a dictionary"
_STATE, _MOMENTS = "sae.", "adam."
_COUNTS = ("act_freq_scores", "n_forward_passes_since_fired")
_KEYS = {
    "n_steps": whole(0, 10**9),
    "n_tokens": whole(0, 10**12),
    "epoch": whole(0, 10**9),
    "text": whole(0, 10**9),
    "n_fills": whole(0, 10**9),
    "factor": number(0),
    "losses": list_of(number(float("-inf")), 0, 10**7),
}


def save_checkpoint(
    folder: Path, trainer: Any, data: ShuffledActivations, losses: list[float], *, limit: float
) -> None:
    """Keep the state under the number of its step, then delete the one before."""
    tensors = {_STATE + name: tensor.detach() for name, tensor in trainer.sae.state_dict().items()}
    for k, (parameter, state) in enumerate(trainer.optimizer.state.items()):
        del parameter
        tensors |= {f"{_MOMENTS}{k}.{name}": torch.as_tensor(value).float() for name, value in state.items()}
    tensors |= {name: getattr(trainer, name).float() for name in _COUNTS}
    tensors["held"] = data.held
    manifest = {
        "n_steps": trainer.n_training_steps,
        "n_tokens": trainer.n_training_samples,
        "n_frac_active": trainer.n_frac_active_samples,
        **asdict(data.position),
        "factor": trainer.activation_scaler.scaling_factor,
        "limit": limit,
        "losses": losses,
    }
    path = folder / f"checkpoint-{trainer.n_training_steps:09d}.safetensors"
    save_tensors(path, tensors, kind=KIND, manifest=manifest)
    for older in folder.glob("checkpoint-*"):
        if older.stem != path.stem:
            older.unlink()


def last_checkpoint(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The last state that was kept whole; None where there is none."""
    for path in sorted(folder.glob("checkpoint-*.safetensors"), reverse=True):
        if manifest_path(path).is_file():
            return load_tensors(path, kind=KIND, keys=_KEYS)
    return None


def restore(trainer: Any, tensors: dict[str, torch.Tensor], manifest: dict[str, Any]) -> None:
    """Put a state back into a new trainer; schedules follow from the number of steps.

    Raises:
        ArtefactError: it is of another dictionary.
    """
    own = trainer.sae.state_dict()
    try:
        trainer.sae.load_state_dict({name: tensors[_STATE + name].to(own[name]) for name in own})
        for k, parameter in enumerate(trainer.sae.parameters()):
            names = [key for key in tensors if key.startswith(f"{_MOMENTS}{k}.")]
            trainer.optimizer.state[parameter] = {
                key.rpartition(".")[2]: tensors[key].to("cpu" if key.endswith(".step") else parameter.device)
                for key in names
            }
        for name in _COUNTS:
            setattr(trainer, name, tensors[name].to(trainer.cfg.device))
    except (KeyError, RuntimeError) as error:
        raise ArtefactError("the checkpoint is of another dictionary.", "Delete the folder and train anew.") from error
    trainer.n_training_steps, trainer.n_training_samples = manifest["n_steps"], manifest["n_tokens"]
    trainer.n_frac_active_samples = manifest["n_frac_active"]
    trainer.activation_scaler.scaling_factor = manifest["factor"]
    for _ in range(manifest["n_steps"]):
        trainer.lr_scheduler.step()
        for scheduler in trainer.coefficient_schedulers.values():
            scheduler.step()


def position_of(manifest: dict[str, Any]) -> Position:
    """Where the stream was."""
    return Position(manifest["epoch"], manifest["text"], manifest["n_fills"])


def delete_checkpoints(folder: Path) -> None:
    """Delete all states, once the dictionary is there."""
    for path in folder.glob("checkpoint-*"):
        path.unlink()
