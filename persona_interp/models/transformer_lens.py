"""The TransformerLens backend: a TransformerBridge over the model of transformers, weights as they are."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components import BlockBridge
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.errors import HookpointError, ModelError
from persona_interp.models.blocks import NO_UNITS
from persona_interp.models.forward import Forward, StopForward
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.offload import is_offloaded
from persona_interp.models.recorder import Tap
from persona_interp.types import Hookpoint, Provenance

_STREAM_HOOKS = {
    "resid_pre": "hook_resid_pre",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
_INNER_HOOKS = {"head_out": "attn.o.hook_in", "mlp_in": "mlp.hook_in", "mlp_act": "mlp.out.hook_in"}


class TransformerLensModel(HookedModelBase):
    """A model on TransformerBridge (without compatibility mode, so the residual basis is the model's own)."""

    backend = "transformer_lens"

    def __init__(self, bridge: TransformerBridge, *, name: str, provenance: Provenance) -> None:
        refuse_processed(bridge, name)
        super().__init__(
            name=name,
            config=bridge.original_model.config,  # pyright: ignore
            tokenizer=bridge.tokenizer,
            provenance=provenance,
            device=next(bridge.original_model.parameters()).device,
            generation_config=getattr(bridge.original_model, "generation_config", None),
        )
        self.bridge = bridge
        self._model: nn.Module = bridge.original_model
        self._replaceable = _replaceable_components(self._model)

    @classmethod
    def wrap(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str, provenance: Provenance
    ) -> "TransformerLensModel":
        """A bridge over a loaded model, whose modules it replaces in place: do not use that model elsewhere.

        The attention implementation stays the one transformers chose; the bridge would turn some models to eager.

        Raises:
            ModelError: some weights are offloaded, or TransformerLens does not know the architecture.
        """
        if is_offloaded(model):
            raise ModelError(
                f"some weights of {name} are kept on disk, where TransformerLens does not reach them.",
                "Use the backend nnsight, a smaller dtype, or a device_map without disk.",
            )
        implementation = model.config._attn_implementation
        try:
            bridge = TransformerBridge.boot_transformers(
                model.config._name_or_path or name, hf_model=model, tokenizer=tokenizer, dtype=model.dtype
            )
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError, NotImplementedError) as error:
            raise ModelError(
                f"TransformerLens cannot wrap {name}, a {type(model).__name__}:"
                f" {(str(error).splitlines() or [type(error).__name__])[0].partition('. ')[0][:200]}.",
                'Use the other backend: backend="nnsight".',
            ) from error
        model.config._attn_implementation = implementation
        bridge.eval()
        return cls(bridge, name=name, provenance=provenance)

    @property
    def module(self) -> nn.Module:
        """The module of transformers, with components of the bridge in it."""
        return self._model

    @contextmanager
    def tapped(self, taps: Mapping[Hookpoint, Tap], *, stop_after: Hookpoint | None = None) -> Iterator[Forward]:
        """Forward passes of the wrapped model with taps on the bridge's hook points."""
        hooks = [(self._hook_point(h), _as_hook(tap, stop=h == stop_after)) for h, tap in taps.items()]
        with ExitStack() as stack:
            for point, hook in hooks:
                stack.enter_context(_added(point, hook))
            stack.enter_context(_native(self._replaceable))
            yield self._forward

    def _forward(
        self, ids: Tensor, mask: Tensor, position_ids: Tensor, cache: DynamicCache | None, last_logits: int
    ) -> Tensor | None:
        try:
            return self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=cache is not None,
                logits_to_keep=last_logits,
            ).logits
        except StopForward:
            return None

    def _hook_point(self, hookpoint: Hookpoint) -> HookPoint:
        block = self.bridge.blocks[hookpoint.layer]
        target = block
        inner = _INNER_HOOKS.get(hookpoint.stream)
        alias = inner or block.hook_aliases.get(_STREAM_HOOKS[hookpoint.stream])
        for part in alias.split(".") if isinstance(alias, str) else ("no alias",):
            target = getattr(target, part, None)
        if not isinstance(target, HookPoint):
            raise HookpointError(
                f"cannot reach {hookpoint} of {self.name} ({self.backend}).",
                f"The bridge has no single hook for it in a {type(block).__name__}.",
                NO_UNITS if inner else "Use resid_pre or resid_post, which every block has.",
            )
        return target


def refuse_processed(bridge: TransformerBridge, name: str) -> None:
    """Refuse a bridge whose weights were folded or centred.

    Raises:
        ModelError: the residual stream is in another basis than the model's own.
    """
    if getattr(bridge, "_weights_processed", False):
        raise ModelError(
            f"{name} has processed weights (compatibility mode folded its norms or centred its weights).",
            "Directions are kept in the model's own residual basis; those of a folded model do not carry over.",
            "Boot the bridge again without enable_compatibility_mode(), or with no_processing=True.",
        )


def _as_hook(tap: Tap, *, stop: bool):
    def hook(residual: Tensor, hook: HookPoint) -> Tensor | None:  # noqa: ARG001 (the library's signature)
        shape = residual.shape
        changed = tap(residual if residual.dim() == 3 else residual.flatten(2))  # heads come apart at this hook
        if stop:
            raise StopForward
        return changed if changed is None else changed.reshape(shape)

    return hook


@contextmanager
def _added(point: HookPoint, hook) -> Iterator[None]:
    """A hook on a hook point that is gone afterwards, other hooks staying as they were."""
    before = list(point.fwd_hooks)
    point.add_hook(hook)
    try:
        yield
    finally:
        for handle in [handle for handle in point.fwd_hooks if handle not in before]:
            handle.hook.remove()
            point.fwd_hooks.remove(handle)


@dataclass(frozen=True, eq=False)
class _Replaceable:
    """A bridge component inside a module tree, and the module of transformers that it wraps."""

    parent: nn.Module
    key: str
    component: GeneralizedComponent
    original: nn.Module

    @property
    def is_hooked(self) -> bool:
        """Whether a hook of it fires, or one of a part that only the component has (GPT-2's split projections)."""
        parts = [part for name, part in self.component.named_children() if name != "_original_component"]
        own = [self.component, *(part for part in parts if isinstance(part, GeneralizedComponent))]
        hooks = (child for part in own for child in part.children() if isinstance(child, HookPoint))
        return any(hook.fwd_hooks or hook.bwd_hooks for hook in hooks)


def _replaceable_components(model: nn.Module) -> list[_Replaceable]:
    """Every component below the blocks that the bridge put into the model."""
    return [
        _Replaceable(parent, key, child, child.original_component)
        for parent in model.modules()
        if not isinstance(parent, GeneralizedComponent)
        for key, child in parent.named_children()
        if isinstance(child, GeneralizedComponent)
        and not isinstance(child, BlockBridge)
        and isinstance(child.original_component, nn.Module)
    ]


@contextmanager
def _native(components: list[_Replaceable]) -> Iterator[None]:
    """The model's own modules in place of components that nobody hooked.

    The bridge computes attention and norms step by step so that each step can be hooked. Where none is, the module
    it wraps gives the same result faster, and bit-equal to transformers in every dtype.
    """
    bypassed = [component for component in components if not component.is_hooked]
    for component in bypassed:
        component.parent._modules[component.key] = component.original
    try:
        yield
    finally:
        for component in bypassed:
            component.parent._modules[component.key] = component.component
