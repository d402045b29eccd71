"""Virtual key/value tokens: the same as a cache of transformers filled by hand."""

import pytest
import torch

from persona_interp.errors import ContextLengthError, IncompatibleDirectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import POOLINGS, Edit, Edits, Hookpoint, KVPrefix
from tests.contract.tiny import (
    N_LAYERS,
    PAD,
    TOLERANCE,
    Tiny,
    all_hookpoints,
    behind_prefix,
    prompt_batch,
    prompts_behind_prefix,
    random_prefix,
    shifting,
    uneven_batch,
    words,
)


def repeated(prefix: KVPrefix, n_rows: int) -> KVPrefix:
    """The same virtual tokens in so many rows."""
    return KVPrefix(prefix.keys.repeat(1, n_rows, 1, 1, 1), prefix.values.repeat(1, n_rows, 1, 1, 1))


@pytest.mark.parametrize("n_virtual", [1, 3])
def test_a_prefix_equals_a_cache_filled_by_hand(tiny: Tiny, model: HookedModelBase, n_virtual: int) -> None:
    batch, reads = behind_prefix(tiny), all_hookpoints(["resid_post"])
    prefix = random_prefix(tiny, len(batch), n_virtual=n_virtual)
    made, plain = model.run(batch, read=reads, prefix=prefix), tiny.run(batch, prefix=prefix)
    assert made.logits is not None
    assert torch.equal(made.logits[batch.mask], plain.logits[batch.mask])
    for hookpoint in reads:
        assert torch.equal(made.residuals[hookpoint][batch.mask], plain.streams[hookpoint][batch.mask])
    without = model.run(batch).logits
    assert without is not None
    assert (made.logits - without)[batch.mask].abs().max() > 0.01


def test_padding_behind_a_prefix_that_a_window_would_count_is_refused(tiny: Tiny, model: HookedModelBase) -> None:
    prefix = random_prefix(tiny, 1)
    says = r"unequal length behind a key/value prefix do not fit a sliding window.*\n.*up to 14 .* holds 6, padding"
    if tiny.short_window:
        with pytest.raises(ContextLengthError, match=says):
            model.run(uneven_batch(), prefix=prefix)
        with pytest.raises(ContextLengthError, match=says.replace("14", "13")):
            model.generate(prompt_batch(), sampling=Sampling(3), prefix=prefix)
        short = token_batch([[5, 6], [5, 6, 7]], pad_id=PAD)
        model.generate(short, sampling=Sampling(2), prefix=prefix)  # fits the window, padding included
    else:
        model.run(uneven_batch(), prefix=prefix)


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
    batch = behind_prefix(tiny)
    prefix = random_prefix(tiny, len(batch))
    together = model.run(batch, prefix=prefix).logits
    assert together is not None
    for i, mask in enumerate(batch.mask):
        own = KVPrefix(prefix.keys[:, i : i + 1], prefix.values[:, i : i + 1])
        alone = model.run(token_batch([batch.ids[i][mask].tolist()]), prefix=own).logits
        assert alone is not None
        torch.testing.assert_close(together[i, mask], alone[0], **TOLERANCE)


def test_prefixes_pool_and_score_as_they_run(tiny: Tiny, model: HookedModelBase) -> None:
    batch, hookpoint = behind_prefix(tiny), Hookpoint(N_LAYERS - 1)
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
        "a key/value prefix of 2 rows cannot start a batch of 3 rows.\n"
        "  Make it with one trait vector for all rows, or with one a row."
    )


@pytest.mark.parametrize("n_virtual", [1, 3])
def test_one_row_serves_a_whole_batch(tiny: Tiny, model: HookedModelBase, n_virtual: int) -> None:
    batch = behind_prefix(tiny)
    prefix = random_prefix(tiny, 1, n_virtual=n_virtual)
    made, plain = model.run(batch, prefix=prefix).logits, tiny.run(batch, prefix=repeated(prefix, len(batch))).logits
    assert made is not None
    assert torch.equal(made[batch.mask], plain[batch.mask])


def test_rows_that_share_a_prefix_and_a_beginning_are_computed_once_to_the_same_end(
    tiny: Tiny, model: HookedModelBase
) -> None:
    beginning, n_passed = words(12, 1), []
    prompts, lengths = (
        [[*beginning, *words(2, k)] for k in (2, 2, 3, 3)],
        (3,) * 4 if tiny.short_window else (3, 4, 5, 6),
    )
    batch = token_batch(prompts, [words(n, 40 + i) for i, n in enumerate(lengths)], pad_id=PAD)
    prefix, read = random_prefix(tiny, 1), [Hookpoint(1)]
    count = {Hookpoint(0): (Edit(lambda residual, mask: n_passed.append(int(mask.sum())) or residual),)}
    shared = model.run(batch, read=read, pool=POOLINGS, outputs="token_logprobs", prefix=prefix, edits=count)
    total, n_passed[:] = sum(n_passed), []
    alone = model.run(
        batch, read=read, pool=POOLINGS, outputs="token_logprobs", prefix=repeated(prefix, len(batch)), edits=count
    )
    assert sum(n_passed) == int(batch.mask.sum())
    assert (total < sum(n_passed)) == (not tiny.short_window)
    assert shared.token_logprobs is not None and alone.token_logprobs is not None
    torch.testing.assert_close(shared.token_logprobs, alone.token_logprobs, **TOLERANCE)
    for pooling in POOLINGS:
        torch.testing.assert_close(shared.pooled[pooling], alone.pooled[pooling], **TOLERANCE)


def test_samples_of_a_row_share_its_prefix(tiny: Tiny, model: HookedModelBase) -> None:
    """Several samples of each prompt, whether virtual tokens are shared or not, are those of one row at a time."""
    batch, sampling = prompts_behind_prefix(tiny), Sampling(max_new_tokens=12, n_samples=3, seed=5)
    for prefix in (random_prefix(tiny, 1), random_prefix(tiny, len(batch))):
        together = model.generate(batch, sampling=sampling, prefix=prefix, read=[Hookpoint(1)], pool=POOLINGS)
        for i, mask in enumerate(batch.mask):
            own = slice(i, i + 1) if prefix.keys.shape[1] > 1 else slice(None)
            alone = model.generate(
                token_batch([batch.ids[i][mask].tolist()]),
                sampling=sampling,
                prefix=KVPrefix(prefix.keys[:, own], prefix.values[:, own]),
                read=[Hookpoint(1)],
                pool=POOLINGS,
            )
            assert alone.ids == together.ids[3 * i : 3 * i + 3]
            for pooling in POOLINGS:
                ours = together.pooled[pooling][3 * i : 3 * i + 3]
                torch.testing.assert_close(alone.pooled[pooling], ours, equal_nan=True, **TOLERANCE)


def test_a_shared_prefix_generates_what_repeated_ones_do(tiny: Tiny, model: HookedModelBase) -> None:
    sampling, prefix = Sampling(max_new_tokens=12, n_samples=2, seed=5), random_prefix(tiny, 1)
    shared = model.generate(prompts_behind_prefix(tiny), sampling=sampling, prefix=prefix)
    assert shared.ids == model.generate(prompts_behind_prefix(tiny), sampling=sampling, prefix=repeated(prefix, 3)).ids
    assert shared.ids != model.generate(prompts_behind_prefix(tiny), sampling=sampling).ids


def test_a_prefix_and_edits_act_together(tiny: Tiny, model: HookedModelBase) -> None:
    batch = behind_prefix(tiny)
    edits: Edits = {Hookpoint(1): (Edit(shifting(1, scale=1.0), "response"),)}
    prefix = random_prefix(tiny, len(batch))
    made = model.run(batch, edits=edits, prefix=prefix).logits
    assert made is not None
    assert torch.equal(made[batch.mask], tiny.run(batch, edits=edits, prefix=prefix).logits[batch.mask])
    for other in (model.run(batch, edits=edits).logits, model.run(batch, prefix=prefix).logits):
        assert other is not None and (made - other)[batch.response].abs().max() > 0.01


def test_a_prefix_in_another_dtype_becomes_the_models(llama: Tiny, llama_model: HookedModelBase) -> None:
    prefix = random_prefix(llama, 1)
    double = KVPrefix(prefix.keys.double(), prefix.values.double())
    ours, wide = (llama_model.run(uneven_batch(), prefix=p).logits for p in (prefix, double))
    assert ours is not None and wide is not None and torch.equal(ours, wide)
