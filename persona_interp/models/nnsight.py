"""The nnsight backend: traces around the model of transformers."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import nnsight
from nnsight import TransformersModel
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.errors import HookpointError, ModelError
from persona_interp.models.blocks import Site, find_site
from persona_interp.models.forward import Forward
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.recorder import Tap
from persona_interp.types import Hookpoint, Provenance


class NNsightModel(HookedModelBase):
    """A model traced by nnsight; taps run inside the trace, in the order of the forward pass."""

    backend = "nnsight"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str, provenance: Provenance
    ) -> None:
        if next(model.parameters()).is_meta:
            first = next(model.named_parameters())[0].rpartition(".")[0]
            raise ModelError(
                f"the first weights of {name}, {first}, are kept on disk, where nnsight would send the tokens too.",
                f'Give a device_map that keeps these in memory: {{"{first}": "cpu", ...}}.',
            )
        super().__init__(
            name=name,
            config=model.config,
            tokenizer=tokenizer,
            provenance=provenance,
            device=next(model.parameters()).device,
            generation_config=model.generation_config,
        )
        self._module: nn.Module = model
        with warnings.catch_warnings():  # of submodules whose names nnsight has too, which nobody asks it for here
            warnings.filterwarnings("ignore", message=".*which nnsight already serves", category=UserWarning)
            self.model = TransformersModel(model, task="text-generation", tokenizer=tokenizer)

    @property
    def module(self) -> nn.Module:
        """The module of transformers."""
        return self._module

    @contextmanager
    def tapped(self, taps: Mapping[Hookpoint, Tap], *, stop_after: Hookpoint | None = None) -> Iterator[Forward]:
        """Forward passes of the model, each a trace that calls the taps."""
        ordered = sorted(taps, key=lambda h: h.order)
        sites = [(find_site(self._module, hookpoint, self.name), taps[hookpoint]) for hookpoint in ordered]
        stops = stop_after is not None

        def forward(
            ids: Tensor, mask: Tensor, position_ids: Tensor, cache: DynamicCache | None, last_logits: int
        ) -> Tensor | None:
            logits = None
            with self.model.trace(
                input_ids=ids,
                attention_mask=mask,
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=cache is not None,
                logits_to_keep=last_logits,
            ) as tracer:
                for site, tap in sites:
                    _touch(_envoy(self.model, site.path), site, tap)
                if stops:
                    tracer.stop()
                else:
                    logits = nnsight.save(self.model.output.logits)
            return logits

        yield forward


def _envoy(model: TransformersModel, path: str):
    target = model
    for part in path.split("."):
        target = target[int(part)] if part.isdigit() else getattr(target, part)
    return target


def _touch(envoy, site: Site, tap: Tap) -> None:
    """Hand the value at a site to its tap and put back what the tap returns.

    Raises:
        HookpointError: the value is not one of batch, position and width.
    """
    value = envoy.input if site.is_input else envoy.output
    residual = value[0] if isinstance(value, tuple) else value
    if not isinstance(residual, Tensor) or residual.dim() != 3:
        shape = tuple(residual.shape) if isinstance(residual, Tensor) else type(residual).__name__
        raise HookpointError(
            f"cannot reach the stream at {site.path} (nnsight).",
            f"Expected a tensor of batch, position and width, got {shape}.",
            "Use resid_pre or resid_post, which every block has, or the other backend.",
        )
    changed = tap(residual)
    if changed is None:
        return
    if site.is_input:
        envoy.input = changed
    else:
        envoy.output = (changed, *value[1:]) if isinstance(value, tuple) else changed
