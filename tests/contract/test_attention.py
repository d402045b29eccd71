"""Attention patterns and values equal transformers' own, behind every backend, and what heads move is all they give."""

from collections.abc import Callable

import pytest
import torch

from persona_interp.errors import HookpointError
from persona_interp.models.attention import read_attention
from persona_interp.types import Hookpoint
from tests.contract.tiny import BACKENDS, N_LAYERS, TOLERANCE, Tiny, uneven_batch


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", ["llama", "gemma3_short_window", "qwen2", "gpt2"])
def test_patterns_are_those_of_transformers(architecture: str, backend: str, make_tiny: Callable[[str], Tiny]) -> None:
    tiny, batch = make_tiny(architecture), uneven_batch()
    model = tiny.hooked(backend)
    before = model.config._attn_implementation
    found = read_attention(model, batch, range(N_LAYERS))
    assert model.config._attn_implementation == before
    tiny.plain.set_attn_implementation("eager")
    plain = tiny.plain(
        input_ids=batch.ids, attention_mask=batch.mask.long(), position_ids=batch.position_ids, output_attentions=True
    ).attentions
    for layer, one in found.items():
        real = batch.mask[:, None, :, None] & batch.mask[:, None, None, :]
        torch.testing.assert_close(one.pattern, plain[layer] * real, **TOLERANCE)
        sums = one.pattern.sum(-1).transpose(1, 2)[batch.mask]
        torch.testing.assert_close(sums, torch.ones_like(sums), **TOLERANCE)
        assert not one.pattern[~real.expand_as(one.pattern)].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", ["llama", "gemma3_short_window", "qwen2", "gpt2"])
def test_what_all_sources_give_is_the_whole_output(
    architecture: str, backend: str, make_tiny: Callable[[str], Tiny]
) -> None:
    model, batch = make_tiny(architecture).hooked(backend), uneven_batch()
    outputs = model.run(batch, read=[Hookpoint(i, "head_out") for i in range(N_LAYERS)]).residuals
    half = torch.arange(batch.ids.shape[1]).expand_as(batch.ids) % 2 == 0
    for layer, one in read_attention(model, batch, range(N_LAYERS)).items():
        whole = one.moved(batch.mask)
        torch.testing.assert_close(whole.flatten(1), outputs[Hookpoint(layer, "head_out")][:, -1], **TOLERANCE)
        parts = one.moved(batch.mask & half) + one.moved(batch.mask & ~half)
        torch.testing.assert_close(parts, whole, **TOLERANCE)


def test_a_layer_that_does_not_exist_is_refused(llama: Tiny) -> None:
    with pytest.raises(HookpointError, match=r"cannot read attention of layer 3 .*\n  Layers run 0..2"):
        read_attention(llama.hooked("nnsight"), uneven_batch(), [3])
