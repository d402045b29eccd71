"""Reading a model between two training steps: the right numbers, the right base, and no trace."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM

from persona_interp.errors import EmptySelectionError, HookpointError, IncompatibleDirectionError, TrainingError
from persona_interp.models.blocks import find_blocks
from persona_interp.models.identity import fingerprint
from persona_interp.models.probe import adapters_off, base_fingerprint, language_model, plain_projections, undisturbed
from persona_interp.types import Hookpoint
from tests.contract.tiny import D_MODEL, N_LAYERS, Tiny, prompt_batch

# PEFT 0.21 still asks transformers 5.23 by the old name
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
HOOKPOINTS = [Hookpoint(0), Hookpoint(1, "resid_pre"), Hookpoint(1, "mlp_out"), Hookpoint(2)]


def units(seed: int = 0) -> dict[Hookpoint, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {h: nn.functional.normalize(torch.randn(2, D_MODEL, generator=generator), dim=-1) for h in HOOKPOINTS}


def lora(tiny: Tiny, **options: Any) -> PeftModel:
    """The tiny model with adapters that are not zero."""
    model = get_peft_model(plain(tiny), LoraConfig(target_modules="all-linear", **options))
    for name, weight in model.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            nn.init.normal_(weight)
    assert isinstance(model, PeftModel)
    return model


def plain(tiny: Tiny) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny.folder)


def transformers_lora(tiny: Tiny) -> Any:
    """Adapters put in by transformers itself, without PEFT's wrapper."""
    model = plain(tiny)
    model.add_adapter(LoraConfig(target_modules=["q_proj", "up_proj"]))
    return model


ADAPTED: dict[str, Callable[[Tiny], Any]] = {
    "lora": lora,
    "dora": lambda tiny: lora(tiny, use_dora=True),
    "whole modules": lambda tiny: lora(tiny, modules_to_save=["lm_head", "embed_tokens"]),
    "new tokens": lambda tiny: lora(tiny, trainable_token_indices=[5, 6]),
    "by transformers": transformers_lora,
    "none": plain,
}


def test_projections_are_those_of_the_residuals_that_the_whole_pass_has(small: Tiny) -> None:
    batch = prompt_batch()
    whole = small.run(batch).streams
    found = plain_projections(small.plain, batch, units())
    assert list(found) == HOOKPOINTS
    for hookpoint, unit in units().items():
        torch.testing.assert_close(found[hookpoint], whole[hookpoint][:, -1] @ unit.T, rtol=1e-4, atol=1e-5)


def test_the_pass_ends_behind_the_deepest_hookpoint(small: Tiny) -> None:
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(small.blocks)
    ]
    plain_projections(small.plain, prompt_batch(), {Hookpoint(1, "resid_pre"): torch.eye(D_MODEL)[:1]})
    for handle in handles:
        handle.remove()
    assert ran == [0]


def test_blocks_are_found_inside_peft(small: Tiny) -> None:
    path, blocks = find_blocks(lora(small))
    assert len(blocks) == N_LAYERS and path.endswith("model.layers")


@pytest.mark.parametrize("kind", ADAPTED)
def test_the_fingerprint_of_the_base_is_that_of_the_model_before_it_got_adapters(small: Tiny, kind: str) -> None:
    adapted = ADAPTED[kind](small)
    assert base_fingerprint(adapted) == fingerprint(small.plain)
    if kind != "none":
        assert fingerprint(adapted) != fingerprint(small.plain)


def test_the_fingerprint_of_another_base_differs(small: Tiny) -> None:
    adapted = lora(small)
    with torch.no_grad():
        adapted.get_base_model().model.layers[1].mlp.up_proj.base_layer.weight[0, 0] += 1  # pyright: ignore
    assert base_fingerprint(adapted) != fingerprint(small.plain)


@pytest.mark.parametrize("kind", ADAPTED)
def test_with_adapters_off_the_model_is_its_base(small: Tiny, kind: str) -> None:
    adapted = ADAPTED[kind](small)
    base = plain_projections(small.plain, prompt_batch(), units())
    with undisturbed(adapted):
        before = plain_projections(adapted, prompt_batch(), units())
        with adapters_off(adapted):
            off = plain_projections(adapted, prompt_batch(), units())
        after = plain_projections(adapted, prompt_batch(), units())
    for hookpoint in HOOKPOINTS:
        assert torch.equal(off[hookpoint], base[hookpoint])
        assert torch.equal(after[hookpoint], before[hookpoint])
    if kind in ("lora", "dora", "whole modules"):
        assert not torch.allclose(before[Hookpoint(2)], base[Hookpoint(2)])


@pytest.mark.parametrize("fails", [False, True])
def test_modes_gradients_and_random_numbers_are_as_they_were(small: Tiny, fails: bool) -> None:
    adapted = lora(small, lora_dropout=0.5).train()
    adapted.get_base_model().get_submodule("lm_head").eval()  # one that somebody chose to keep in another mode
    frozen = next(weight for name, weight in adapted.named_parameters() if "lora_A" in name)
    frozen.requires_grad_(False)  # one that PEFT would set to be trained again
    modes = [module.training for module in adapted.modules()]
    flags = [weight.requires_grad for weight in adapted.parameters()]
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    try:
        with undisturbed(adapted), adapters_off(adapted):
            assert not any(module.training for module in adapted.modules())
            assert not torch.is_grad_enabled()
            torch.rand(7)
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert torch.is_grad_enabled()
    assert [module.training for module in adapted.modules()] == modes
    assert [weight.requires_grad for weight in adapted.parameters()] == flags
    assert torch.equal(torch.rand(3), expected)


def test_no_hook_is_left_after_an_exception(small: Tiny) -> None:
    model = plain(small)

    def fail(*_: Any) -> None:
        raise RuntimeError("the block fails")

    handle = model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="the block fails"):
        plain_projections(model, prompt_batch(), units())
    handle.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_layers_that_do_not_exist_are_refused_and_leave_no_hook(small: Tiny) -> None:
    model = plain(small)
    with pytest.raises(HookpointError, match=r"Layers run 0\.\.2"):
        plain_projections(model, prompt_batch(), {**units(), Hookpoint(3): torch.eye(D_MODEL)[:1]})
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with pytest.raises(EmptySelectionError):
        plain_projections(model, prompt_batch(), {})


def test_what_is_not_in_the_blocks_cannot_be_probed(small: Tiny) -> None:
    prompts = get_peft_model(plain(small), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(TrainingError, match="PROMPT_TUNING"):
        language_model(prompts)
    with pytest.raises(TrainingError, match="cannot probe a Linear"):
        language_model(nn.Linear(2, 2))


def test_vectors_of_another_width_are_refused(small: Tiny) -> None:
    with pytest.raises(IncompatibleDirectionError, match="a direction has d_model 16; the model .* has 32"):
        plain_projections(small.plain, prompt_batch(), {Hookpoint(1): torch.ones(1, 16)})
