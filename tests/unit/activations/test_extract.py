import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from persona_interp.activations.extract import all_blocks, extract_activations, length_chunks
from persona_interp.errors import AlignmentError, ContextLengthError, EmptySelectionError, HookpointError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import encode, token_batch
from persona_interp.types import POOLINGS, Edit, Hookpoint, Pooling
from tests.contract.tiny import PAD, TOLERANCE, Tiny, shifting

PROMPTS = ["Why is it so?", "Why is it so?", "Hi", "A rather longer question, as it happens?", "Why is it not?"]
RESPONSES = ["Because.", "No reason at all", "Yes", "I see", "It is what it is, and so on."]
HOOKPOINTS = (Hookpoint(2), Hookpoint(0, "attn_out"), Hookpoint(1, "resid_pre"))


def reference(small: Tiny, prompt: str, response: str, pooling: Pooling) -> tuple[Tensor, Tensor]:
    """Mean residual and mean norm of one sample at HOOKPOINTS, by the plain model, alone in its batch."""
    ids, answer = encode(small.hooked("nnsight").tokenizer, [prompt, response])
    streams = small.run(token_batch([ids], [answer], pad_id=PAD)).streams
    places = {
        "prompt_last": slice(len(ids) - 1, len(ids)),
        "prompt_mean": slice(0, len(ids)),
        "response_mean": slice(len(ids), None),
    }
    read = torch.stack([streams[hookpoint][0, places[pooling]] for hookpoint in HOOKPOINTS])
    return read.mean(1), read.norm(dim=-1).mean(1)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_equals_the_plain_model_sample_by_sample(small: Tiny, model: HookedModelBase, pooling: Pooling):
    made = extract_activations(model, PROMPTS, RESPONSES, pooling=pooling, hookpoints=HOOKPOINTS, progress=False)
    assert made.values.shape == (5, 3, 32) and made.values.dtype == torch.float32
    assert (made.hookpoints, made.pooling) == (HOOKPOINTS, pooling)
    assert made.provenance.method == "extract_activations" and made.provenance.pooling == pooling
    assert made.provenance.weights == model.provenance.weights
    assert made.samples["prompt"].tolist() == PROMPTS
    assert made.norms is not None
    for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        mean, norm = reference(small, prompt, response, pooling)
        torch.testing.assert_close(made.values[i], mean, **TOLERANCE)
        torch.testing.assert_close(made.norms[i], norm, **TOLERANCE)


def test_neither_order_nor_chunks_matter(model: HookedModelBase):
    whole = extract_activations(model, PROMPTS, RESPONSES, progress=False)
    assert whole.hookpoints == all_blocks(model) == tuple(map(Hookpoint, range(3)))
    order = [3, 0, 4, 2, 1]
    moved = extract_activations(
        model, [PROMPTS[i] for i in order], [RESPONSES[i] for i in order], tokens_at_once=1, progress=False
    )
    torch.testing.assert_close(moved.values, whole.values[order], **TOLERANCE)
    assert moved.norms is not None and whole.norms is not None
    torch.testing.assert_close(moved.norms, whole.norms[order], **TOLERANCE)


def test_token_ids_serve_as_responses(model: HookedModelBase):
    ids = encode(model.tokenizer, RESPONSES)
    by_text = extract_activations(model, PROMPTS, RESPONSES, progress=False)
    by_ids = extract_activations(model, PROMPTS, ids, progress=False)
    assert torch.equal(by_text.values, by_ids.values)


def test_ids_that_text_would_merge_are_kept(model: HookedModelBase):
    joined, apart = encode(model.tokenizer, ["at"])[0], encode(model.tokenizer, ["a", "t"])
    ids = [token for part in apart for token in part]
    assert len(joined) == 1 and len(ids) == 2
    first = extract_activations(model, ["Hi"], [joined], progress=False)
    second = extract_activations(model, ["Hi"], [ids], progress=False)
    assert not torch.allclose(first.values, second.values, atol=1e-2)


def test_an_empty_response_has_no_response_mean(model: HookedModelBase):
    with pytest.raises(EmptySelectionError, match=r"response of row 1 has no token to pool \(1 of 2 rows\)"):
        extract_activations(model, ["Hi", "Hi"], ["Yes", ""], progress=False)
    prompts = extract_activations(model, ["Hi", "Hi"], ["Yes", ""], pooling="prompt_last", progress=False)
    assert torch.equal(prompts.values[0], prompts.values[1])


def test_edits_are_read(model: HookedModelBase):
    plain = extract_activations(model, PROMPTS[:1], RESPONSES[:1], progress=False)
    edits = {Hookpoint(1): (Edit(shifting(0), "all"),)}
    edited = extract_activations(model, PROMPTS[:1], RESPONSES[:1], edits=edits, progress=False)
    shift = shifting(0)(torch.zeros(1, 1, 32), torch.ones(1, 1, dtype=torch.bool))[0, 0]
    torch.testing.assert_close(edited.values[0, 0], plain.values[0, 0], **TOLERANCE)
    torch.testing.assert_close(edited.values[0, 1], plain.values[0, 1] + shift, **TOLERANCE)


def test_own_samples_are_kept(model: HookedModelBase):
    samples = pd.DataFrame({"question": ["x", "y"]}, index=[5, 3])
    made = extract_activations(model, PROMPTS[:2], RESPONSES[:2], samples=samples, progress=False)
    assert made.samples["question"].tolist() == ["x", "y"] and made.samples.index.tolist() == [0, 1]


def test_unequal_numbers(model: HookedModelBase):
    with pytest.raises(AlignmentError) as caught:
        extract_activations(model, PROMPTS, RESPONSES[:2])
    assert str(caught.value) == "got 5 prompts and 2 responses.\n  Give one each."


def test_what_the_model_cannot_do_is_refused(model: HookedModelBase):
    with pytest.raises(ContextLengthError):
        extract_activations(model, ["x" * 500], ["y" * 500], progress=False)
    with pytest.raises(HookpointError):
        extract_activations(model, ["x"], ["y"], hookpoints=[Hookpoint(3)], progress=False)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 90), st.integers(0, 40)), min_size=1, max_size=40),
    st.integers(1, 400),
)
def test_chunks_hold_every_row_once_within_the_budget(rows: list[tuple[int, int, int]], budget: int):
    prompts, responses = [[word] * n for word, n, _ in rows], [[9] * n for _, _, n in rows]
    chunks = length_chunks(prompts, responses, budget)
    assert sorted(i for chunk in chunks for i in chunk) == list(range(len(rows)))
    for chunk in chunks:
        padded = len(chunk) * max(len(prompts[i]) + len(responses[i]) for i in chunk)
        assert len(chunk) == 1 or padded <= budget


def test_rows_of_one_prompt_share_a_chunk():
    prompts = [[1, 2], [3, 4], [1, 2], [3, 4]]
    assert length_chunks(prompts, [[5]] * 4, 6) == [[0, 2], [1, 3]]
