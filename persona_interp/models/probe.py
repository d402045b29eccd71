"""Reading a plain model of transformers between two training steps, with no trace left in it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from persona_interp.errors import EmptySelectionError, HookpointError, IncompatibleDirectionError, TrainingError
from persona_interp.models.blocks import find_blocks, find_site
from persona_interp.models.forward import StopForward
from persona_interp.models.identity import fingerprint
from persona_interp.types import Hookpoint, TokenBatch

_WRAPPED = ("base_layer", "original_module")
"""Where the modules that PEFT puts into a model keep the one they stand for."""


def plain_projections(
    model: nn.Module, batch: TokenBatch, units: Mapping[Hookpoint, Float[Tensor, "direction d_model"]]
) -> dict[Hookpoint, Float[Tensor, "sample direction"]]:
    """Projections a.u of the last prompt token's residual a on unit vectors u, in float32 on the CPU.

    The pass runs the blocks only, in the mode the model is in, and ends after the deepest hookpoint. No hook is left,
    also after an exception.

    Args:
        model: of transformers, with or without adapters.

    Raises:
        EmptySelectionError: there is no hookpoint.
        HookpointError: a layer does not exist.
        IncompatibleDirectionError: the vectors are of another width than the residual stream.
    """
    if not units:
        raise EmptySelectionError("projecting needs at least one layer, got none.")
    plain, found = language_model(model), {}
    width = plain.config.get_text_config(decoder=True).hidden_size
    if others := sorted({vectors.shape[-1] for vectors in units.values()} - {width}):
        raise IncompatibleDirectionError(
            f"a direction has d_model {others[0]}; the model that it is to be projected in has {width}.",
            "It belongs to another model. Extract it with this one.",
        )
    deepest = max(units, key=lambda h: h.order)
    batch = batch.to(input_device(plain))

    def observe(hookpoint: Hookpoint, residual: Tensor) -> None:
        last = residual[batch.last_prompt.to(residual.device)].float()
        # a product and a sum, because autocast would round a matrix product
        found[hookpoint] = (last[:, None] * units[hookpoint].to(last)).sum(-1).cpu()
        if hookpoint == deepest:
            raise StopForward

    sites = _sites(plain, list(units))
    with ExitStack() as stack, torch.no_grad():
        for hookpoint, (module, is_input) in sites.items():
            stack.callback(_hooked(module, hookpoint, is_input, observe).remove)
        with suppress(StopForward):
            plain.base_model(
                input_ids=batch.ids,
                attention_mask=batch.mask.long(),
                position_ids=batch.position_ids,
                use_cache=False,
            )
    return found


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """A context in evaluation mode and without gradients, after which every module's mode is what it was.

    Which weights are trained and the state of torch's random numbers are put back too.
    """
    modes = [(module, module.training) for module in model.modules()]
    trained = [(weight, weight.requires_grad) for weight in model.parameters()]
    devices = sorted({weight.device.index or 0 for weight, _ in trained if weight.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, training in modes:
                module.training = training
            for weight, requires_grad in trained:
                weight.requires_grad_(requires_grad)


def language_model(model: nn.Module) -> PreTrainedModel:
    """The model of transformers inside PEFT's wrapper, adapters in place; a model without a wrapper is itself.

    Raises:
        TrainingError: it is no model of transformers, or PEFT trains a virtual prompt in front of it.
    """
    from peft import PeftModel

    inner: Any = model
    if isinstance(model, PeftModel):
        config = model.active_peft_config
        if config.is_prompt_learning:
            raise TrainingError(
                f"cannot probe a model under {config.peft_type}: what is trained is not in its blocks.",
                "Use adapters inside the blocks, such as LoRA, or train the weights themselves.",
            )
        inner = model.get_base_model()
    if not isinstance(inner, PreTrainedModel):
        raise TrainingError(f"cannot probe a {type(inner).__name__}.", "Expected a model of transformers.")
    return inner


def input_device(model: PreTrainedModel) -> torch.device:
    """Where token ids go in."""
    return next(model.get_input_embeddings().parameters()).device


def has_adapters(model: nn.Module) -> bool:
    """Whether the weights under the adapters are still there to compare with."""
    from peft import PeftModel

    return isinstance(model, PeftModel) or bool(getattr(model, "_hf_peft_config_loaded", False))


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """A context in which the model computes what it did before it got adapters; nothing changes where it has none.

    PEFT sets gradient flags of all active adapters on the way out, so use it inside `undisturbed`.
    """
    from peft import PeftModel

    with ExitStack() as stack:
        if isinstance(model, PeftModel):
            stack.enter_context(model.disable_adapter())
        elif has_adapters(model):
            plain = language_model(model)
            plain.disable_adapters()
            stack.callback(plain.enable_adapters)
        yield


def base_fingerprint(model: nn.Module) -> str:
    """The fingerprint of the weights without adapters: that of the same model before it got any."""
    return fingerprint(_bare(language_model(model)))


def _bare(module: nn.Module) -> nn.Module:
    """The tree of a module with its weights and without what PEFT put in; nothing in it computes."""
    for name in _WRAPPED:
        if name in module._modules:
            return _bare(module.get_submodule(name))
    tree = nn.Module()
    for name, weight in module._parameters.items():
        tree.register_parameter(name, weight)
    for name, value in module._buffers.items():
        tree.register_buffer(name, value, persistent=name not in module._non_persistent_buffers_set)
    for name, child in module._modules.items():
        tree.add_module(name, None if child is None else _bare(child))
    return tree


def _sites(model: PreTrainedModel, hookpoints: Sequence[Hookpoint]) -> dict[Hookpoint, tuple[nn.Module, bool]]:
    """The module of each hookpoint, and whether its input is meant."""
    _, blocks = find_blocks(model)
    found: dict[Hookpoint, tuple[nn.Module, bool]] = {}
    for hookpoint in hookpoints:
        if not 0 <= hookpoint.layer < len(blocks):
            raise HookpointError(f"cannot read {hookpoint} in training.", f"Layers run 0..{len(blocks) - 1}.")
        if hookpoint.stream in ("resid_pre", "resid_post"):
            found[hookpoint] = blocks[hookpoint.layer], hookpoint.stream == "resid_pre"
        else:
            site = find_site(model, hookpoint, type(model).__name__)
            found[hookpoint] = model.get_submodule(site.path), site.is_input
    return found


def _hooked(
    module: nn.Module, hookpoint: Hookpoint, is_input: bool, observe: Callable[[Hookpoint, Tensor], None]
) -> Any:
    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG001
        observe(hookpoint, args[0] if args else kwargs["hidden_states"])

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001
        observe(hookpoint, output[0] if isinstance(output, tuple) else output)

    if is_input:
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)
