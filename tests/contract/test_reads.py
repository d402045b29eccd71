"""Logits and residual streams equal those of the plain transformers model."""

from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from persona_interp.errors import ModelError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import Backend, load_model
from persona_interp.models.tokens import token_batch
from persona_interp.types import STREAMS, ForwardPass, Hookpoint, Stream, TokenBatch
from tests.contract.tiny import N_LAYERS, TOLERANCE, Tiny, all_hookpoints, uneven_batch, words


def test_logits_are_bit_equal(tiny: Tiny, model: HookedModelBase) -> None:
    batch = uneven_batch()
    logits = model.run(batch).logits
    assert logits is not None
    assert torch.equal(logits[batch.mask], tiny.run(batch).logits[batch.mask])


def test_resid_post_is_the_next_hidden_state(tiny: Tiny, model: HookedModelBase) -> None:
    batch = uneven_batch()
    reads = all_hookpoints(["resid_pre", "resid_post"])
    residuals, plain = model.run(batch, read=reads).residuals, tiny.run(batch)
    for layer in range(N_LAYERS):
        before, after = residuals[Hookpoint(layer, "resid_pre")], residuals[Hookpoint(layer)]
        assert torch.equal(before[batch.mask], plain.hidden_states[layer][batch.mask])
        assert torch.equal(after[batch.mask], plain.streams[Hookpoint(layer)][batch.mask])
        if layer < N_LAYERS - 1:
            assert torch.equal(after[batch.mask], plain.hidden_states[layer + 1][batch.mask])


def test_last_hidden_state_is_no_residual(tiny: Tiny, model: HookedModelBase) -> None:
    """transformers' last entry is behind the final norm; `resid_post` of the last block is before it."""
    batch, last = uneven_batch(), Hookpoint(N_LAYERS - 1)
    read = model.run(batch, read=[last]).residuals[last]
    assert (read - tiny.run(batch).hidden_states[-1])[batch.mask].abs().max() > 0.01


@pytest.mark.parametrize("stream", STREAMS)
def test_each_stream_equals_the_plain_one(tiny: Tiny, model: HookedModelBase, stream: str) -> None:
    batch = uneven_batch()
    reads = all_hookpoints([cast(Stream, stream)])
    residuals, plain = model.run(batch, read=reads).residuals, tiny.run(batch).streams
    assert list(residuals) == reads
    for hookpoint in reads:
        torch.testing.assert_close(residuals[hookpoint][batch.mask], plain[hookpoint][batch.mask], **TOLERANCE)


def test_streams_add_up(model: HookedModelBase) -> None:
    batch = uneven_batch()
    residuals = model.run(batch, read=all_hookpoints()).residuals
    for layer in range(N_LAYERS):
        parts = [residuals[Hookpoint(layer, s)] for s in STREAMS if s != "resid_post"]
        total, after = torch.stack(parts).sum(0), residuals[Hookpoint(layer)]
        torch.testing.assert_close(total[batch.mask], after[batch.mask], **TOLERANCE)


def test_padding_changes_nothing(model: HookedModelBase) -> None:
    row, hookpoint = words(5, 7), Hookpoint(1)
    alone = model.run(token_batch([row]), read=[hookpoint])
    padded = model.run(token_batch([row, words(12, 8)]), read=[hookpoint])
    assert alone.logits is not None and padded.logits is not None
    torch.testing.assert_close(padded.logits[0, -5:], alone.logits[0], **TOLERANCE)
    torch.testing.assert_close(padded.residuals[hookpoint][0, -5:], alone.residuals[hookpoint][0], **TOLERANCE)


def test_what_stands_in_the_padding_changes_nothing(model: HookedModelBase) -> None:
    rows, hookpoint = [words(5, 7), words(12, 8)], Hookpoint(N_LAYERS - 1)
    reads = [model.run(token_batch(rows, pad_id=pad), read=[hookpoint]).residuals[hookpoint] for pad in (0, 17)]
    assert torch.equal(reads[0][0, -5:], reads[1][0, -5:])


def test_a_batch_equals_its_singles(model: HookedModelBase) -> None:
    batch, reads = uneven_batch(), all_hookpoints(["resid_post"])
    together = model.run(batch, read=reads)
    assert together.logits is not None
    for row, mask in enumerate(batch.mask):
        alone = model.run(token_batch([batch.ids[row][mask].tolist()]), read=reads)
        assert alone.logits is not None
        torch.testing.assert_close(together.logits[row, mask], alone.logits[0], **TOLERANCE)
        for hookpoint in reads:
            torch.testing.assert_close(
                together.residuals[hookpoint][row, mask], alone.residuals[hookpoint][0], **TOLERANCE
            )


def test_reading_changes_no_logits(model: HookedModelBase) -> None:
    batch = uneven_batch()
    plain, read = model.run(batch).logits, model.run(batch, read=all_hookpoints(["resid_pre", "resid_post"])).logits
    assert plain is not None and read is not None
    assert torch.equal(plain, read)


def test_backends_name_the_same_weights(tiny: Tiny) -> None:
    bridge, nnsight = tiny.hooked("transformer_lens").provenance, tiny.hooked("nnsight").provenance
    assert bridge.weights == nnsight.weights
    assert (bridge.backend, nnsight.backend) == ("transformer_lens", "nnsight")
    assert (bridge.n_layers, bridge.d_model, bridge.dtype) == (nnsight.n_layers, nnsight.d_model, "float32")


def test_the_self_check_refuses_wrong_reads(llama: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from persona_interp.errors import ModelError
    from persona_interp.models import nnsight as backend
    from persona_interp.models.blocks import Site

    monkeypatch.setattr(backend, "find_site", lambda *_: Site("model.layers.1"))
    with pytest.raises(ModelError, match=r"differently from transformers\.\n  It should equal hidden_states\[\d\]"):
        load_model(llama.folder, "nnsight", device="cpu")


@pytest.mark.parametrize("backend", ["transformer_lens", "nnsight"])
@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_the_self_check_reads_every_block_the_last_one_too(
    tiny: Tiny, backend: Backend, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = HookedModelBase.run

    def corrupted(model: HookedModelBase, batch: TokenBatch, **options: Any) -> ForwardPass:
        found = run(model, batch, **options)
        wrong = {h: 3 * r + 1 if h == Hookpoint(layer) else r for h, r in found.residuals.items()}
        return replace(found, residuals=wrong)

    load_model(tiny.folder, backend, device="cpu")
    monkeypatch.setattr(HookedModelBase, "run", corrupted)
    with pytest.raises(ModelError, match=f"resid_post at layer {layer} of .* differently from transformers"):
        load_model(tiny.folder, backend, device="cpu")
