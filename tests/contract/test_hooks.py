"""How often taps fire, where a pass stops, and that nothing stays hooked."""

from collections import Counter

import pytest
import torch
from torch import Tensor
from transformer_lens.hook_points import HookPoint

from persona_interp.models.blocks import find_blocks
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.prefix_tree import plan_pass
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import Edit, EditFunction, Edits, Hookpoint, Stream
from tests.contract.tiny import N_LAYERS, all_hookpoints, inner_module, prompt_batch, uneven_batch, words


def counting(calls: Counter, layer: int) -> EditFunction:
    def count(residual: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
        calls[layer] += 1
        return residual

    return count


def counting_edits(calls: Counter) -> Edits:
    return {Hookpoint(layer): (Edit(counting(calls, layer)),) for layer in range(N_LAYERS)}


def test_a_tap_fires_once_a_layer_and_forward_pass(model: HookedModelBase) -> None:
    calls: Counter = Counter()
    model.run(uneven_batch(), edits=counting_edits(calls))
    assert calls == dict.fromkeys(range(N_LAYERS), 1)


def test_a_split_pass_fires_once_a_segment(llama_model: HookedModelBase) -> None:
    head = words(12, 1)
    batch = token_batch([[*head, *words(2, i)] for i in range(4)], [words(2, 9)] * 4)
    calls: Counter = Counter()
    llama_model.run(batch, outputs="token_logprobs", edits=counting_edits(calls))
    assert len(plan_pass(batch)) > 1
    assert calls == dict.fromkeys(range(N_LAYERS), len(plan_pass(batch)))


@pytest.mark.parametrize("pools", [False, True])
def test_generation_fires_once_a_layer_and_token(model: HookedModelBase, pools: bool) -> None:
    """One pass for the prompts and one for every token fed back; the last token of all only when it is pooled."""
    calls: Counter = Counter()
    made = model.generate(
        prompt_batch(),
        sampling=Sampling(max_new_tokens=6, seed=5),
        read=[Hookpoint(0)] if pools else [],
        pool=["response_mean"] if pools else [],
        edits=counting_edits(calls),
    )
    fed = [len(ids) - (not done and not pools) for ids, done in zip(made.ids, made.finished, strict=True)]
    assert max(fed) > 2
    assert calls == dict.fromkeys(range(N_LAYERS), 1 + max(fed))


@pytest.mark.parametrize("stream", ["resid_pre", "attn_out", "resid_post"])
def test_a_pass_without_outputs_stops_behind_the_deepest_read(model: HookedModelBase, stream: Stream) -> None:
    ran: Counter = Counter()
    blocks = find_blocks(inner_module(model))[1]
    parts = [(i, part) for i, block in enumerate(blocks) for part in block.children()]
    handles = [part.register_forward_hook(lambda *_, i=i: ran.update([i])) for i, part in parts]
    try:
        read = model.run(uneven_batch(), read=[Hookpoint(1, stream), Hookpoint(0)], outputs="none")
        stopped = set(ran)
        model.run(uneven_batch(), read=[Hookpoint(1, stream)])
    finally:
        for handle in handles:
            handle.remove()
    assert read.logits is None
    assert stopped <= {0, 1} and 0 in stopped, "no module of the last block ran"
    assert set(ran) == set(range(N_LAYERS)), "with logits every block runs"
    whole = model.run(uneven_batch(), read=[Hookpoint(1, stream)]).residuals[Hookpoint(1, stream)]
    assert torch.equal(read.residuals[Hookpoint(1, stream)], whole)


def test_the_last_token_of_an_answer_runs_as_deep_as_it_is_pooled(model: HookedModelBase) -> None:
    """It predicts nothing: above the deepest read, generation runs it no more than without pooling."""
    sampling, ran = Sampling(max_new_tokens=3, temperature=0.0), Counter()
    blocks = find_blocks(inner_module(model))[1]
    parts = [(i, next(block.children())) for i, block in enumerate(blocks)]
    handles = [part.register_forward_hook(lambda *_, i=i: ran.update([i])) for i, part in parts]
    try:
        made = model.generate(prompt_batch(), sampling=sampling, read=[Hookpoint(0)], pool=["response_mean"])
    finally:
        for handle in handles:
            handle.remove()
    assert not all(made.finished), "some answer must reach the limit"
    assert ran[N_LAYERS - 1] < ran[0] == ran[N_LAYERS - 1] + 1


def test_nothing_to_read_runs_nothing(llama_model: HookedModelBase) -> None:
    made = llama_model.run(uneven_batch(), outputs="none")
    assert made.logits is None and made.residuals == {} and made.pooled == {}


class Planned(Exception):
    """Raised inside an edit by a test."""


def failing(residual: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG001
    raise Planned


def anatomy(model: HookedModelBase) -> list[tuple[str, int, int]]:
    """Every module under its name, and how many hooks of torch it carries."""
    modules = inner_module(model).named_modules(remove_duplicate=False)
    return [(name, id(m), len(m._forward_hooks) + len(m._forward_pre_hooks)) for name, m in modules]


@pytest.mark.parametrize("hookpoint", [Hookpoint(0, "resid_pre"), Hookpoint(1, "attn_out"), Hookpoint(2)], ids=str)
@pytest.mark.parametrize("how", ["run", "generate"])
def test_nothing_stays_hooked_after_an_exception(model: HookedModelBase, hookpoint: Hookpoint, how: str) -> None:
    batch = uneven_batch()
    before, parts = model.run(batch).logits, anatomy(model)
    edits = {hookpoint: (Edit(failing),), Hookpoint(0): (Edit(lambda residual, mask: 2 * residual),)}  # noqa: ARG005
    if hookpoint.layer == 0 and hookpoint.stream == "resid_post":
        edits = {hookpoint: (Edit(failing),)}
    with pytest.raises(Planned):
        if how == "run":
            model.run(batch, edits=edits)
        else:
            model.generate(prompt_batch(), sampling=Sampling(max_new_tokens=3), edits=edits)
    assert anatomy(model) == parts
    points = [module for module in inner_module(model).modules() if isinstance(module, HookPoint)]
    assert all(not point.fwd_hooks and not point.bwd_hooks for point in points)
    assert bool(points) == (model.backend == "transformer_lens")
    after = model.run(batch).logits
    assert before is not None and after is not None
    assert torch.equal(before, after)


def test_a_users_own_hook_on_the_bridge_stays(llama) -> None:
    model, calls = llama.hooked("transformer_lens"), []
    point = model.bridge.blocks[0].hook_out
    point.add_hook(lambda residual, hook: calls.append(hook.name))  # noqa: ARG005
    try:
        model.run(uneven_batch(), edits=counting_edits(Counter()))
        assert len(point.fwd_hooks) == 1
        model.run(uneven_batch())
    finally:
        point.remove_hooks()
    assert len(calls) == 2


def test_reads_do_not_pile_up(llama_model: HookedModelBase) -> None:
    parts = anatomy(llama_model)
    for _ in range(3):
        llama_model.run(uneven_batch(), read=all_hookpoints())
    assert anatomy(llama_model) == parts
