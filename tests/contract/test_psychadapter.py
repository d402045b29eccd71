"""A `TraitPrefix` on every architecture and backend: the cache of transformers filled with W z + b."""

import torch

from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.interventions.protocol import Stack
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import KVPrefix
from tests.contract.test_generation import GREEDY, greedy_by_repetition, prompt_ids
from tests.contract.tiny import D_HEAD, N_LAYERS, TOLERANCE, Tiny, behind_prefix, prompts_behind_prefix

TRAITS = ("openness", "neuroticism")
Z = torch.tensor([[3.0, 0.0], [-1.0, 2.0], [0.0, -3.0]])


def adapter_of(model: HookedModelBase) -> PsychAdapter:
    torch.manual_seed(0)
    adapter = PsychAdapter(KVShape.of(model.config), TRAITS, model.provenance)
    return adapter.requires_grad_(False)


def filled_by_hand(tiny: Tiny, adapter: PsychAdapter, z: torch.Tensor) -> KVPrefix:
    """The published order of numbers: layer, key or value, head, width."""
    numbers = z @ adapter.affine.weight.T + adapter.affine.bias
    keys, values = torch.empty(2, N_LAYERS, len(z), tiny.n_kv_heads, 1, D_HEAD)
    width = tiny.n_kv_heads * D_HEAD
    for row in range(len(z)):
        for layer in range(N_LAYERS):
            start = layer * 2 * width
            keys[layer, row, :, 0] = numbers[row, start : start + width].reshape(-1, D_HEAD)
            values[layer, row, :, 0] = numbers[row, start + width : start + 2 * width].reshape(-1, D_HEAD)
    return KVPrefix(keys, values)


def test_a_trait_vector_a_row_equals_a_cache_filled_by_hand(tiny: Tiny, model: HookedModelBase) -> None:
    batch, adapter = behind_prefix(tiny), adapter_of(model)
    made = model.run(batch, prefix=TraitPrefix(adapter, Z).prefix).logits
    plain = tiny.run(batch, prefix=filled_by_hand(tiny, adapter, Z)).logits
    assert made is not None
    torch.testing.assert_close(made[batch.mask], plain[batch.mask], **TOLERANCE)
    other = model.run(batch, prefix=TraitPrefix(adapter, Z.flip(0)).prefix).logits
    assert other is not None and (made - other)[batch.mask].abs().max() > 0.01


def test_one_trait_vector_is_the_same_as_one_a_row(tiny: Tiny, model: HookedModelBase) -> None:
    intervention = TraitPrefix(adapter_of(model), {"neuroticism": 2.0})
    intervention.check(model)
    batch = behind_prefix(tiny)
    ours, rows = (model.run(batch, prefix=i.prefix).logits for i in (intervention, intervention.rows(len(batch))))
    assert ours is not None and rows is not None and torch.equal(ours, rows)


def test_text_starts_at_position_one(tiny: Tiny, model: HookedModelBase) -> None:
    """Keys of transformers' own cache behind the virtual token are those of positions 1, 2, ..."""
    adapter, row = adapter_of(model), [7, 8, 9, 10]
    made = model.run(token_batch([row]), prefix=TraitPrefix(adapter, Z[:1]).prefix).logits
    cache = model.open_cache(TraitPrefix(adapter, Z[:1]).prefix, 1)
    plain = tiny.plain(
        input_ids=torch.tensor([row]),
        attention_mask=torch.ones(1, 5, dtype=torch.long),
        position_ids=torch.arange(1, 5)[None],
        past_key_values=cache,
        use_cache=True,
    ).logits
    assert made is not None
    torch.testing.assert_close(made, plain, **TOLERANCE)


def test_generation_with_a_trait_vector_a_row_equals_repeated_passes(tiny: Tiny, model: HookedModelBase) -> None:
    adapter = adapter_of(model)
    made = model.generate(prompts_behind_prefix(tiny), sampling=GREEDY, prefix=TraitPrefix(adapter, Z).prefix)
    expected = greedy_by_repetition(
        tiny.run, prompt_ids(prompts_behind_prefix(tiny)), prefix=filled_by_hand(tiny, adapter, Z)
    )
    assert (made.ids, made.finished) == expected


def test_samples_of_a_row_have_its_trait_vector(tiny: Tiny, model: HookedModelBase) -> None:
    adapter, sampling = adapter_of(model), Sampling(max_new_tokens=8, n_samples=2, seed=1)
    together = model.generate(prompts_behind_prefix(tiny), sampling=sampling, prefix=TraitPrefix(adapter, Z).prefix)
    for i, ids in enumerate(prompt_ids(prompts_behind_prefix(tiny))):
        alone = model.generate(token_batch([ids]), sampling=sampling, prefix=TraitPrefix(adapter, Z[i]).prefix)
        assert alone.ids == together.ids[2 * i : 2 * i + 2]


def test_gradients_reach_the_adapter(tiny: Tiny, model: HookedModelBase) -> None:
    """Through `run`, which is how a direction inside an adapted model may be optimised."""
    batch, gradients = behind_prefix(tiny), []
    for run in (model, tiny):
        adapter = adapter_of(model).requires_grad_(True)
        prefix = adapter.prefix(Z)
        logits = run.run(batch, prefix=prefix, grad=True).logits
        assert logits is not None
        logits[batch.response].logsumexp(-1).sum().backward()
        assert adapter.affine.weight.grad is not None
        gradients.append(adapter.affine.weight.grad)
    assert gradients[0].norm() > 1e-3
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_it_stands_in_a_stack(model: HookedModelBase) -> None:
    intervention = TraitPrefix(adapter_of(model), Z)
    stack = Stack(intervention)
    stack.check(model)
    assert stack.prefix is not None and torch.equal(stack.prefix.keys, intervention.prefix.keys)
