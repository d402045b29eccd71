"""Edits touch exactly the positions of their span, and do the same behind every backend."""

import pytest
import torch

from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import STREAMS, Edit, Hookpoint, Span, Stream
from tests.contract.tiny import BACKENDS, N_LAYERS, TOLERANCE, Tiny, all_hookpoints, shifting, uneven_batch

SPANS: list[tuple[Span, bool]] = [
    ("all", True),
    ("prompt", True),
    ("response", True),
    ("response", False),
    ("last", True),
]


@pytest.mark.parametrize(("span", "last_prompt_token"), SPANS)
def test_an_edit_changes_exactly_its_span(model: HookedModelBase, span: Span, last_prompt_token: bool) -> None:
    batch, hookpoint = uneven_batch(), Hookpoint(1)
    edits = {hookpoint: (Edit(shifting(0), span, last_prompt_token),)}
    before = model.run(batch, read=[hookpoint]).residuals[hookpoint]
    after = model.run(batch, read=[hookpoint], edits=edits).residuals[hookpoint]
    real_prompt = batch.mask & ~batch.response
    last = torch.zeros_like(batch.mask)
    for row in range(len(batch)):
        last[row, real_prompt[row].nonzero().max()] = True
    expected = {"all": batch.mask, "prompt": real_prompt, "last": last, "response": batch.response}[span]
    if span == "response" and last_prompt_token:
        expected = expected | last
    changed = (before != after).any(-1)
    assert torch.equal(changed, expected)
    assert not (changed & ~batch.mask).any()


@pytest.mark.parametrize(("span", "last_prompt_token"), SPANS)
def test_edited_logits_equal_the_plain_ones(
    tiny: Tiny, model: HookedModelBase, span: Span, last_prompt_token: bool
) -> None:
    batch = uneven_batch()
    edits = {Hookpoint(i): (Edit(shifting(i), span, last_prompt_token),) for i in range(N_LAYERS)}
    logits, plain = model.run(batch, edits=edits).logits, tiny.run(batch, edits=edits).logits
    assert logits is not None
    torch.testing.assert_close(logits[batch.mask], plain[batch.mask], **TOLERANCE)
    unedited = model.run(batch).logits
    assert unedited is not None
    assert (logits - unedited)[batch.mask].abs().max() > 0.01


@pytest.mark.parametrize("stream", STREAMS)
def test_each_stream_can_be_edited(tiny: Tiny, stream: Stream) -> None:
    batch = uneven_batch()
    edits = {h: (Edit(shifting(h.layer), "response"),) for h in all_hookpoints([stream])}
    plain = tiny.run(batch, edits=edits).logits[batch.mask]
    for backend in BACKENDS:
        logits = tiny.hooked(backend).run(batch, edits=edits).logits
        assert logits is not None
        torch.testing.assert_close(logits[batch.mask], plain, **TOLERANCE)


def test_several_edits_apply_in_order(model: HookedModelBase) -> None:
    batch, hookpoint = uneven_batch(), Hookpoint(0)
    double, shift = Edit(lambda residual, mask: torch.where(mask[..., None], 2 * residual, residual)), Edit(shifting(0))
    read = model.run(batch, read=[hookpoint]).residuals[hookpoint]
    for order in [(double, shift), (shift, double)]:
        expected = read
        for edit in order:
            expected = edit.function(expected, batch.mask)  # pyright: ignore[reportCallIssue]
        got = model.run(batch, read=[hookpoint], edits={hookpoint: order}).residuals[hookpoint]
        assert torch.equal(got[batch.mask], expected[batch.mask])


@pytest.mark.parametrize("stream", ["resid_pre", "resid_post"])
def test_coefficient_zero_is_bit_identical(model: HookedModelBase, stream: Stream) -> None:
    batch = uneven_batch()
    plain = model.run(batch).logits
    assert plain is not None
    for function in (shifting(0, scale=0.0), lambda residual, mask: residual):  # noqa: ARG005
        edits = {h: (Edit(function),) for h in all_hookpoints([stream])}
        logits = model.run(batch, edits=edits).logits
        assert logits is not None
        assert torch.equal(logits[batch.mask], plain[batch.mask])


def test_no_edit_at_a_hookpoint_taps_nothing(model: HookedModelBase) -> None:
    batch = uneven_batch()
    plain, empty = model.run(batch).logits, model.run(batch, edits={Hookpoint(0): ()}).logits
    assert plain is not None and empty is not None
    assert torch.equal(plain, empty)


def test_an_edit_with_a_trainable_tensor_works_without_gradients(model: HookedModelBase) -> None:
    """Steering with a parameter that happens to require gradients needs no `grad=True`."""
    scale = torch.tensor(1.5, requires_grad=True)
    edits = {Hookpoint(0): (Edit(lambda residual, mask: residual * (1 + mask[..., None] * (scale - 1))),)}
    logits = model.run(uneven_batch(), edits=edits).logits
    assert logits is not None and not logits.requires_grad
