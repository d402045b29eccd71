"""Streams of random numbers: neighbouring seeds and different purposes share nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.statistics.streams import derived_seed, stream

SEEDS = st.integers(0, 2**31)
PURPOSES = st.lists(st.one_of(st.text(max_size=8), st.integers(0, 1000)), max_size=3).map(tuple)


@given(SEEDS, PURPOSES)
def test_one_seed_and_purpose_give_one_stream(seed, purpose):
    assert np.array_equal(stream(seed, *purpose).random(4), stream(seed, *purpose).random(4))


@given(SEEDS, PURPOSES)
def test_neighbouring_seeds_share_no_numbers(seed, purpose):
    assert not np.intersect1d(stream(seed, *purpose).random(50), stream(seed + 1, *purpose).random(50)).size
    assert derived_seed(seed, *purpose) != derived_seed(seed + 1, *purpose)


def test_purposes_share_no_numbers():
    """Among them those that numpy takes for the same: it pads a list of seeds with zeros."""
    assert np.array_equal(np.random.default_rng([7, 0]).random(4), np.random.default_rng(7).random(4))
    purposes = [(), (0,), (0, 0), (1,), ("items",), ("items", 0), ("items", 1), ("rows",)]
    drawn = [stream(7, *purpose).random(50) for purpose in purposes]
    assert len(np.unique(np.concatenate(drawn))) == 50 * len(purposes)


def test_a_step_of_one_run_is_no_step_of_the_next():
    steps = ("extraction", "held out", "selection", "evaluation", "factual")
    seeds = [derived_seed(seed, step) for seed in range(50) for step in steps]
    assert len(set(seeds)) == len(seeds)
