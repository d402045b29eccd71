"""Gradients flow through edits and prefixes, and agree with those of the plain model."""

import pytest
import torch
from torch import Tensor

from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import Edit, Hookpoint, KVPrefix, Stream, TokenBatch
from tests.contract.tiny import D_MODEL, N_LAYERS, TOLERANCE, Tiny, behind_prefix, random_prefix, uneven_batch


def loss(logits: Tensor | None, batch: TokenBatch) -> Tensor:
    assert logits is not None
    picked = logits[:, :-1].log_softmax(-1).gather(-1, batch.ids[:, 1:, None])[..., 0]
    return -(picked * batch.response[:, 1:]).sum() / batch.response.sum()


@pytest.mark.parametrize("stream", ["resid_pre", "attn_out", "mlp_out", "resid_post"])
def test_gradients_flow_through_edits(tiny: Tiny, model: HookedModelBase, stream: Stream) -> None:
    batch, gradients = uneven_batch(), []
    for run in (model, tiny):
        vector = torch.full((D_MODEL,), 0.1, requires_grad=True)
        edit = Edit(lambda residual, mask, v=vector: residual + mask[..., None] * v, "response")
        loss(run.run(batch, edits={Hookpoint(1, stream): (edit,)}, grad=True).logits, batch).backward()
        assert vector.grad is not None
        gradients.append(vector.grad)
    assert gradients[0].norm() > 1e-3
    torch.testing.assert_close(*gradients, **TOLERANCE)


def test_gradients_flow_through_prefixes(tiny: Tiny, model: HookedModelBase) -> None:
    batch, gradients = behind_prefix(tiny), []
    for run in (model, tiny):
        made = random_prefix(tiny, len(batch))
        prefix = KVPrefix(made.keys.clone().requires_grad_(), made.values.clone().requires_grad_())
        loss(run.run(batch, prefix=prefix, grad=True).logits, batch).backward()
        assert prefix.keys.grad is not None and prefix.values.grad is not None
        gradients.append((prefix.keys.grad, prefix.values.grad))
    for ours, plain in zip(*gradients, strict=True):
        used = ours.flatten(1).norm(dim=1) > 1e-5
        assert used[1] and (used.all() or tiny.short_window)
        torch.testing.assert_close(ours, plain, **TOLERANCE)


def test_gradients_flow_from_reads(model: HookedModelBase) -> None:
    """A loss on residuals, as a probe or a penalty on a projection has it."""
    vector, hookpoint = torch.zeros(D_MODEL, requires_grad=True), Hookpoint(N_LAYERS - 1)
    edits = {Hookpoint(0): (Edit(lambda residual, mask: residual + mask[..., None] * vector),)}
    model.run(uneven_batch(), read=[hookpoint], edits=edits, grad=True).residuals[hookpoint].square().mean().backward()
    assert vector.grad is not None and vector.grad.norm() > 1e-3


def test_without_grad_nothing_is_tracked(model: HookedModelBase) -> None:
    made = model.run(uneven_batch(), read=[Hookpoint(0)])
    assert made.logits is not None
    assert not made.logits.requires_grad and not made.residuals[Hookpoint(0)].requires_grad
