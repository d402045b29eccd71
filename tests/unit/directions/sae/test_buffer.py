"""The shuffled buffer: every token of every text once a pass, of bounded size, the same from any point on."""

import numpy as np
import pytest
import torch

from persona_interp.directions.sae.buffer import ShuffledActivations
from persona_interp.directions.sae.tokens import (
    MASSIVE,
    TEXTS_AT_ONCE,
    all_rows,
    first_texts,
    massive_limit,
    row_batches,
    text_rows,
    token_activations,
)
from persona_interp.errors import EmptySelectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import Hookpoint
from tests.unit.directions.sae.test_train import TEXTS

PLACE = Hookpoint(1)


def buffer(model: HookedModelBase, texts: list[str], **options: object) -> ShuffledActivations:
    plain = {"limit": 1e9, "buffer_tokens": 512, "batch_tokens": 64, "seed": 0, "device": "cpu"}
    return ShuffledActivations(model, texts, PLACE, **{**plain, **options})  # pyright: ignore


def test_a_pass_has_every_token_once_and_the_buffer_stays_small(model: HookedModelBase) -> None:
    several = TEXTS * 4
    rows = [row for some in all_rows(model.tokenizer, TEXTS) for row in some]
    longest = TEXTS_AT_ONCE * max(len(row.ids) for row in rows)
    batches, given = buffer(model, several), []
    while batches.position.epoch < 1:
        given.append(next(batches))
        assert len(batches.held) <= 512 + longest and given[-1].shape == (64, model.d_model)
    assert given and batches.position.n_fills > 1
    again = buffer(model, several)
    for batch in given:
        assert torch.equal(next(again), batch)
    other = buffer(model, several, seed=1)
    assert not torch.equal(next(other), given[0])


def test_it_goes_on_from_a_position_and_what_it_held(model: HookedModelBase) -> None:
    first = buffer(model, TEXTS)
    for _ in range(11):
        next(first)
    second = buffer(model, TEXTS, position=first.position, held=first.held.clone())
    for _ in range(20):
        assert torch.equal(next(first), next(second))


def test_texts_without_a_token_are_refused(model: HookedModelBase) -> None:
    with pytest.raises(EmptySelectionError, match="no token to train on"):
        next(buffer(model, ["", ""]))
    with pytest.raises(EmptySelectionError, match="no token after the start token"):
        massive_limit(model, [""], PLACE)


def test_a_shared_beginning_counts_once(model: HookedModelBase) -> None:
    rows = text_rows(model.tokenizer, ["the cat sat", "the cat ran", "a dog"], [0, 1, 2])
    assert [row.first for row in rows][::2] == [1, 1] and rows[1].first > 3
    assert rows[0].ids[: rows[1].first] == rows[1].ids[: rows[1].first]
    counted = [int(one.kept(PLACE, None).sum()) for one in token_activations(model, rows, [PLACE])]
    assert sum(counted) == sum(len(row.ids) - row.first for row in rows)


def test_long_texts_are_cut_and_rows_of_a_pass_are_of_similar_length(model: HookedModelBase) -> None:
    rng = np.random.default_rng(0)
    several = [" ".join(["cat"] * int(n)) for n in rng.integers(1, 90, 100)]
    rows = text_rows(model.tokenizer, several, range(100))
    assert max(len(row.ids) for row in rows) <= 256 and len({row.text for row in rows}) == 100
    seen = 0
    for batch, chunk in row_batches(model, rows):
        assert batch.ids.numel() <= 8192
        seen += len(chunk)
    assert seen == sum(row.first < len(row.ids) for row in rows)
    assert len(first_texts(model.tokenizer, several, 50)) < 100 == len(first_texts(model.tokenizer, several, 10**6))


def test_the_limit_is_ten_times_the_median(model: HookedModelBase) -> None:
    rows = text_rows(model.tokenizer, TEXTS[:32], range(32))
    norms = [one.values[PLACE][one.kept(PLACE, None)].norm(dim=-1) for one in token_activations(model, rows, [PLACE])]
    assert massive_limit(model, TEXTS, PLACE) == pytest.approx(MASSIVE * float(torch.cat(norms).median()))
