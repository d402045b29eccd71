"""Texts as tokens, the steps of an epoch, and the loss after virtual tokens, against the hooked model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from persona_interp.data.trait_texts import TraitTexts
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.errors import ConfigError, DataError
from persona_interp.models.identity import describe
from persona_interp.models.tokens import token_batch
from persona_interp.studies.psychadapter.samples import (
    TraitSamples,
    batches,
    epoch_steps,
    mean_text_loss,
    n_predicted,
    start_text,
    text_loss,
    trait_samples,
)
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from tests.contract.tiny import EOS, TOLERANCE, Tiny, make_tokenizer
from tests.unit.finetuning.trait_texts import planted, quick


def samples_of(lengths: list[int]) -> TraitSamples:
    return TraitSamples((7,), tuple((5,) * n for n in lengths), torch.zeros(len(lengths), 2))


def test_texts_end_and_long_ones_are_cut_as_published() -> None:
    data = TraitTexts(("AB", "ABCDEFGH"), np.array([[1.0], [2.0]]), ("one",), "made", estimated=False)
    made = trait_samples(make_tokenizer(), data, PsychAdapterSettings(max_tokens=5, start="x"), context=64)
    assert [len(ids) for ids in made.ids] == [3, 5] and made.ids[0][-1] == EOS and EOS not in made.ids[1]
    assert (made.n_cut, made.n_left_out, made.z.tolist()) == (1, 0, [[1.0], [2.0]])
    left = trait_samples(
        make_tokenizer(), data, PsychAdapterSettings(max_tokens=5, start="x", too_long="leave_out"), context=64
    )
    assert (len(left), left.n_cut, left.n_left_out, left.z.tolist()) == (1, 0, 1, [[1.0]])
    short = trait_samples(make_tokenizer(), data, PsychAdapterSettings(start="x"), context=6)
    assert [len(ids) for ids in short.ids] == [3, 4]


def test_texts_that_cannot_be_used_are_named() -> None:
    data = TraitTexts(("ABCDEFGH",), np.array([[1.0]]), ("one",), "made", estimated=False)
    with pytest.raises(DataError) as caught:
        trait_samples(
            make_tokenizer(), data, PsychAdapterSettings(max_tokens=4, start="x", too_long="leave_out"), context=64
        )
    assert str(caught.value) == "all 1 texts of made are longer than 4 tokens.\n  Raise max_tokens."
    with pytest.raises(ConfigError, match="has no room for a text after 1 others"):
        trait_samples(make_tokenizer(), data, PsychAdapterSettings(start="x"), context=3)


def test_texts_start_at_the_beginning_or_the_end_of_text() -> None:
    tokenizer = make_tokenizer()
    assert (start_text(tokenizer, None), start_text(tokenizer, "x")) == ("<eos>", "x")
    tokenizer.bos_token = "<unk>"
    assert start_text(tokenizer, None) == "<unk>"
    with pytest.raises(ConfigError) as caught:
        start_text(tokenizer, "")
    assert str(caught.value) == (
        "nothing comes before the texts, so their first token cannot be predicted.\n"
        '  Name a text that has a token: PsychAdapterSettings(start="...").'
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=200), st.integers(1, 7), st.integers(1, 3), st.integers(0, 5))
def test_an_epoch_has_every_text_once(lengths: list[int], size: int, accumulation: int, epoch: int) -> None:
    samples, chosen = samples_of(lengths), PsychAdapterSettings(batch_size=size, accumulation=accumulation)
    steps = list(epoch_steps(samples, chosen, epoch))
    assert sorted(i for step in steps for rows in step for i in rows) == list(range(len(lengths)))
    assert all(len(step) <= accumulation and all(0 < len(rows) <= size for rows in step) for step in steps)
    assert list(epoch_steps(samples, chosen, epoch)) == steps


def test_little_of_a_batch_is_padding_and_epochs_differ() -> None:
    lengths = np.random.default_rng(0).integers(4, 60, size=320).tolist()
    samples, chosen = samples_of(lengths), PsychAdapterSettings(batch_size=16)
    steps = list(epoch_steps(samples, chosen, 0))
    used = sum(len(rows) * max(lengths[i] for i in rows) for step in steps for rows in step)
    assert used < 1.1 * sum(lengths)
    assert steps != list(epoch_steps(samples, chosen, 1))
    assert n_predicted(samples, range(320)) == sum(lengths)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Padding is the end of text, as GPT-2 has it."""
    return Tiny.make("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.mark.parametrize("which", ["small", "gpt2", "gemma3"])
def test_the_loss_is_that_of_the_hooked_model(
    which: str, small: Tiny, gpt2: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Left-padded passes of the hooked model, each text after its own trait vector, give the same sum."""
    make: dict[str, Callable[[], Tiny]] = {
        "small": lambda: small,
        "gpt2": lambda: gpt2,
        "gemma3": lambda: Tiny.make("gemma3", tmp_path_factory.mktemp("gemma3")),
    }
    tiny = make[which]()
    tokenizer = AutoTokenizer.from_pretrained(tiny.folder)
    model = tiny.hooked("nnsight")
    samples = trait_samples(tokenizer, planted(9).standardised(), quick(), context=64)
    torch.manual_seed(0)
    adapter = PsychAdapter(KVShape.of(tiny.plain.config), ("one", "two"), describe(tiny.plain, tokenizer, "", ""))
    adapter.requires_grad_(False)
    rows = [4, 0, 7, 2]
    ours = text_loss(tiny.plain, adapter, samples, rows)
    batch = token_batch([list(samples.start)] * len(rows), [samples.ids[i] for i in rows])
    hooked = model.run(batch, outputs="token_logprobs", prefix=adapter.prefix(samples.z[rows])).token_logprobs
    assert hooked is not None
    torch.testing.assert_close(ours, -hooked.sum(), **TOLERANCE)
    alone = model.run(batch, outputs="token_logprobs").token_logprobs
    assert alone is not None
    torch.testing.assert_close(text_loss(tiny.plain, None, samples, rows), -alone.sum(), **TOLERANCE)
    assert float((hooked - alone).abs().max()) > 0.01


def test_the_end_of_text_is_trained_on_where_padding_is_the_same_token(gpt2: Tiny) -> None:
    """The gradient of the end's log-probability is in the loss, and that of padding is not."""
    tokenizer = AutoTokenizer.from_pretrained(gpt2.folder)
    tokenizer.pad_token = tokenizer.eos_token
    data = TraitTexts(("AB", "ABCDEFGHAB"), np.array([[1.0], [2.0]]), ("one",), "made", estimated=False)
    samples = trait_samples(tokenizer, data.standardised(), PsychAdapterSettings(start="x"), context=64)
    assert all(ids[-1] == tokenizer.pad_token_id for ids in samples.ids)
    together = text_loss(gpt2.plain, None, samples, [0, 1])
    alone = sum(text_loss(gpt2.plain, None, samples, [i]) for i in range(2))
    torch.testing.assert_close(together, alone, **TOLERANCE)
    without_end = TraitSamples(samples.start, tuple(ids[:-1] for ids in samples.ids), samples.z)
    assert float(together - text_loss(gpt2.plain, None, without_end, [0, 1])) > 0.1


def test_the_mean_loss_counts_every_token_once(small: Tiny, tmp_path: Path) -> None:  # noqa: ARG001
    tokenizer = AutoTokenizer.from_pretrained(small.folder)
    samples = trait_samples(tokenizer, planted(11).standardised(), quick(), context=64)
    one_by_one = sum(float(text_loss(small.plain, None, samples, [i])) for i in range(11))
    expected = one_by_one / n_predicted(samples, range(11))
    assert mean_text_loss(small.plain, None, samples, 4) == pytest.approx(expected, rel=1e-5)
    assert batches([3, 1, 2], 2) == [[3, 1], [2]]
