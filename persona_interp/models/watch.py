"""Watching a plain model of transformers: forward hooks that are gone afterwards."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from persona_interp.errors import HookpointError, ModelError
from persona_interp.models.blocks import find_blocks, find_site
from persona_interp.models.recorder import Segment, Watch
from persona_interp.types import Hookpoint


@contextmanager
def watched_transformers(model: PreTrainedModel, watch: Watch) -> Iterator[None]:
    """A context in which every forward pass of a model of transformers is watched, those of `generate` among them.

    A pass is a prompt where the cache is empty or several tokens come at once; a single token on top of a cache is a
    token of the answer. Rows that gave an end-of-text token are left out afterwards. Transformers does not run the last
    token of an answer that reached its limit, so that one is not seen. Beam search reorders rows unseen: do not use it.

    Raises:
        HookpointError: a layer does not exist.
    """
    name = str(getattr(model, "name_or_path", "")) or type(model).__name__
    n_layers = len(find_blocks(model)[1])
    for hookpoint in watch.hookpoints:
        if not 0 <= hookpoint.layer < n_layers:
            raise HookpointError(f"cannot reach {hookpoint} of {name}.", f"Layers run 0..{n_layers - 1}.")
    passes = _Passes(model, watch)
    with ExitStack() as stack:
        before = model.register_forward_pre_hook(passes.before, with_kwargs=True)
        stack.callback(before.remove)
        for hookpoint in watch.hookpoints:
            site = find_site(model, hookpoint, name)
            module, observe = model.get_submodule(site.path), _observer(watch, hookpoint)
            handle = _before(module, observe) if site.is_input else _after(module, observe)
            stack.callback(handle.remove)
        stack.callback(model.register_forward_hook(passes.after).remove)
        yield


class _Passes:
    """Tells prompts from answer tokens by what a forward pass is given."""

    def __init__(self, model: PreTrainedModel, watch: Watch) -> None:
        self._watch = watch
        ends = getattr(model.generation_config, "eos_token_id", None)
        self._ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
        self._ended = torch.zeros(0, dtype=torch.bool)

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        """Say which tokens come."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        if not isinstance(ids, Tensor):
            raise ModelError("cannot watch a forward pass that is given no input_ids.", "Give token ids.")
        cache = kwargs.get("past_key_values")
        cached = 0 if cache is None else int(cache.get_seq_length())
        if cached == 0 or ids.shape[1] > 1 or len(ids) != len(self._ended):
            self._prompt(ids, kwargs.get("attention_mask"))
        else:
            self._token(ids)

    def after(self, *_: object) -> None:
        """The pass is over."""
        self._watch.end()

    def _prompt(self, ids: Tensor, mask: object) -> None:
        real = torch.ones_like(ids, dtype=torch.bool)
        if isinstance(mask, Tensor) and mask.dim() == 2:
            real = mask[:, -ids.shape[1] :].bool()
        last = real & (real.flip(-1).cumsum(-1).flip(-1) == 1)
        self._ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        self._watch.start()
        self._watch.begin(Segment(ids, real, torch.zeros_like(real), last), None)

    def _token(self, ids: Tensor) -> None:
        self._ended = self._ended | torch.isin(ids[:, 0], torch.tensor(self._ends, device=ids.device, dtype=ids.dtype))
        step = ~self._ended[:, None]
        self._watch.begin(Segment(ids, step, step, torch.zeros_like(step)), None)


def _observer(watch: Watch, hookpoint: Hookpoint) -> Callable[[Tensor], None]:
    return lambda residual: watch.observe(hookpoint, residual)


def _before(module: nn.Module, observe: Callable[[Tensor], None]) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG001
        observe(args[0] if args else kwargs["hidden_states"])

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _after(module: nn.Module, observe: Callable[[Tensor], None]) -> Any:
    return module.register_forward_hook(lambda _, __, out: observe(out[0] if isinstance(out, tuple) else out))  # pyright: ignore (a block gives a tensor)
