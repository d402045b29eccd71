import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from persona_interp.errors import ConfigError
from persona_interp.types import (
    NO_EDITS,
    POOLINGS,
    SPANS,
    STREAMS,
    Edit,
    ForwardPass,
    Generation,
    Hookpoint,
    KVPrefix,
    Provenance,
    TokenBatch,
    depth_of,
    layer_at_depth,
    layers_at_depth,
)

PAD = 7


def batch_of(rows: list[tuple[int, int]]) -> TokenBatch:
    """A left-padded batch whose rows have the given (prompt, response) lengths."""
    width = max(prompt + response for prompt, response in rows)
    masks, responses = [], []
    for prompt, response in rows:
        padding = width - prompt - response
        masks.append([False] * padding + [True] * (prompt + response))
        responses.append([False] * (padding + prompt) + [True] * response)
    mask = torch.tensor(masks)
    ids = torch.where(mask, torch.arange(width) + 10, PAD)
    return TokenBatch(ids, mask, torch.tensor(responses))


lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6)), min_size=1, max_size=5)


@given(lengths)
def test_prompt_response_and_padding_partition_the_positions(rows):
    batch = batch_of(rows)
    covered = batch.prompt.int() + batch.response.int() + (~batch.mask).int()
    assert (covered == 1).all()
    assert batch.prompt.sum(-1).tolist() == [prompt for prompt, _ in rows]
    assert batch.response.sum(-1).tolist() == [response for _, response in rows]


@given(lengths)
def test_last_prompt_is_the_one_token_before_the_response(rows):
    batch = batch_of(rows)
    width = batch.ids.shape[1]
    assert batch.last_prompt.sum(-1).tolist() == [1] * len(rows)
    assert batch.last_prompt.long().argmax(-1).tolist() == [width - 1 - response for _, response in rows]


@given(lengths, st.sampled_from(SPANS), st.booleans())
def test_no_span_touches_padding(rows, span, last_prompt_token):
    batch = batch_of(rows)
    positions = batch.span(span, last_prompt_token=last_prompt_token)
    assert not (positions & ~batch.mask).any()
    assert positions.shape == batch.mask.shape
    assert positions.dtype == torch.bool


@given(lengths, st.booleans())
def test_prompt_and_response_spans_make_up_all(rows, last_prompt_token):
    batch = batch_of(rows)
    prompt = batch.span("prompt", last_prompt_token=last_prompt_token)
    response = batch.span("response", last_prompt_token=last_prompt_token)
    last = batch.span("last", last_prompt_token=last_prompt_token)
    assert torch.equal(prompt | response, batch.span("all", last_prompt_token=last_prompt_token))
    assert torch.equal(prompt & response, last if last_prompt_token else torch.zeros_like(last))
    assert torch.equal(last & prompt, last)


@given(lengths)
def test_positions_count_real_tokens_from_zero(rows):
    batch = batch_of(rows)
    for (prompt, response), mask, positions in zip(rows, batch.mask, batch.position_ids, strict=True):
        assert positions[mask].tolist() == list(range(prompt + response))
        assert (positions[~mask] == 0).all()


@given(lengths, st.integers(1, 4))
def test_masks_do_not_depend_on_the_amount_of_padding(rows, extra):
    batch = batch_of(rows)
    pad = (extra, 0)
    wider = TokenBatch(
        torch.nn.functional.pad(batch.ids, pad, value=PAD),
        torch.nn.functional.pad(batch.mask, pad, value=False),
        torch.nn.functional.pad(batch.response, pad, value=False),
    )
    assert torch.equal(wider.last_prompt[:, extra:], batch.last_prompt)
    assert not wider.last_prompt[:, :extra].any()
    assert torch.equal(wider.position_ids[:, extra:], batch.position_ids)


def test_a_row_by_hand():
    batch = TokenBatch(
        ids=torch.tensor([[PAD, PAD, 3, 4, 5, 6]]),
        mask=torch.tensor([[False, False, True, True, True, True]]),
        response=torch.tensor([[False, False, False, False, True, True]]),
    )
    assert batch.prompt.int().tolist() == [[0, 0, 1, 1, 0, 0]]
    assert batch.last_prompt.int().tolist() == [[0, 0, 0, 1, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 0, 0, 1, 2, 3]]
    assert batch.span("response", last_prompt_token=True).int().tolist() == [[0, 0, 0, 1, 1, 1]]
    assert batch.span("response", last_prompt_token=False).int().tolist() == [[0, 0, 0, 0, 1, 1]]


def test_a_row_without_a_prompt_has_no_last_prompt_token():
    batch = batch_of([(0, 3), (2, 1)])
    assert batch.last_prompt.int().tolist() == [[0, 0, 0], [0, 1, 0]]


def test_length_and_device():
    batch = batch_of([(2, 1), (3, 0), (1, 1)])
    assert len(batch) == 3
    moved = batch.to("meta")
    assert {moved.ids.device.type, moved.mask.device.type, moved.response.device.type} == {"meta"}
    assert batch.ids.device.type == "cpu"


def test_shapes_that_disagree_are_refused_under_test():
    with pytest.raises(TypeCheckError):
        TokenBatch(
            torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)
        )


def test_integer_masks_are_refused_under_test():
    ones = torch.ones(2, 3, dtype=torch.long)
    with pytest.raises(TypeCheckError):
        TokenBatch(ones, ones, ones)


@pytest.mark.parametrize("stream", STREAMS)
def test_hookpoints_are_values(stream):
    assert Hookpoint(3, stream) == Hookpoint(3, stream)
    assert {Hookpoint(3, stream): "a"}[Hookpoint(3, stream)] == "a"
    assert str(Hookpoint(3, stream)) == f"{stream} at layer 3"


def test_hookpoints_sort_by_layer_first():
    points = [Hookpoint(10), Hookpoint(2, "resid_pre"), Hookpoint(2, "attn_out")]
    assert sorted(points) == [Hookpoint(2, "attn_out"), Hookpoint(2, "resid_pre"), Hookpoint(10)]


def test_a_hookpoint_is_the_output_of_its_block_unless_said_otherwise():
    assert Hookpoint(4).stream == "resid_post"


def test_a_hookpoint_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Hookpoint(4).layer = 5  # pyright: ignore[reportAttributeAccessIssue]


def test_an_unknown_stream_is_named_with_the_known_ones():
    known = "resid_pre, head_out, attn_out, mlp_in, mlp_act, mlp_out or resid_post"
    with pytest.raises(ConfigError, match=f"^stream must be {known}, got 'hidden_state'"):
        Hookpoint(1, "hidden_state")  # pyright: ignore


def test_names_of_poolings_and_spans():
    assert POOLINGS == ("prompt_last", "prompt_mean", "response_mean")
    assert SPANS == ("all", "prompt", "response", "last")


def test_no_edits_is_empty_and_stays_so():
    assert dict(NO_EDITS) == {}
    with pytest.raises(TypeError):
        NO_EDITS[Hookpoint(0)] = ()  # pyright: ignore[reportIndexIssue]


def test_an_edit_covers_everything_unless_said_otherwise():
    edit = Edit(lambda residual, _: residual)
    assert (edit.span, edit.last_prompt_token) == ("all", True)


def test_a_prefix_has_keys_and_values_of_one_shape():
    keys = torch.zeros(2, 1, 3, 1, 4)
    assert KVPrefix(keys, keys).values.shape == keys.shape
    with pytest.raises(TypeCheckError):
        KVPrefix(keys, torch.zeros(2, 1, 3, 2, 4))


def test_results_hold_nothing_that_was_not_asked_for():
    one, other = ForwardPass(), ForwardPass()
    assert one.logits is None
    assert one.token_logprobs is None
    assert (one.residuals, one.pooled) == ({}, {})
    assert one.residuals is not other.residuals
    assert Generation([[1]], ["a"], [True]).pooled == {}


def provenance(**changes) -> Provenance:
    base = Provenance(
        model="tiny",
        weights="abc",
        backend="transformer_lens",
        dtype="float32",
        n_layers=2,
        d_model=8,
        method="mean_difference",
        method_version=1,
        pooling="response_mean",
        versions={"torch": "2"},
        details={"n_samples": 4},
    )
    return dataclasses.replace(base, **changes)


def test_provenance_survives_json():
    before = provenance(seed=3, chat_template="f00")
    assert Provenance.from_dict(json.loads(json.dumps(before.to_dict()))) == before


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=4))
def test_any_plain_details_survive_json(details):
    before = provenance(details=details)
    assert Provenance.from_dict(json.loads(json.dumps(before.to_dict()))) == before


def test_provenance_of_a_later_version_loads():
    assert Provenance.from_dict({**provenance().to_dict(), "moon_phase": "full"}) == provenance()


def test_a_derived_provenance_keeps_the_model_and_adds_details():
    before = provenance()
    after = before.derive("pca", 2, pooling=None, component=1)
    assert (after.method, after.method_version, after.pooling) == ("pca", 2, None)
    assert after.details == {"n_samples": 4, "component": 1}
    assert (after.model, after.weights, after.versions) == (before.model, before.weights, before.versions)
    assert before == provenance()


def test_a_derived_detail_replaces_an_earlier_one():
    assert provenance().derive("pca", 2, pooling=None, n_samples=9).details == {"n_samples": 9}


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_a_block_lies_at_the_depth_of_its_output(place: tuple[int, int]):
    layer, n_layers = place
    assert layer_at_depth(depth_of(layer, n_layers), n_layers) == layer
    assert depth_of(n_layers - 1, n_layers) == 1


@given(st.floats(0, 1), st.integers(1, 200))
def test_the_nearest_output_is_chosen(depth: float, n_layers: int):
    distances = [abs(depth_of(layer, n_layers) - depth) for layer in range(n_layers)]
    assert distances[layer_at_depth(depth, n_layers)] == pytest.approx(min(distances), abs=1e-9)


def test_of_two_equally_near_blocks_the_later_is_taken():
    assert [layer_at_depth(0.5, n) for n in (1, 2, 3, 5, 30)] == [0, 0, 1, 2, 14]
    assert (layer_at_depth(0.55, 30), layer_at_depth(0.29, 50)) == (16, 14)


def test_several_depths_give_each_block_once():
    assert layers_at_depth([0.0, 0.01, 0.5, 0.51, 1.0], 30) == (0, 14, 29)
    assert layers_at_depth([0.3, 0.5, 0.7], 30) == (8, 14, 20)
    with pytest.raises(ConfigError, match="depths\\[0\\] must be 0 to 1, got 1.2"):
        layers_at_depth([1.2], 30)
    with pytest.raises(ConfigError, match="depths must be a list of finite numbers that is not empty"):
        layers_at_depth([], 30)
