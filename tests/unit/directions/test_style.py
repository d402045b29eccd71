"""Style vectors: what is read where, the two readings, the two weightings, and refusals."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.directions.style import (
    extract_style_activations,
    published_layers,
    style_vector,
    style_vectors,
    text_beginning,
)
from persona_interp.errors import AlignmentError, ConfigError, HookpointError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import Hookpoint
from tests.contract.tiny import N_LAYERS, TOLERANCE, Tiny, make_tokenizer
from tests.small import activations
from tests.styles import corpus, style_activations, style_frame


def test_last_tokens_are_those_of_transformers(small: Tiny, model: HookedModelBase) -> None:
    given_corpus = corpus()
    made = extract_style_activations(model, given_corpus, batch_size=3, progress=False)
    assert made.hookpoints == (Hookpoint(0, "resid_pre"), *map(Hookpoint, range(N_LAYERS)))
    for i, text in enumerate(made.samples["text"]):
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        states = small.plain(ids, output_hidden_states=True).hidden_states
        for k in range(N_LAYERS):  # the last of transformers is behind the final norm
            torch.testing.assert_close(made.values[i, k], states[k][0, -1], **TOLERANCE)
            assert made.norms is not None
            torch.testing.assert_close(made.norms[i, k], states[k][0, -1].norm(), **TOLERANCE)
    assert list(made.samples["style"]) == ["cold"] * 8 + ["warm"] * 8
    assert made.provenance.details["data_hash"] == given_corpus.data_hash


def test_the_published_reading_is_one_block_late(model: HookedModelBase) -> None:
    """hidden_states[k], added at block k."""
    made = extract_style_activations(model, corpus(), progress=False)
    block, published = style_vector(made, "warm"), style_vector(made, "warm", reading="published")
    for layer in range(1, N_LAYERS):
        assert torch.equal(published.at(layer), block.at(layer - 1))
    embeddings = made.values[:, 0]
    torch.testing.assert_close(published.at(0), embeddings[8:].mean(0) - embeddings[:8].mean(0))
    assert published.residual_norm(1) == block.residual_norm(1), "the unit is that of the block where it is added"
    assert "hidden_states[i]" in published.provenance.layer_convention


def test_batches_do_not_matter(model: HookedModelBase) -> None:
    one, other = (
        extract_style_activations(model, corpus("cold", "wet"), batch_size=n, progress=False) for n in (1, 16)
    )
    torch.testing.assert_close(one.values, other.values, **TOLERANCE)


def test_a_pass_stops_at_the_deepest_block(model: HookedModelBase) -> None:
    made = extract_style_activations(model, corpus(), deepest_layer=0, progress=False)
    assert made.hookpoints == (Hookpoint(0, "resid_pre"), Hookpoint(0))
    for layer in (-1, N_LAYERS):
        with pytest.raises(HookpointError, match="Layers run 0..2"):
            extract_style_activations(model, corpus(), deepest_layer=layer, progress=False)


def test_rows_of_a_parallel_corpus_share_their_pair(model: HookedModelBase) -> None:
    for parallel, n_pairs in ((True, 8), (False, 16)):
        made = extract_style_activations(model, corpus(parallel=parallel), deepest_layer=0, progress=False)
        assert made.samples["pair"].nunique() == n_pairs


def test_weightings_differ_where_styles_differ_in_size() -> None:
    values = torch.tensor([[4.0], [0.0], [0.0], [0.0], [8.0]])[:, None, :].repeat(1, 2, 1)
    made = style_activations(values, style_frame({"a": 1, "b": 3, "c": 1}))
    assert float(style_vector(made, "a").at(0)) == pytest.approx(4 - 8 / 4)
    assert float(style_vector(made, "a", weighting="styles").at(0)) == pytest.approx(4 - 4)
    assert float(style_vector(made, "a", against=["c"]).at(0)) == pytest.approx(4 - 8)
    details = style_vector(made, "a").provenance.details
    assert (details["n_positive"], details["n_negative"], details["against"]) == (1, 4, ["b", "c"])


@given(st.integers(2, 5), st.integers(1, 4))
def test_two_styles_point_opposite_ways(n: int, n_layers: int) -> None:
    values = torch.randn(2 * n, n_layers + 1, 3, generator=torch.Generator().manual_seed(n))
    made = style_vectors(style_activations(values, style_frame({"a": n, "b": n})))
    torch.testing.assert_close(made["a"].vectors, -made["b"].vectors)
    assert made["a"].vectors.shape == (n_layers, 3)


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({"style": "d"}, "no sample is of the style 'd'.\n  Styles: a, b."),
        ({"style": "a", "against": ["z"]}, "no sample is of the style 'z'."),
        ({"style": "a", "against": ["a", "b"]}, "a cannot be told from a, b."),
        ({"style": "a", "against": []}, "against must be a list of texts that is not empty, got []."),
        ({"style": "a", "reading": "late"}, "reading must be block or published, got 'late'."),
        ({"style": "a", "weighting": "all"}, "weighting must be sentences or styles, got 'all'."),
    ],
)
def test_refusals(choice: dict, text: str) -> None:
    made = style_activations(torch.randn(4, 2, 3), style_frame({"a": 2, "b": 2}))
    with pytest.raises(ConfigError) as error:
        style_vector(made, **choice)
    assert text in str(error.value)


def test_activations_without_styles_or_blocks_are_refused() -> None:
    with pytest.raises(AlignmentError, match="column `style`"):
        style_vector(activations(torch.randn(4, 2, 3)), "a")
    made = style_activations(torch.randn(4, 1, 3), style_frame({"a": 2, "b": 2}))
    with pytest.raises(AlignmentError, match="holds? nothing"):
        style_vector(made, "a")


def test_the_published_layers_lie_at_their_depth() -> None:
    assert [published_layers(n) for n in (32, 30, 18, 3, 1)] == [
        (18, 19, 20), (17, 18, 19), (10, 11, 12), (0, 1, 2), (0,)
    ]  # fmt: skip


def test_a_beginning_is_added_where_the_tokenizer_adds_one() -> None:
    tokenizer = make_tokenizer()
    assert text_beginning(tokenizer) == ""
    tokenizer.bos_token = "A"

    class Adds:
        bos_token, bos_token_id = "A", tokenizer.bos_token_id

        def __call__(self, text: str) -> dict[str, Any]:
            return {"input_ids": [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]}

    undecorated: Any = getattr(text_beginning, "__wrapped__", text_beginning)
    assert undecorated(Adds()) == "A"
