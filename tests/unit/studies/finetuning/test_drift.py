"""Finetuning shift of prompts known by hand and of a tiny model, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from persona_interp.activations.store import Activations
from persona_interp.errors import AlignmentError, EmptySelectionError, IncompatibleDirectionError, PersonaInterpError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import encode, render_prompt, token_batch
from persona_interp.studies.finetuning.drift import finetuning_shift, mean_shift, probe_activations
from persona_interp.types import Hookpoint
from tests.contract.tiny import PAD, Tiny
from tests.small import activations, direction, provenance

COPY = {"weights": "bbbb", "model": "tiny-a, finetuned"}
BEFORE = torch.zeros(3, 3, 4)
"""Three prompts, three layers, width four."""


def probes(values: torch.Tensor, **changes: Any) -> Activations:
    samples = pd.DataFrame({"prompt": [f"p{i}" for i in range(len(values))]})
    return activations(values, **({"pooling": "prompt_last", "samples": samples} | changes))


def copy_of(values: torch.Tensor, **changes: Any) -> Activations:
    return probes(values, **({"provenance": provenance(**COPY)} | changes))


def axis(k: int, size: float = 1.0) -> torch.Tensor:
    return size * torch.eye(4)[[k] * 3]


def test_the_shift_is_the_mean_change_along_the_unit_vector():
    after = torch.zeros(3, 3, 4)
    after[:, 1, 0] = torch.tensor([1.0, 2.0, 6.0])
    after[:, 2, 0] = -1.0
    after[:, :, 3] = 50.0
    found = finetuning_shift(probes(BEFORE), copy_of(after), direction(axis(0, 7.0)))
    np.testing.assert_allclose(found.shift, [0.0, 3.0, -1.0])
    assert found.low[1] <= stats.t.interval(0.95, 2, 3, np.sqrt(7 / 3))[0] < 0 < 6 < found.high[1]
    np.testing.assert_allclose((found.low[2], found.high[2]), (-1.0, -1.0))
    assert (found.trait, found.layers, found.n) == ("loud", (0, 1, 2), 3)
    frame = found.frame()
    assert list(frame.columns) == ["trait", "layer", "stream", "shift", "low", "high", "n"]
    assert frame["shift"].tolist() == found.shift.tolist() and set(frame["stream"]) == {"resid_post"}
    opposite = finetuning_shift(probes(BEFORE), copy_of(after), -direction(axis(0, 7.0)))
    np.testing.assert_allclose(opposite.shift, -found.shift)
    np.testing.assert_allclose(mean_shift(probes(BEFORE), copy_of(after))[:, [0, 3]], [[0, 50], [3, 50], [-1, 50]])


def test_prompts_are_paired_so_what_differs_between_them_widens_nothing():
    before = 1000 * torch.randn(20, 3, 4, generator=torch.Generator().manual_seed(0)).round()
    found = finetuning_shift(probes(before), copy_of(before + 2), direction(axis(1)))
    for bound in (found.shift, found.low, found.high):
        np.testing.assert_allclose(bound, 2.0, atol=1e-9)


def test_a_repeated_prompt_is_one_cluster_and_one_prompt_has_no_interval():
    after = torch.zeros(4, 3, 4)
    after[2:, :, 0] = 1.0
    names = pd.DataFrame({"prompt": ["a", "a", "b", "b"]})
    options = {"samples": names}
    found = finetuning_shift(probes(torch.zeros(4, 3, 4), **options), copy_of(after, **options), direction(axis(0)))
    two = 0.5 + 0.5 * stats.t.ppf([0.025, 0.975], 1)
    assert found.shift[0] == 0.5 and found.low[0] <= two[0] + 1e-9 and found.high[0] >= two[1] - 1e-9
    one = finetuning_shift(probes(BEFORE[:1]), copy_of(BEFORE[:1] + 1), direction(axis(0)))
    assert one.shift[0] == 1 and np.isnan(one.low).all() and np.isnan(one.high).all()


def test_a_direction_at_some_hookpoints_is_read_there():
    after = torch.zeros(3, 3, 4)
    after[:, 2, 0] = 4.0
    at_last = direction(axis(0)[:1], hookpoints=(Hookpoint(2),))
    found = finetuning_shift(probes(BEFORE), copy_of(after), at_last)
    assert found.layers == (2,) and found.shift.tolist() == [4.0]


@given(st.integers(0, 1000), st.integers(1, 6))
def test_the_shift_is_the_projection_of_the_mean_shift(seed: int, n: int):
    rng = torch.Generator().manual_seed(seed)
    before, after = torch.randn(2, n, 3, 4, generator=rng)
    vectors = torch.randn(3, 4, generator=rng)
    found = finetuning_shift(probes(before), copy_of(after), direction(vectors), n_resamples=20)
    unit = (vectors / vectors.norm(dim=-1, keepdim=True)).numpy()
    np.testing.assert_allclose(found.shift, (mean_shift(probes(before), copy_of(after)) * unit).sum(-1), atol=1e-5)
    assert n == 1 or ((found.low <= found.shift + 1e-9) & (found.shift <= found.high + 1e-9)).all()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (probes(BEFORE, pooling="response_mean"), copy_of(BEFORE), "before is pooled response_mean."),
        (probes(BEFORE), copy_of(BEFORE, pooling="prompt_mean"), "after is pooled prompt_mean."),
        (
            probes(BEFORE),
            copy_of(BEFORE, samples=pd.DataFrame({"prompt": ["p0", "p2", "p1"]})),
            "before has 3 prompts and after 3; they differ from row 1 on.",
        ),
        (probes(BEFORE), copy_of(BEFORE[:2]), "before has 3 prompts and after 2; they differ from row 2 on."),
        (
            probes(BEFORE),
            copy_of(BEFORE, samples=pd.DataFrame({"question": ["a", "b", "c"]})),
            "the samples of after have no column `prompt`.",
        ),
        (probes(BEFORE), copy_of(BEFORE[:, :2]), "before and after were read at different hookpoints."),
        (
            probes(BEFORE),
            copy_of(BEFORE, provenance=provenance(**COPY, n_layers=5)),
            "before is of a model of 3 layers and d_model 4 (tiny-a), after of 5 layers",
        ),
        (probes(BEFORE), copy_of(BEFORE / 0), "after holds activations that are not finite."),
        (probes(BEFORE[:, :2]), copy_of(BEFORE[:, :2]), "the activations have no resid_post at layer 2"),
    ],
)
def test_sets_that_do_not_match_are_refused(before: Activations, after: Activations, said: str):
    with pytest.raises(AlignmentError) as caught:
        finetuning_shift(before, after, direction(axis(0)))
    assert str(caught.value).startswith(said)
    assert isinstance(caught.value, PersonaInterpError)


def test_before_must_be_of_the_directions_own_model_and_after_need_not():
    with pytest.raises(IncompatibleDirectionError, match="tiny-a, finetuned"):
        finetuning_shift(copy_of(BEFORE), probes(BEFORE), direction(axis(0)))
    assert finetuning_shift(probes(BEFORE), copy_of(BEFORE), direction(axis(0))).shift.tolist() == [0, 0, 0]


def test_a_zero_vector_and_no_prompt_are_refused():
    vectors = axis(0)
    vectors[1] = 0
    with pytest.raises(AlignmentError, match="the vector of loud at resid_post at layer 1 is zero"):
        finetuning_shift(probes(BEFORE), copy_of(BEFORE), direction(vectors))
    with pytest.raises(EmptySelectionError, match="hold no prompt"):
        mean_shift(probes(BEFORE[:0]), copy_of(BEFORE[:0]))


def test_probes_are_the_residuals_of_the_last_prompt_token(small: Tiny, model: HookedModelBase):
    questions = ["Why?", "Is it so, or is it not?"]
    held = probe_activations(model, questions, system="Shout.", progress=False)
    assert held.pooling == "prompt_last" and held.values.shape == (2, model.n_layers, model.d_model)
    assert held.samples["question"].tolist() == questions
    for row, question in enumerate(questions):
        prompt = render_prompt(model.tokenizer, question, system="Shout.")
        assert held.samples["prompt"][row] == prompt and "Shout." in prompt
        streams = small.run(token_batch(encode(model.tokenizer, [prompt]), pad_id=PAD)).streams
        for layer in range(model.n_layers):
            torch.testing.assert_close(held.values[row, layer], streams[Hookpoint(layer)][0, -1], rtol=1e-4, atol=1e-4)
    with pytest.raises(EmptySelectionError, match="no question was given"):
        probe_activations(model, [])


def test_a_model_does_not_shift_from_itself_and_an_added_vector_is_found(model: HookedModelBase):
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    made = direction(vectors, provenance=model.provenance)
    held = probe_activations(model, ["Why?", "How?", "Who is it?"], progress=False)
    assert (finetuning_shift(held, held, made).shift == 0).all()
    moved = replace(held, values=held.values + 2.5 * vectors / vectors.norm(dim=-1, keepdim=True))
    np.testing.assert_allclose(finetuning_shift(held, moved, made).shift, 2.5, rtol=1e-4)
