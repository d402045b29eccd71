"""Virtual key/value tokens: the same as a cache of transformers filled by hand."""

import pytest
import torch

from persona_interp.errors import IncompatibleDirectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import token_batch
from persona_interp.types import Hookpoint, KVPrefix
from tests.contract.tiny import N_LAYERS, TOLERANCE, Tiny, all_hookpoints, random_prefix, uneven_batch


@pytest.mark.parametrize("n_virtual", [1, 3])
def test_a_prefix_equals_a_cache_filled_by_hand(tiny: Tiny, model: HookedModelBase, n_virtual: int) -> None:
    batch, reads = uneven_batch(), all_hookpoints(["resid_post"])
    prefix = random_prefix(tiny, len(batch), n_virtual=n_virtual)
    made, plain = model.run(batch, read=reads, prefix=prefix), tiny.run(batch, prefix=prefix)
    assert made.logits is not None
    assert torch.equal(made.logits[batch.mask], plain.logits[batch.mask])
    for hookpoint in reads:
        assert torch.equal(made.residuals[hookpoint][batch.mask], plain.streams[hookpoint][batch.mask])
    without = model.run(batch).logits
    assert without is not None
    assert (made.logits - without)[batch.mask].abs().max() > 0.01


def test_each_row_has_its_own_prefix(tiny: Tiny, model: HookedModelBase) -> None:
    """Rows of equal length, so that nothing stands between the virtual token and the text."""
    row = [5, 6, 7, 8]
    prefix = random_prefix(tiny, 2)
    together = model.run(token_batch([row, row]), prefix=prefix).logits
    assert together is not None and (together[0] - together[1]).abs().max() > 0.01
    for i in range(2):
        own = KVPrefix(prefix.keys[:, i : i + 1], prefix.values[:, i : i + 1])
        alone = model.run(token_batch([row]), prefix=own).logits
        assert alone is not None
        torch.testing.assert_close(together[i], alone[0], **TOLERANCE)


def test_padding_behind_a_prefix_changes_nothing(tiny: Tiny, model: HookedModelBase) -> None:
    if tiny.architecture == "gemma3_short_window":
        pytest.skip("a window shorter than the text counts the padding between the virtual token and the text")
    batch = uneven_batch()
    prefix = random_prefix(tiny, len(batch))
    together = model.run(batch, prefix=prefix).logits
    assert together is not None
    for i, mask in enumerate(batch.mask):
        own = KVPrefix(prefix.keys[:, i : i + 1], prefix.values[:, i : i + 1])
        alone = model.run(token_batch([batch.ids[i][mask].tolist()]), prefix=own).logits
        assert alone is not None
        torch.testing.assert_close(together[i, mask], alone[0], **TOLERANCE)


def test_prefixes_pool_and_score_as_they_run(tiny: Tiny, model: HookedModelBase) -> None:
    batch, hookpoint = uneven_batch(), Hookpoint(N_LAYERS - 1)
    prefix = random_prefix(tiny, len(batch))
    pooled = model.run(batch, read=[hookpoint], pool=["response_mean"], outputs="token_logprobs", prefix=prefix)
    read = model.run(batch, read=[hookpoint], prefix=prefix)
    assert read.logits is not None and pooled.token_logprobs is not None
    weights = batch.response[..., None] / batch.response.sum(1)[:, None, None]
    expected = (read.residuals[hookpoint] * weights).sum(1)
    torch.testing.assert_close(pooled.pooled["response_mean"][:, 0], expected, **TOLERANCE)
    picked = read.logits[:, :-1].log_softmax(-1).gather(-1, batch.ids[:, 1:, None])[..., 0] * batch.response[:, 1:]
    torch.testing.assert_close(pooled.token_logprobs[:, 1:], picked, **TOLERANCE)


def test_a_prefix_for_other_rows_is_refused(llama: Tiny, llama_model: HookedModelBase) -> None:
    with pytest.raises(IncompatibleDirectionError) as caught:
        llama_model.run(uneven_batch(), prefix=random_prefix(llama, 2))
    assert str(caught.value) == (
        "a key/value prefix of 2 rows cannot start a batch of 3 rows.\n  Make it with one trait vector a row."
    )
