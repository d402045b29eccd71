"""KL divergences of tokens, and their mean over unsteered answers, where they are known in closed form."""

from typing import Any

import numpy as np
import pytest
import torch

from persona_interp.errors import AlignmentError, EmptySelectionError, IncompatibleDirectionError, ModelError
from persona_interp.interventions import divergence
from persona_interp.interventions.divergence import (
    Divergence,
    kl_divergence,
    token_kl,
    unsteered_answers,
)
from persona_interp.interventions.protocol import Stack
from persona_interp.interventions.residual import Add
from persona_interp.statistics import bootstrap_mean
from tests.contract.tiny import FIRST_WORD
from tests.linear_head import ANSWERS, EVEN, ONE, PROMPTS, LinearHead, along, even_kl, one_kl
from tests.small import direction, provenance


def answers(model: LinearHead, **changes: Any):
    return unsteered_answers(model, PROMPTS, **{"answers": ANSWERS, "progress": False, **changes})


def test_divergence_of_tokens_from_their_logits():
    generator = torch.Generator().manual_seed(0)
    unsteered, steered = 3 * torch.randn(2, 7, 50, generator=generator, dtype=torch.float64)
    p, q = unsteered.log_softmax(-1), steered.log_softmax(-1)
    expected = (p.exp() * (p - q)).sum(-1)
    for at_once in (1, 120, 10_000):
        made = token_kl(unsteered.float(), steered.float(), numbers_at_once=at_once)
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)
    assert token_kl(unsteered, unsteered).tolist() == [0.0] * 7
    assert not torch.allclose(token_kl(steered, unsteered), expected, rtol=0.05), "it has a direction"


def test_tokens_that_are_excluded_add_nothing_and_what_is_no_number_stays_so():
    plain = torch.tensor([[0.0, 1.0, -torch.inf], [0.0, 1.0, 2.0], [0.0, torch.nan, 1.0]])
    other = torch.tensor([[1.0, 0.0, -torch.inf], [0.0, 1.0, -torch.inf], [0.0, 1.0, 1.0]])
    found = token_kl(plain, other)
    assert found[0] == pytest.approx(float(token_kl(plain[:1, :2], other[:1, :2]))) and 0 < found[0] < 1
    assert found[1] == torch.inf and found[2].isnan()


@pytest.mark.parametrize("x", [-2.0, -0.3, 0.0, 0.01, 0.7, 3.0])
def test_mean_in_closed_form(x: float):
    """Layer 1 has residual norm 2, so a coefficient c adds 2 c."""
    model = LinearHead()
    for axis, expected in ((EVEN, even_kl(x)), (ONE, one_kl(x))):
        made = kl_divergence(model, Add(along(axis), 1, x / 2), answers=answers(model))
        assert made.mean == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert made.median == pytest.approx(made.mean) and made.p95 == pytest.approx(made.mean)


def test_what_is_counted():
    model = LinearHead()
    used = answers(model)
    lengths = [len(ids) for ids in model.tokenizer(list(ANSWERS))["input_ids"]]
    assert sorted(np.bincount(used.prompts)) == sorted(lengths) and len(set(lengths)) > 1
    made = kl_divergence(model, Add(along(EVEN), 1, 0.5), answers=used)
    assert (made.n_tokens, made.n_prompts) == (sum(lengths), 4)


def test_interval_is_over_prompts():
    model = LinearHead(tilt=lambda ids: 1 + (ids % 5) / 3)
    used = answers(model)
    add = Add(along(EVEN), 0, 0.8)
    values, made = used.token_kl(add), kl_divergence(model, add, answers=used, seed=3)
    interval = bootstrap_mean(values, used.prompts, seed=3)
    assert (made.mean, made.high) == (interval.estimate, interval.high) and made.low == max(interval.low, 0)
    assert made.low < made.mean < made.high and made.median == np.median(values) < made.p95 <= values.max()
    alone = Divergence.of(values, np.zeros(len(values), int), seed=0)
    assert np.isnan(alone.low) and np.isnan(alone.high) and alone.n_prompts == 1


def test_spans_add_up():
    """The last prompt token predicts the first token of an answer, and the answer the others."""
    model = LinearHead(tilt=lambda ids: 1 + (ids % 5) / 3)
    used = answers(model)
    of = {
        (span, last): used.token_kl(Add(along(EVEN), 2, 0.4, span=span, last_prompt_token=last))
        for span in ("all", "prompt", "response", "last")
        for last in (True, False)
    }
    first = np.append(True, np.diff(used.prompts) != 0)
    whole = of["response", True]
    assert (whole > 0).all()
    np.testing.assert_array_equal(of["all", True], whole)
    np.testing.assert_array_equal(of["last", True] + of["response", False], whole)
    np.testing.assert_array_equal(of["last", True] > 0, first)
    np.testing.assert_array_equal(of["prompt", True], of["last", True])


def test_places_of_an_addition_add_up():
    model = LinearHead()
    used = answers(model)
    several = kl_divergence(model, Add(along(EVEN), [0, 1, 2], 0.9), answers=used).mean
    assert several == pytest.approx(even_kl(0.3 * (1 + 2 + 3)), rel=1e-4)
    stack = Stack(Add(along(EVEN), 0, 0.5), Add(along(EVEN), 1, -0.25))
    assert kl_divergence(model, stack, answers=used).mean == 0


def test_answers_are_the_models_own_and_empty_ones_are_left_out():
    model = LinearHead()
    made = unsteered_answers(model, PROMPTS, max_new_tokens=3, progress=False)
    assert np.bincount(made.prompts).tolist() in ([1, 2], [2, 1]), "answers of 0, 1, 2 and 0 tokens"
    ids = {int(token) for part in made.parts for token in part.batch.ids[part.batch.response]}
    assert ids == {FIRST_WORD + 4, FIRST_WORD + 5}
    assert unsteered_answers(model, progress=False).prompts.max() < 16
    with pytest.raises(EmptySelectionError, match=r"^every unsteered answer of linear to 2 prompts is empty"):
        unsteered_answers(model, PROMPTS[:2], answers=["", ""])
    with pytest.raises(AlignmentError, match=r"^got 4 prompts and 3 answers"):
        unsteered_answers(model, PROMPTS, answers=ANSWERS[:3])


def test_the_unsteered_model_runs_once_unless_its_logits_are_too_many(monkeypatch: pytest.MonkeyPatch):
    model = LinearHead(tilt=lambda ids: 1 + (ids % 5) / 3)
    adds = [Add(along(EVEN), 0, c) for c in (0.5, 1.0)]
    used = answers(model)
    plain = [used.token_kl(add) for add in adds]
    assert model.n_passes == 3 * len(used.parts)
    monkeypatch.setattr(divergence, "_KEPT_LOGITS", 10)
    used, model.n_passes = answers(model), 0
    again = [used.token_kl(add) for add in adds]
    assert model.n_passes == 4 * len(used.parts) and all(part.unsteered is None for part in used.parts)
    np.testing.assert_array_equal(plain, again)


def test_answers_are_split_into_passes_that_fit(monkeypatch: pytest.MonkeyPatch):
    model = LinearHead(tilt=lambda ids: 1 + (ids % 5) / 3)
    whole = kl_divergence(model, Add(along(EVEN), 0, 0.5), answers=answers(model))
    monkeypatch.setattr("persona_interp.judges.scoring._LOGIT_BUDGET", 10_000)
    used = answers(model)
    assert len(used.parts) > 1
    split = kl_divergence(model, Add(along(EVEN), 0, 0.5), answers=used)
    assert split.mean == pytest.approx(whole.mean) and split.n_tokens == whole.n_tokens


def test_refusals():
    model, other = LinearHead(), LinearHead()
    with pytest.raises(AlignmentError, match=r"another model was given: linear \(nnsight\)"):
        kl_divergence(other, Add(along(EVEN), 0, 0.5), answers=answers(model))
    foreign = direction(torch.ones(3, 4), provenance=provenance(weights="bbbb"))
    with pytest.raises(IncompatibleDirectionError):
        kl_divergence(model, Add(foreign, 0, 0.0), answers=answers(model))
    broken = LinearHead(twist=lambda x: torch.where(x > 1, torch.nan, x))
    with pytest.raises(ModelError, match=r"^the KL divergence is not finite at \d+ of \d+ tokens of linear"):
        kl_divergence(broken, Add(along(EVEN), 0, 2.0), answers=answers(broken))
