"""Weights that accelerate keeps on disk or in another memory, and devices: where they are, what they hold."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from persona_interp.errors import ConfigError, ModelError

_BALANCED = ("auto", "balanced", "balanced_low_0", "sequential")
_PLACES = ("disk", "cpu")


def stored_weight(model: nn.Module, name: str, weight: Tensor) -> Tensor:
    """The values of a weight, also where accelerate fetches them for each pass only.

    Raises:
        ModelError: it has no values anywhere.
    """
    if not weight.is_meta:
        return weight
    parts = name.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        module, below = model.get_submodule(".".join(parts[:depth])), ".".join(parts[depth:])
        for kept in _kept_by(module):
            if below in kept:
                return kept[below].to(weight.dtype)
    raise ModelError(f"{name} of {type(model).__name__} has no values: it is on the meta device.", "Load its weights.")


def is_offloaded(model: nn.Module) -> bool:
    """Whether some weights are fetched for each pass only."""
    return any(weight.is_meta for weight in model.parameters())


def input_device(model: nn.Module) -> torch.device:
    """Where token ids go in: the device that the first weights compute on."""
    first = next(model.parameters()).device
    if first.type != "meta":
        return first
    hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
    devices = [device for hook in hooks if (device := getattr(hook, "execution_device", None)) is not None]
    return torch.device(devices[0]) if devices else torch.device("cpu")


def check_device(device: str | torch.device | int | None) -> None:
    """Refuse a device that is not there.

    Raises:
        ConfigError: torch cannot put a tensor on it.
    """
    if device is None:
        return
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(
            f"the device {str(device)[:60]!r} cannot be used: {str(error).splitlines()[0][:160]}",
            f"Give cpu{', cuda' if torch.cuda.is_available() else ''}, or leave it out.",
        ) from error


def check_device_map(device_map: str | Mapping[str, str | int] | None) -> None:
    """Refuse a map with a device that is not there.

    Raises:
        ConfigError: the same.
    """
    if device_map is None or device_map in _BALANCED:
        return
    for device in [device_map] if isinstance(device_map, str) else device_map.values():
        if device not in _PLACES:
            check_device(device)


def _kept_by(module: nn.Module) -> Iterator[Mapping[str, Tensor]]:
    """What accelerate's hooks on a module keep of it."""
    hook: Any = getattr(module, "_hf_hook", None)
    for one in getattr(hook, "hooks", (hook,)):
        kept = getattr(one, "weights_map", None)
        if kept is not None:
            yield kept
