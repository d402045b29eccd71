"""Drawing tokens: reproducible row by row, and from the right distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.sampling import row_uniforms, sample_tokens
from persona_interp.models.tokens import token_batch
from tests.contract.tiny import words

_N = 20_000


def drawn(logits: Tensor, sampling: Sampling, n: int = _N) -> Tensor:
    """How often each token comes out of evenly drawn uniforms."""
    uniforms = torch.from_numpy(np.random.default_rng(0).random(n)).float()
    return sample_tokens(logits.expand(n, -1), uniforms, sampling).bincount(minlength=logits.shape[-1])


def p_value(counts: Tensor, probabilities: Tensor) -> float:
    kept = probabilities > 0
    assert counts[~kept].sum() == 0, "what has no probability is never drawn"
    expected = probabilities[kept].double() / probabilities[kept].double().sum() * counts.sum()
    return float(chisquare(counts[kept].double().numpy(), expected.numpy()).pvalue)


@pytest.mark.parametrize("n_vocab", [7, 256, 700])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_softmax(n_vocab: int, temperature: float) -> None:
    logits = torch.randn(n_vocab, generator=torch.Generator().manual_seed(n_vocab))
    counts = drawn(logits, Sampling(temperature=temperature))
    assert p_value(counts, (logits / temperature).softmax(-1)) > 1e-3
    assert p_value(counts, (logits / temperature * 1.3).softmax(-1)) < 1e-3, "the test can tell"


def test_top_k_keeps_the_k_likeliest() -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1))
    kept = logits.topk(5).indices
    probabilities = torch.zeros(40).scatter(0, kept, logits[kept].softmax(-1))
    assert p_value(drawn(logits, Sampling(top_k=5)), probabilities) > 1e-3


def test_top_p_keeps_the_smallest_set_of_that_mass() -> None:
    probabilities = torch.tensor([0.05, 0.4, 0.15, 0.3, 0.1])
    for top_p, kept in [(0.3, [1]), (0.5, [1, 3]), (0.72, [1, 2, 3]), (1.0, [0, 1, 2, 3, 4])]:
        expected = torch.zeros(5)
        expected[kept] = probabilities[kept]
        counts = drawn(probabilities.log(), Sampling(top_p=top_p))
        assert counts.nonzero()[:, 0].tolist() == kept
        assert len(kept) == 1 or p_value(counts, expected) > 1e-3


def test_top_k_and_top_p_together() -> None:
    probabilities = torch.tensor([0.05, 0.4, 0.15, 0.3, 0.1])
    counts = drawn(probabilities.log(), Sampling(top_k=3, top_p=0.9))
    assert counts.nonzero()[:, 0].tolist() == [1, 2, 3]


def test_top_k_of_one_is_greedy() -> None:
    logits = torch.randn(300, 200, generator=torch.Generator().manual_seed(0))
    uniforms = torch.rand(300, generator=torch.Generator().manual_seed(1))
    assert torch.equal(sample_tokens(logits, uniforms, Sampling(top_k=1)), logits.argmax(-1))
    assert torch.equal(sample_tokens(logits, uniforms, Sampling(temperature=0.0)), logits.argmax(-1))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 600), st.sampled_from([0.0, 1e-8, 0.5, 1 - 2**-24]), st.integers(0, 5))
def test_the_ends_of_the_unit_interval_draw_possible_tokens(n_vocab: int, uniform: float, seed: int) -> None:
    logits = 5 * torch.randn(1, n_vocab, generator=torch.Generator().manual_seed(seed))
    impossible = torch.rand(1, n_vocab, generator=torch.Generator().manual_seed(seed + 1)) < 0.5
    impossible[0, seed % n_vocab] = False
    token = sample_tokens(logits.masked_fill(impossible, -torch.inf), torch.tensor([uniform]), Sampling())
    assert 0 <= int(token) < n_vocab and not impossible[0, token]


def test_uniforms_belong_to_prompt_and_sample() -> None:
    sampling = Sampling(max_new_tokens=5, n_samples=2, seed=7)
    both, turned = row_uniforms([[1, 2], [3]], sampling), row_uniforms([[3], [1, 2]], sampling)
    assert torch.equal(both[:2], turned[2:]) and torch.equal(both[2:], turned[:2])
    assert len(both.unique()) == both.numel()
    longer = row_uniforms([[1, 2]], Sampling(max_new_tokens=9, n_samples=2, seed=7))
    assert torch.equal(longer[:, :5], both[:2]), "a longer limit only goes on"
    assert not torch.equal(row_uniforms([[1, 2], [3]], Sampling(max_new_tokens=5, n_samples=2, seed=8)), both)
    twice = row_uniforms([[1, 2], [1, 2]], Sampling(max_new_tokens=5, seed=7))
    assert torch.equal(twice, both[:2]), "a repeated prompt goes on with its next sample"


def test_uniforms_stay_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Highest:
        def random(self, n: int) -> np.ndarray:
            return np.full(n, np.nextafter(1.0, 0.0))

    monkeypatch.setattr(np.random, "default_rng", lambda _: Highest())
    assert (row_uniforms([[1]], Sampling(max_new_tokens=3)) < 1).all()


def test_samples_depend_on_neither_batch_nor_order(llama_model: HookedModelBase) -> None:
    sampling = Sampling(max_new_tokens=12, n_samples=2, seed=4)
    prompts = [words(3 + i, i) for i in range(4)]
    together = llama_model.generate(token_batch(prompts), sampling=sampling).ids
    turned = llama_model.generate(token_batch(prompts[::-1]), sampling=sampling).ids
    for i, prompt in enumerate(prompts):
        rows, other = together[2 * i : 2 * i + 2], turned[2 * (3 - i) : 2 * (3 - i) + 2]
        assert rows == other == llama_model.generate(token_batch([prompt]), sampling=sampling).ids


def test_the_same_seed_gives_the_same_samples(llama_model: HookedModelBase) -> None:
    batch = token_batch([words(5, 0)])
    made = [llama_model.generate(batch, sampling=Sampling(max_new_tokens=12, seed=s)).ids for s in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_equal_prompts_in_one_call_get_different_samples(llama_model: HookedModelBase) -> None:
    batch = token_batch([words(5, 0)] * 2)
    one, other = llama_model.generate(batch, sampling=Sampling(max_new_tokens=12, seed=1)).ids
    assert one != other
    several = Sampling(max_new_tokens=12, seed=1, n_samples=2)
    assert llama_model.generate(token_batch([words(5, 0)]), sampling=several).ids == [one, other]


def test_generating_with_top_k_of_one_is_greedy(llama_model: HookedModelBase) -> None:
    batch = token_batch([words(5, 0), words(7, 1)])
    likeliest = llama_model.generate(batch, sampling=Sampling(max_new_tokens=8, top_k=1))
    tiny_p = llama_model.generate(batch, sampling=Sampling(max_new_tokens=8, top_p=1e-6))
    greedy = llama_model.generate(batch, sampling=Sampling(max_new_tokens=8, temperature=0.0))
    assert likeliest.ids == tiny_p.ids == greedy.ids
