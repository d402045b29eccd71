"""Edits and reads of a plain model of transformers while it is trained: the hooks are there inside a batch only."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from persona_interp.errors import HookpointError
from persona_interp.models.blocks import find_blocks, find_site
from persona_interp.models.forward import StopForward
from persona_interp.models.recorder import Recorder, Segment, Tap
from persona_interp.types import Edits, Hookpoint, Span


class TrainingHooks:
    """Forward hooks on a plain model, with or without adapters, that edit and read the batch being trained on.

    Outside `batch` they do nothing, so that evaluation or a drift probe between two steps sees the model as it will be
    used. `batch` spans the backward pass too, because gradient checkpointing runs blocks again there.
    """

    def __init__(self, model: nn.Module, edits: Edits, read: Sequence[Hookpoint] = ()) -> None:
        self._model, self._recorder = model, Recorder(read, (), edits)
        self._deepest_read = max(read, key=lambda h: h.order, default=None)
        self._active = self._bare = False

    @contextmanager
    def attached(self) -> Iterator["TrainingHooks"]:
        """A context in which the hooks are on the model; afterwards none is, whatever happened."""
        with ExitStack() as stack:
            for hookpoint in self._recorder.hookpoints:
                site = find_site(self._model, hookpoint, type(self._model).__name__)
                module, tap = self._model.get_submodule(site.path), self._recorder.tap(hookpoint)
                handle = self._before(module, hookpoint, tap) if site.is_input else self._after(module, hookpoint, tap)
                stack.callback(handle.remove)
            yield self

    @contextmanager
    def batch(
        self, ids: Int[Tensor, "batch pos"], mask: Int[Tensor, "batch pos"], response: Bool[Tensor, "batch pos"]
    ) -> Iterator[None]:
        """A context in which passes over this batch are edited and read."""
        real = mask.bool()
        before_answer = torch.zeros_like(response)
        before_answer[:, :-1] = response[:, 1:] & ~response[:, :-1] & real[:, :-1]
        self._segment = Segment(ids, real, response, before_answer)
        self._recorder.begin(self._segment)
        self._active = True
        try:
            yield
        finally:
            self._active = False
            self._recorder.residuals.clear()

    def positions(self, span: Span) -> Bool[Tensor, "batch pos"]:
        """The positions of a span in this batch; `last` are those before each answer, and no answer's own."""
        return self._segment.span(span, last_prompt_token=False)

    @property
    def residuals(self) -> Mapping[Hookpoint, Float[Tensor, "batch pos d_model"]]:
        """What the last pass of this batch went on with at the hookpoints read, with its graph."""
        return dict(self._recorder.residuals)

    def bare_residuals(self, **inputs: Tensor) -> Mapping[Hookpoint, Float[Tensor, "batch pos d_model"]]:
        """The same of a pass without edits and without a graph, which stops after the deepest hookpoint read."""
        kept = dict(self._recorder.residuals)
        self._bare = True
        try:
            with torch.no_grad():
                self._model(**inputs, use_cache=False)
        except StopForward:
            pass
        finally:
            self._bare = False
        found = {hookpoint: self._recorder.residuals[hookpoint] for hookpoint in self._recorder.read}
        self._recorder.residuals = kept
        return found

    def _seen(self, hookpoint: Hookpoint, tap: Tap, residual: Tensor) -> Tensor | None:
        if not self._active:
            return None
        if not self._bare:
            return tap(residual)
        if hookpoint in self._recorder.read:
            self._recorder.residuals[hookpoint] = residual
        if hookpoint == self._deepest_read:
            raise StopForward
        return None

    def _before(self, module: nn.Module, hookpoint: Hookpoint, tap: Tap) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
            changed = self._seen(hookpoint, tap, args[0] if args else kwargs["hidden_states"])
            if changed is None:
                return None
            return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})

        return module.register_forward_pre_hook(hook, with_kwargs=True)

    def _after(self, module: nn.Module, hookpoint: Hookpoint, tap: Tap) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:  # noqa: ARG001
            changed = self._seen(hookpoint, tap, output[0] if isinstance(output, tuple) else output)
            if changed is None:
                return None
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return module.register_forward_hook(hook)


def check_layers(model: nn.Module, hookpoints: Sequence[Hookpoint]) -> None:
    """Refuse layers that a plain model does not have.

    Raises:
        HookpointError: a layer is outside 0..n_layers-1.
    """
    n_layers = len(find_blocks(model)[1])
    for hookpoint in hookpoints:
        if not 0 <= hookpoint.layer < n_layers:
            raise HookpointError(f"cannot edit {hookpoint} in training.", f"Layers run 0..{n_layers - 1}.")
