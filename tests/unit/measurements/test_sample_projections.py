"""Projections of samples: equal to extracted and projected activations, whatever the batching."""

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.activations.extract import extract_activations
from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.directions.direction import Direction
from persona_interp.errors import (
    ConfigError,
    ContextLengthError,
    DataError,
    EmptySelectionError,
    HookpointError,
    IncompatibleDirectionError,
)
from persona_interp.measurements.sample_projections import SampleProjections, conversation_ids, project_samples
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import encode, render_chat, token_batch
from persona_interp.types import Hookpoint, Turn
from tests.contract.tiny import BACKENDS, D_MODEL, N_LAYERS, Tiny
from tests.small import make_small, provenance

TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
TALKS = (
    question_and_answer("Why?", "Because it is so, and so it was.", name="a"),
    question_and_answer("Why?", "No idea", name="b"),
    question_and_answer("Who is it? " * 6, "It is a cat, I say; a large one", system="Say what you see.", name="c"),
    Conversation("d", (Turn("user", "x"), Turn("assistant", "y"), Turn("user", "z"), Turn("assistant", "  it is z "))),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def model(tiny: Tiny) -> HookedModelBase:
    return tiny.hooked("transformer_lens")


def random_direction(model: HookedModelBase, seed: int, layers: Sequence[int] = range(N_LAYERS)) -> Direction:
    vectors = torch.randn(len(layers), D_MODEL, generator=torch.Generator().manual_seed(seed))
    points = tuple(Hookpoint(layer) for layer in layers)
    return Direction(3 * vectors, points, f"trait {seed}", "random", "loud", model.provenance)


def reference(
    model: HookedModelBase, talks: Sequence[Conversation], directions: Sequence[Direction], pooling: str
) -> np.ndarray:
    """One sample at a time through the extraction, projected by the direction itself."""
    rows = []
    for talk in talks:
        answer = encode(model.tokenizer, [f" {talk.answer.strip()}"])
        prompt = render_chat(model.tokenizer, talk.prompt)
        found = extract_activations(model, [prompt], answer, pooling=pooling, progress=False)  # pyright: ignore
        rows.append(torch.stack([direction.project(found)[0] for direction in directions]).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tokens_at_once", [1, 130, 16_384])
def test_projections_are_those_of_extracted_activations(tiny: Tiny, backend: str, tokens_at_once: int) -> None:
    model = tiny.hooked(backend)
    directions = [random_direction(model, seed) for seed in (1, 2)]
    found = project_samples(model, TALKS, directions, range(N_LAYERS), tokens_at_once=tokens_at_once, progress=False)
    assert found.response.shape == found.prompt_last.shape == (len(TALKS), 2, N_LAYERS)
    for values, pooling in ((found.response, "response_mean"), (found.prompt_last, "prompt_last")):
        np.testing.assert_allclose(values, reference(model, TALKS, directions, pooling), rtol=1e-4, atol=1e-4)


def test_layers_come_in_the_order_asked_for_and_only_they_are_needed(model: HookedModelBase) -> None:
    directions = [random_direction(model, seed) for seed in (1, 2)]
    every = project_samples(model, TALKS, directions, range(N_LAYERS), progress=False)
    some = project_samples(model, TALKS, directions[1:], [1, 0, 1], progress=False)
    np.testing.assert_allclose(some.response, every.response[:, 1:, [1, 0, 1]], rtol=1e-4, atol=1e-4)
    shallow = project_samples(model, TALKS, [random_direction(model, 3, layers=[1])], [1], progress=False)
    assert shallow.response.shape == (len(TALKS), 1, 1)


def test_shared_prompts_are_computed_once_and_change_nothing(model: HookedModelBase) -> None:
    long = "The cat sat on the mat and asked who had put it there. " * 4
    talks = [question_and_answer(long, f"It was {who}.", name=who) for who in ("me", "you and I", "nobody at all")]
    directions = [random_direction(model, 4)]
    together = project_samples(model, talks, directions, [0, 2], keep_tokens=True, progress=False)
    alone = [project_samples(model, [talk], directions, [0, 2], keep_tokens=True, progress=False) for talk in talks]
    np.testing.assert_allclose(together.response, np.concatenate([one.response for one in alone]), atol=1e-4)
    np.testing.assert_allclose(together.prompt_last, np.concatenate([one.prompt_last for one in alone]), atol=1e-4)
    np.testing.assert_allclose(_tokens(together)[2], _tokens(alone[2])[0], atol=1e-4)


def test_kept_tokens_average_to_the_response(model: HookedModelBase) -> None:
    found = project_samples(model, TALKS, [random_direction(model, 5)], [2, 0], keep_tokens=True, progress=False)
    for i, (tokens, talk) in enumerate(zip(_tokens(found), TALKS, strict=True)):
        np.testing.assert_allclose(tokens.mean(axis=0), found.response[i], rtol=1e-4, atol=1e-4)
        assert found.token_ids is not None
        assert len(tokens) == found.n_answer_tokens[i] == len(found.token_ids[i])
        assert str(model.tokenizer.decode(list(found.token_ids[i]))).strip() == talk.answer.strip()
    bare = project_samples(model, TALKS, [random_direction(model, 5)], [2], progress=False)
    assert bare.tokens is None and bare.token_ids is None


def test_an_empty_answer_has_no_response_but_a_last_prompt_token(model: HookedModelBase) -> None:
    talks = [TALKS[0], question_and_answer("Why?", "  ", name="mute")]
    found = project_samples(model, talks, [random_direction(model, 6)], [1], keep_tokens=True, progress=False)
    assert np.isfinite(found.response[0]).all() and np.isnan(found.response[1]).all()
    assert np.isfinite(found.prompt_last).all() and found.n_answer_tokens.tolist()[1] == 0
    assert _tokens(found)[1].shape == (0, 1, 1)


@given(st.text(max_size=12), st.text(max_size=12), st.booleans())
@settings(max_examples=40, deadline=None)
def test_ids_are_those_of_prompt_and_answer_and_are_never_tokenised_across(
    model: HookedModelBase, question: str, answer: str, templated: bool
) -> None:
    tokenizer = copy.copy(model.tokenizer)
    tokenizer.chat_template = TEMPLATE if templated else None
    talk = question_and_answer(question, answer)
    prompt_ids, answer_ids = conversation_ids(tokenizer, talk)
    assert prompt_ids == encode(tokenizer, [render_chat(tokenizer, talk.prompt)])[0]
    other, _ = conversation_ids(tokenizer, question_and_answer(question, "something else"))
    assert other == prompt_ids
    lead = "" if templated or not answer.strip() else " "
    assert answer_ids == encode(tokenizer, [lead + answer.strip()])[0]


def test_the_prompt_of_a_chat_model_ends_where_the_answer_begins(model: HookedModelBase) -> None:
    tokenizer = copy.copy(model.tokenizer)
    tokenizer.chat_template = TEMPLATE
    prompt, answer = conversation_ids(tokenizer, TALKS[3])
    assert tokenizer.decode(prompt) == "[user]x\n[assistant]y\n[user]z\n[assistant]"
    assert tokenizer.decode(answer) == "it is z"


def test_a_sample_that_does_not_fit_is_named_before_anything_runs(model: HookedModelBase) -> None:
    talks = [TALKS[0], question_and_answer("why " * 300, "so", name="data.jsonl, line 7")]
    with pytest.raises(ContextLengthError) as caught:
        project_samples(model, talks, [random_direction(model, 1)], [0], progress=False)
    assert "data.jsonl, line 7 is" in str(caught.value) and "holds 512" in str(caught.value)
    assert "1 of 2 samples do not fit" in str(caught.value)
    with pytest.raises(ContextLengthError, match="sample 0 is"):
        project_samples(model, [question_and_answer("why " * 300, "so")], [random_direction(model, 1)], [0])


def test_what_cannot_be_projected_is_refused(model: HookedModelBase) -> None:
    good = random_direction(model, 1)
    other = Direction(good.vectors, good.hookpoints, "t", "m", "p", provenance(d_model=D_MODEL))
    zero = Direction(0 * good.vectors, good.hookpoints, "flat", "m", "p", model.provenance)
    with pytest.raises(IncompatibleDirectionError, match="belongs to"):
        project_samples(model, TALKS, [good, other], [0])
    with pytest.raises(HookpointError, match="has no vector for"):
        project_samples(model, TALKS, [good], [N_LAYERS])
    with pytest.raises(ConfigError, match="the direction flat is zero at resid_post at layer 1"):
        project_samples(model, TALKS, [good, zero], [1])
    with pytest.raises(ConfigError, match="must be a list of .* that is not empty"):
        project_samples(model, TALKS, [good], [])
    with pytest.raises(EmptySelectionError, match="no sample"):
        project_samples(model, [], [good], [0])
    with pytest.raises(DataError, match="line 3 is not a prompt with an answer"):
        project_samples(model, [Conversation("line 3", (Turn("assistant", "Hi"),))], [good], [0])


def _tokens(found: SampleProjections) -> tuple[np.ndarray, ...]:
    assert found.tokens is not None
    return found.tokens


def test_the_answer_after_its_reasoning_is_projected(model: HookedModelBase) -> None:
    """As if the block were the end of the prompt; the last prompt token is still the one before the block."""
    direction = random_direction(model, 7)
    plain, reasoned = question_and_answer("Why?", "so"), question_and_answer("Why?", "<think>a</think>\n\nso")
    found = project_samples(model, [plain, reasoned], [direction], [1], keep_tokens=True, progress=False)
    assert found.token_ids is not None and found.tokens is not None
    assert found.n_answer_tokens.tolist() == [3, 2] and found.n_prompt_tokens[0] == found.n_prompt_tokens[1]
    assert model.tokenizer.decode(list(found.token_ids[1])) == "so"
    np.testing.assert_allclose(found.prompt_last[0], found.prompt_last[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.tokens[1].mean(0), found.response[1], rtol=1e-4, atol=1e-5)
    prompt, answer = conversation_ids(model.tokenizer, reasoned)
    residual = model.run(token_batch([prompt], [answer]), read=[Hookpoint(1)]).residuals[Hookpoint(1)][0, -2:]
    expected = (residual @ direction.at(1) / direction.at(1).norm()).mean()
    assert float(found.response[1, 0, 0]) == pytest.approx(float(expected), rel=1e-3, abs=1e-4)
