"""Steering latents: what it says is what the model then computes: in passes, generation and training."""

from typing import Any

import pytest
import torch
from torch import Tensor

from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.errors import ConfigError, IncompatibleDirectionError
from persona_interp.interventions.latents import SteerLatents
from persona_interp.interventions.protocol import Stack
from persona_interp.interventions.record import intervention_record
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.types import Hookpoint
from tests.contract.test_training_hooks import adapted, lora_gradients, train_pass
from tests.contract.tiny import D_MODEL, Tiny, prompt_batch, uneven_batch
from tests.unit.directions.sae.dictionaries import make_sae

READ, WRITE = Hookpoint(1, "mlp_in"), Hookpoint(1, "mlp_out")
KINDS = ("standard", "jumprelu", "gated", "topk", "topk, by norm", "transcoder")
CHOSEN = [2, 7, 11]


def dictionary(kind: str, **changes: Any) -> Dictionary:
    options = {name: changes.pop(name) for name in ("normalize_activations",) if name in changes}
    sae = make_sae(kind, d_in=D_MODEL, **options)
    own = Dictionary(Hookpoint(1), Hookpoint(1), sae.cfg.architecture(), sae.W_dec.float(), "small", "dddd", sae)
    places = (READ, WRITE) if kind == "transcoder" else (Hookpoint(1), Hookpoint(1))
    decoder = own.decoder / own.decoder.norm(dim=-1, keepdim=True) if kind == "topk, by norm" else own.decoder
    plain = {"normalisation": options.get("normalize_activations", "none"), "residual_norm": 4.0}
    return Dictionary(*places, own.kind, decoder, "small", "dddd", sae, **{**plain, **changes})


def found(model: HookedModelBase, made: Dictionary, intervention: SteerLatents | None) -> tuple[Tensor, Tensor]:
    """What is read and what is there where it writes, at the response's positions."""
    batch = uneven_batch()
    edits = {} if intervention is None else intervention.edits
    values = model.run(batch, read=[made.hookpoint, made.writes], edits=edits).residuals
    return values[made.hookpoint][batch.response], values[made.writes][batch.response]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["clamp", "scale", "ablate"])
def test_latents_change_as_said_and_the_error_stays(llama_model: HookedModelBase, kind: str, how: Any) -> None:
    made = dictionary(kind)
    amounts = None if how == "ablate" else [1.5, 0.0, 3.0]
    steering = SteerLatents(made, CHOSEN, amounts, how, last_prompt_token=False)
    steering.check(llama_model)
    read, before = found(llama_model, made, None)
    after = found(llama_model, made, steering)[1]
    latents = made.encode(read)
    given = torch.tensor([0.0] * 3 if amounts is None else amounts)
    wanted = latents.clone()
    wanted[:, CHOSEN] = given if how == "clamp" else latents[:, CHOSEN] * (given if how == "scale" else 0)
    expected = before + made.decode(wanted, like=read) - made.decode(latents, like=read)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("normalisation", ["layer_norm", "constant_norm_rescale"])
def test_what_is_written_is_scaled_as_activations_were(llama_model: HookedModelBase, normalisation: str) -> None:
    made = dictionary("standard", normalize_activations=normalisation)
    read, before = found(llama_model, made, None)
    after = found(llama_model, made, SteerLatents(made, CHOSEN, 2.0, "clamp", last_prompt_token=False))[1]
    latents = made.encode(read)
    wanted = latents.clone()
    wanted[:, CHOSEN] = 2.0
    expected = before + made.decode(wanted, like=read) - made.decode(latents, like=read)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["standard", "topk, by norm", "transcoder"])
def test_amounts_are_added_in_either_unit(llama_model: HookedModelBase, kind: str) -> None:
    made = dictionary(kind)
    before = found(llama_model, made, None)[1]
    units = made.decoder[CHOSEN] / made.decoder[CHOSEN].norm(dim=-1, keepdim=True)
    for intervention, delta in (
        (SteerLatents(made, CHOSEN, 0.5), 0.5 * 4.0 * units.sum(0)),
        (SteerLatents(made, CHOSEN, [1.0, 0.0, -2.0], units="activation"), made.decoder[2] - 2 * made.decoder[11]),
    ):
        after = found(llama_model, made, intervention)[1]
        torch.testing.assert_close(after - before, delta.expand_as(before), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["jumprelu", "topk", "transcoder"])
@pytest.mark.parametrize("how", ["add", "clamp", "ablate"])
def test_cached_generation_equals_repeated_passes(llama_model: HookedModelBase, kind: str, how: Any) -> None:
    made = dictionary(kind)
    steering = SteerLatents(made, CHOSEN, None if how == "ablate" else 3.0, how)
    batch, sampling = prompt_batch(), Sampling(5, temperature=0.0)
    generated = llama_model.generate(batch, sampling=sampling, edits=steering.edits)
    other = llama_model.generate(batch, sampling=sampling)
    assert how == "ablate" or generated.ids != other.ids
    llama_model.supports_cache = False
    try:
        again = llama_model.generate(batch, sampling=sampling, edits=steering.edits)
    finally:
        llama_model.supports_cache = True
    assert again.ids == generated.ids


def test_gradients_flow_through_what_is_encoded(llama_model: HookedModelBase) -> None:
    made = dictionary("jumprelu")
    weight = next(p for n, p in llama_model.module.named_parameters() if "layers.0" in n and p.dim() == 2)
    weight.requires_grad_(True)
    try:
        edits = SteerLatents(made, CHOSEN, 2.0, "scale", span="all").edits
        logits = llama_model.run(uneven_batch(), edits=edits, grad=True).logits
        assert logits is not None
        (gradient,) = torch.autograd.grad(logits.square().mean(), [weight])
    finally:
        weight.requires_grad_(False)
    assert gradient.isfinite().all() and gradient.any()


def test_massive_positions_and_scale_one_leave_everything_as_it_is(llama_model: HookedModelBase) -> None:
    made = dictionary("jumprelu")
    before = found(llama_model, made, None)[1]
    assert torch.equal(found(llama_model, made, SteerLatents(made, CHOSEN, 1.0, "scale"))[1], before)
    small = dictionary("jumprelu", norm_limit=1e-3)
    assert torch.equal(found(llama_model, small, SteerLatents(small, CHOSEN, 9.0, "clamp"))[1], before)


def test_it_stacks_and_says_what_it_does(llama_model: HookedModelBase) -> None:
    made = dictionary("transcoder")
    stack = Stack(SteerLatents(made, [3], 1.0, "clamp"), SteerLatents(made, [4], 0.0, "scale"))
    stack.check(llama_model)
    assert llama_model.run(uneven_batch(), edits=stack.edits).logits is not None
    several = [SteerLatents(made, [3], 1.0), SteerLatents(made, [3], 2.0), SteerLatents(made, [4], 1.0)]
    records = [str(intervention_record(one)) for one in several]
    assert len(set(records)) == 3 and records[0] == str(intervention_record(SteerLatents(made, [3], 1.0)))


@pytest.mark.parametrize(
    ("latents", "options", "what"),
    [
        ([24], {"amounts": 1.0}, "latent 24 does not exist: small has latents 0 to 23"),
        ([3, 3], {"amounts": 1.0}, "latent 3 of small is given twice"),
        ([1, 2], {"amounts": [1.0, 2.0, 3.0]}, r"amounts must be one, or one a latent \(2\), got 3"),
        ([1], {}, "add needs amounts, got none"),
        ([1], {"amounts": 1.0, "how": "ablate"}, "ablating latents takes no amounts"),
        ([1], {"amounts": float("nan")}, "amounts must be"),
        ([1], {"amounts": [float("inf")]}, "amounts"),
        ([], {"amounts": 1.0}, "latents must"),
    ],
)
def test_what_cannot_be_is_refused(latents: list[int], options: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        SteerLatents(dictionary("standard"), latents, **options)


def test_models_and_norms_that_do_not_fit_are_refused(llama_model: HookedModelBase) -> None:
    with pytest.raises(ConfigError, match="mean residual norm where small writes is not known"):
        SteerLatents(dictionary("standard", residual_norm=None), [1], 1.0)
    elsewhere = dictionary("standard", metadata={"weights": "w2-other"})
    with pytest.raises(IncompatibleDirectionError, match="was trained on weights w2-other"):
        SteerLatents(elsewhere, [1], 1.0).check(llama_model)


@pytest.mark.parametrize("kind", ["jumprelu", "topk", "transcoder"])
def test_it_is_there_in_training_and_in_its_backward_pass(llama: Tiny, kind: str) -> None:
    batch, edits = uneven_batch(), SteerLatents(dictionary(kind), CHOSEN, 2.0, "clamp").edits
    expected = llama.hooked("nnsight").run(batch, edits=edits, grad=True).logits
    assert expected is not None
    model = adapted(llama, seed=2).train()
    plain = lora_gradients(model, edits, batch)
    model.enable_input_require_grads()
    model.activation_checkpointing_enable({"use_reentrant": False})
    again = lora_gradients(model, edits, batch)
    assert plain.keys() == again.keys() and all(gradient.isfinite().all() for gradient in plain.values())
    for name, gradient in again.items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-4, atol=1e-6)
    logits, _ = train_pass(adapted(llama), edits, batch)
    torch.testing.assert_close(logits, expected[batch.mask], rtol=1e-4, atol=1e-4)
