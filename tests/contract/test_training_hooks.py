"""Edits and reads of a model that is being trained are those of `run`, with adapters and without."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from persona_interp.directions.direction import Direction
from persona_interp.errors import HookpointError
from persona_interp.interventions.protocol import Intervention, Stack
from persona_interp.interventions.residual import Ablate, Add, Cap
from persona_interp.models.adapters import without_peft_noise
from persona_interp.models.training import TrainingHooks, check_layers
from persona_interp.types import SPANS, Edit, Edits, Hookpoint, Span, TokenBatch
from tests.contract.tiny import D_MODEL, N_LAYERS, PAD, TOLERANCE, Tiny, all_hookpoints, shifting, uneven_batch
from tests.small import direction

PLACES = (Hookpoint(0, "resid_pre"), Hookpoint(1, "attn_out"), Hookpoint(1, "mlp_out"), Hookpoint(2))
NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}


def trainable(tiny: Tiny) -> Any:
    """A copy of the plain model whose weights are trained, without dropout."""
    changes = NO_DROPOUT if tiny.architecture == "gpt2" else {}
    return AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32, **changes).eval()


def adapted(tiny: Tiny, *, seed: int | None = None) -> Any:
    """The model with adapters that do nothing yet, or with random ones."""
    experts = hasattr(tiny.plain.config, "num_experts_per_tok")  # whose weights are no linear layers
    modules = ["q_proj", "v_proj"] if experts else "all-linear"
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=modules, fan_in_fan_out=tiny.architecture == "gpt2")
    with without_peft_noise():
        made = get_peft_model(trainable(tiny), config)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in made.parameters():
                if weight.requires_grad:
                    weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
    return made


def right_padded(values: Tensor, mask: Tensor, fill: float = 0) -> Tensor:
    """Rows of a left-padded batch with their padding moved to the right."""
    moved = torch.full_like(values, fill)
    for i, real in enumerate(mask):
        moved[i, : int(real.sum())] = values[i, real]
    return moved


def training_inputs(batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and response as training has them."""
    return (
        right_padded(batch.ids, batch.mask, PAD),
        right_padded(batch.mask.long(), batch.mask),
        right_padded(batch.response, batch.mask, False),
    )


def train_pass(model: nn.Module, edits: Edits, batch: TokenBatch, **hooks: Any) -> tuple[Tensor, dict]:
    """Logits of a pass under hooks, and what was read, both without padding, in the order of the rows."""
    ids, mask, response = training_inputs(batch)
    with TrainingHooks(model, edits, **hooks).attached() as attached, attached.batch(ids, mask, response):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        read = {hookpoint: residual[mask.bool()] for hookpoint, residual in attached.residuals.items()}
    return logits[mask.bool()], read


def answer_loss(logits: Tensor, batch: TokenBatch) -> Tensor:
    """Cross-entropy of the response tokens, from logits without padding."""
    answered = batch.response | batch.last_prompt
    predicting = answered & ~(batch.response & (torch.arange(batch.ids.shape[1]) == batch.ids.shape[1] - 1))
    return torch.nn.functional.cross_entropy(logits[predicting[batch.mask]], batch.ids[batch.response])


def loud() -> Direction:
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(N_LAYERS, D_MODEL, generator=generator)
    return direction(vectors, norms=torch.full((N_LAYERS,), 4.0))


def shifts(span: Span, *, last_prompt_token: bool = True) -> Edits:
    return {place: (Edit(shifting(i), span, last_prompt_token),) for i, place in enumerate(PLACES)}


@pytest.mark.parametrize("span", SPANS)
def test_edits_equal_those_of_run(tiny: Tiny, span: Span) -> None:
    batch, reads = uneven_batch(), all_hookpoints()
    expected = tiny.hooked("nnsight").run(batch, read=reads, edits=shifts(span), grad=True)
    assert expected.logits is not None
    for model in (trainable(tiny), adapted(tiny)):
        logits, read = train_pass(model, shifts(span), batch, read=reads)
        torch.testing.assert_close(logits, expected.logits[batch.mask], **TOLERANCE)
        for hookpoint in reads:
            torch.testing.assert_close(read[hookpoint], expected.residuals[hookpoint][batch.mask], **TOLERANCE)


def test_responses_may_leave_out_the_last_prompt_token(llama: Tiny) -> None:
    batch, edits = uneven_batch(), shifts("response", last_prompt_token=False)
    expected = llama.hooked("nnsight").run(batch, edits=edits, grad=True).logits
    assert expected is not None
    logits, _ = train_pass(adapted(llama), edits, batch)
    torch.testing.assert_close(logits, expected[batch.mask], **TOLERANCE)


def test_every_answer_of_a_dialogue_is_a_response(llama: Tiny) -> None:
    """Two answers in a row: each has a last prompt token of its own."""
    model = adapted(llama)
    ids = uneven_batch().ids[:1, :10]
    answers = torch.tensor([[False, False, True, True, False, False, False, True, True, False]])
    seen: list[Tensor] = []

    def note(residual: Tensor, mask: Tensor) -> Tensor:
        seen.append(mask)
        return residual

    edits = {Hookpoint(0): (Edit(note, "last"), Edit(note, "response"), Edit(note, "prompt"))}
    with TrainingHooks(model, edits).attached() as hooks, hooks.batch(ids, torch.ones_like(ids), answers):
        model(input_ids=ids)
    assert [mask[0].nonzero()[:, 0].tolist() for mask in seen] == [[1, 6], [1, 2, 3, 6, 7, 8], [0, 1, 4, 5, 6, 9]]


def test_random_adapters_are_edited_as_if_merged(tiny: Tiny) -> None:
    batch, edits, model = uneven_batch(), shifts("all"), adapted(tiny, seed=1)
    logits, _ = train_pass(model, edits, batch)
    merged = model.merge_and_unload()
    expected = replace(tiny, plain=merged).run(batch, edits=edits).logits
    torch.testing.assert_close(logits, expected[batch.mask], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits, train_pass(trainable(tiny), edits, batch)[0], atol=1e-2)


INTERVENTIONS: dict[str, Callable[[Direction], Intervention]] = {
    "add": lambda d: Add(d, 0, 0.5, span="all"),
    "ablate": lambda d: Ablate(d, [0, 1]),
    "cap": lambda d: Cap(d, 1, lower=-0.1, upper=0.1),
    "stack": lambda d: Stack(Add(d, [0, 1], -0.3, span="response"), Ablate(d, 1, span="last"), Cap(d, 0, upper=0.2)),
}


@pytest.mark.parametrize("kind", INTERVENTIONS)
def test_gradients_through_interventions_equal_those_of_the_plain_model(tiny: Tiny, kind: str) -> None:
    batch, intervention = uneven_batch(), INTERVENTIONS[kind](loud())
    gradients = []
    for run in ("hooks", "plain"):
        model = trainable(tiny)
        if run == "hooks":
            logits = train_pass(model, intervention.edits, batch)[0]
        else:
            logits = replace(tiny, plain=model).run(batch, edits=intervention.edits, grad=True).logits[batch.mask]
        answer_loss(logits, batch).backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    first = next(name for name in gradients[0] if "0.mlp" in name)
    assert gradients[0].keys() == gradients[1].keys()
    assert gradients[0][first].norm() > 1e-3, "what comes before the edit is trained too"
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-5)


def test_an_ablated_direction_is_gone_from_what_training_reads(tiny: Tiny) -> None:
    vector = loud()
    _, read = train_pass(adapted(tiny, seed=1), Ablate(vector, 1).edits, uneven_batch(), read=[Hookpoint(1)])
    assert (read[Hookpoint(1)] @ vector.unit().at(1)).abs().max() < 1e-5


def lora_gradients(model: PeftModel, edits: Edits, batch: TokenBatch) -> dict[str, Tensor]:
    ids, mask, response = training_inputs(batch)
    model.zero_grad()
    with TrainingHooks(model, edits).attached() as hooks, hooks.batch(ids, mask, response):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        answer_loss(logits[mask.bool()], batch).backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_gradient_checkpointing_gives_the_same_gradients(tiny: Tiny) -> None:
    batch, edits = uneven_batch(), {**shifts("response"), **Ablate(loud(), 0).edits}
    model = adapted(tiny, seed=2).train()
    expected = lora_gradients(model, edits, batch)
    counts: list[int] = []
    model.enable_input_require_grads()
    model.activation_checkpointing_enable({"use_reentrant": False})
    counted = (Edit(lambda residual, mask: counts.append(1) or residual),)  # noqa: ARG005
    came = lora_gradients(model, {**edits, Hookpoint(2, "attn_out"): counted}, batch)
    assert len(counts) == 2, "the block ran again in the backward pass, its edits with it"
    assert came.keys() == expected.keys() and came
    for name, gradient in came.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def n_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_no_hook_is_left_also_after_an_exception(tiny: Tiny) -> None:
    model, batch = adapted(tiny), uneven_batch()
    before = n_hooks(model)

    def fail(residual: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        train_pass(model, {**shifts("all"), Hookpoint(1): (Edit(fail),)}, batch)
    assert n_hooks(model) == before
    ids, mask, _ = training_inputs(batch)
    torch.testing.assert_close(model(ids, attention_mask=mask).logits, tiny.plain(ids, attention_mask=mask).logits)


def test_a_hookpoint_that_does_not_exist_leaves_no_hook(llama: Tiny) -> None:
    model = adapted(llama)
    with pytest.raises((HookpointError, IndexError)), TrainingHooks(model, shifts("all"), [Hookpoint(9)]).attached():
        pass
    assert n_hooks(model) == n_hooks(adapted(llama))


def test_hooks_do_nothing_outside_a_batch(tiny: Tiny) -> None:
    model, (ids, mask, response) = adapted(tiny), training_inputs(uneven_batch())
    plain = model(input_ids=ids, attention_mask=mask).logits
    with TrainingHooks(model, shifts("all"), [Hookpoint(1)]).attached() as hooks:
        for _ in range(2):
            assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, plain)
            assert not hooks.residuals
            with hooks.batch(ids, mask, response):
                assert not torch.allclose(model(input_ids=ids, attention_mask=mask).logits, plain, atol=1e-2)
                assert list(hooks.residuals) == [Hookpoint(1)]
        with pytest.raises(RuntimeError, match="on purpose"), hooks.batch(ids, mask, response):
            raise RuntimeError("on purpose")
        assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, plain)


def test_a_coefficient_of_zero_changes_no_bit(tiny: Tiny) -> None:
    model, batch = adapted(tiny, seed=4), uneven_batch()
    plain = train_pass(model, {}, batch)[0]
    assert torch.equal(train_pass(model, Add(loud(), [0, 1], 0.0, span="all").edits, batch)[0], plain)
    far = Cap(loud(), [0, 1], lower=-1e6, upper=1e6).edits
    assert torch.equal(train_pass(model, far, batch)[0], plain)


def test_bare_residuals_are_those_of_the_base_without_edits(tiny: Tiny) -> None:
    model, (ids, mask, response), reads = (
        adapted(tiny, seed=5),
        training_inputs(uneven_batch()),
        [Hookpoint(0), PLACES[1]],
    )
    plain = tiny.run(uneven_batch()).streams
    deepest: list[int] = []
    last = model.get_output_embeddings().register_forward_hook(lambda *_: deepest.append(1))
    with TrainingHooks(model, shifts("all"), reads).attached() as hooks, hooks.batch(ids, mask, response):
        model(input_ids=ids, attention_mask=mask)
        edited = dict(hooks.residuals)
        with model.disable_adapter():
            bare = hooks.bare_residuals(input_ids=ids, attention_mask=mask)
        assert all(hooks.residuals[h] is edited[h] for h in reads), "what the training pass read is still there"
    last.remove()
    assert deepest == [1], "the bare pass stops before the unembedding"
    for hookpoint in reads:
        assert edited[hookpoint].requires_grad and not bare[hookpoint].requires_grad
        expected = plain[hookpoint][uneven_batch().mask]
        torch.testing.assert_close(bare[hookpoint][mask.bool()], expected, **TOLERANCE)
        assert not torch.allclose(edited[hookpoint][mask.bool()], expected, atol=1e-2)


def test_layers_that_do_not_exist_are_refused(tiny: Tiny) -> None:
    check_layers(tiny.plain, [Hookpoint(0), Hookpoint(N_LAYERS - 1, "mlp_out")])
    with pytest.raises(HookpointError, match=r"cannot edit resid_post at layer 3 in training\.\n  Layers run 0\.\.2\."):
        check_layers(tiny.plain, [Hookpoint(N_LAYERS)])
