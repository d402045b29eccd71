"""The core of the contract on more architectures: tests of the other modules, with other models."""

from collections.abc import Callable

import pytest

from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import STREAMS
from tests.contract import (
    test_edits,
    test_generation,
    test_gradients,
    test_prefixes,
    test_reads,
    test_row_edits,
    test_shared_prefixes,
    test_training_hooks,
)
from tests.contract.tiny import MORE, Tiny


@pytest.fixture(scope="session", params=MORE)
def tiny(request: pytest.FixtureRequest, make_tiny: Callable[[str], Tiny]) -> Tiny:
    """Every one of these architectures in turn, in the place of the others."""
    return make_tiny(request.param)


def test_what_is_read(tiny: Tiny, model: HookedModelBase) -> None:
    test_reads.test_logits_are_bit_equal(tiny, model)
    for stream in STREAMS:
        test_reads.test_each_stream_equals_the_plain_one(tiny, model, stream)
    test_reads.test_streams_add_up(model)
    test_reads.test_a_batch_equals_its_singles(model)


def test_what_is_scored(tiny: Tiny, model: HookedModelBase) -> None:
    batch = test_shared_prefixes.rollouts_batch()
    test_shared_prefixes.test_token_logprobs_equal_the_plain_ones(tiny, model, batch)
    test_shared_prefixes.test_pooled_reads_equal_means_of_plain_ones(tiny, model, batch)


def test_what_is_edited(tiny: Tiny, model: HookedModelBase) -> None:
    test_edits.test_edited_logits_equal_the_plain_ones(tiny, model, "response", True)
    test_row_edits.test_each_row_of_a_pass_is_edited_by_its_own_vector(model, "all")
    if model.backend == "nnsight":
        test_row_edits.test_each_row_is_answered_as_it_is_alone(model, "response", 1)


def test_what_is_generated(tiny: Tiny, model: HookedModelBase) -> None:
    test_generation.test_greedy_equals_the_plain_model_run_again(tiny, model)
    test_generation.test_pooling_while_generating_equals_a_teacher_forced_pass(model, True)
    test_generation.test_shared_prompts_generate_as_singles_do(model)


def test_what_is_generated_under_edits(tiny: Tiny) -> None:
    test_generation.test_greedy_with_edits_equals_repeated_runs(tiny, "response", True)
    test_generation.test_backends_sample_the_same(tiny)


def test_virtual_tokens(tiny: Tiny, model: HookedModelBase) -> None:
    test_prefixes.test_a_prefix_equals_a_cache_filled_by_hand(tiny, model, 1)
    test_prefixes.test_padding_behind_a_prefix_that_a_window_would_count_is_refused(tiny, model)
    test_generation.test_greedy_with_a_prefix_in_each_row_equals_repeated_runs(tiny, model)


def test_gradients_flow(tiny: Tiny, model: HookedModelBase) -> None:
    test_gradients.test_gradients_flow_through_edits(tiny, model, "attn_out")
    test_gradients.test_gradients_flow_through_prefixes(tiny, model)


def test_training_under_edits(tiny: Tiny) -> None:
    test_training_hooks.test_edits_equal_those_of_run(tiny, "response")
    test_training_hooks.test_gradient_checkpointing_gives_the_same_gradients(tiny)
