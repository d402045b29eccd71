"""What a corpus of styles must be, and how it is split and drawn from."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_interp.data.style_corpus import StyleCorpus, with_article
from persona_interp.data.styles import load_styles, style_trait
from persona_interp.errors import ConfigError, DataError


def corpus(sentences: Mapping[str, tuple[str, ...]], *, parallel: bool = False, **descriptions: str) -> StyleCorpus:
    said = {style: with_article(style) for style in sentences} | descriptions
    return StyleCorpus("mine", sentences, said, {}, "mine.csv", parallel)


def numbered(**sizes: int) -> dict[str, tuple[str, ...]]:
    return {style: tuple(f"{style} sentence {i}" for i in range(n)) for style, n in sizes.items()}


@given(
    sizes=st.dictionaries(st.sampled_from("abcdef"), st.integers(4, 30), min_size=2),
    held_out=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_split_parts_every_style_once_and_keeps_the_order(sizes: dict[str, int], held_out: float, seed: int):
    whole = corpus(numbered(**sizes))
    first, second = whole.split(held_out=held_out, seed=seed)
    for style, texts in whole.sentences.items():
        one, other = first.sentences[style], second.sentences[style]
        assert not set(one) & set(other)
        assert sorted([*one, *other], key=texts.index) == list(texts)
        assert list(one) == sorted(one, key=texts.index)
        assert len(other) == min(max(round(held_out * len(texts)), 2), len(texts) - 2)
    again = whole.split(held_out=held_out, seed=seed)
    assert (first.data_hash, second.data_hash) == (again[0].data_hash, again[1].data_hash)


def test_seeds_draw_differently_and_take_gives_at_most_what_there_is():
    whole = corpus(numbered(calm=30, loud=3))
    assert whole.take(10).sentences["loud"] == whole.sentences["loud"]
    assert len(whole.take(10).sentences["calm"]) == 10
    assert whole.take(10, seed=0).sentences["calm"] != whole.take(10, seed=1).sentences["calm"]
    assert whole.take(99).data_hash == whole.data_hash


def test_hash_sees_sentences_descriptions_and_instructions():
    one = load_styles("sentiment")
    assert one.data_hash == load_styles("sentiment").data_hash
    plain = corpus(numbered(calm=4, loud=4))
    assert plain.data_hash != corpus(numbered(calm=4, loud=5)).data_hash
    assert plain.data_hash != corpus(numbered(calm=4, loud=4), calm="a still").data_hash


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: corpus(numbered(calm=3)),
            "mine.csv has fewer than two styles: calm (3).\n  A style is told apart from others.",
        ),
        (
            lambda: corpus(numbered(calm=3, loud=1)),
            "mine.csv has a style of fewer than 2 sentences: calm (3), loud (1).\n  Add sentences to it.",
        ),
        (
            lambda: corpus(numbered(calm=3, loud=4), parallel=True),
            "mine.csv is parallel, but its styles differ in length: calm (3), loud (4).\n  Align them.",
        ),
        (
            lambda: corpus({"calm": ("One.", "Two."), "loud": ("Three.", "one. ")}),
            "mine.csv: 'one.' is in calm and in loud.\n"
            "  A sentence of two styles tells them apart in neither: keep it in one, or delete both.",
        ),
        (
            lambda: corpus({"calm": ("One.", "\t"), "loud": ("Three.", "Four.")}),
            "mine.csv: a text of the style calm is empty.\n  Leave it out.",
        ),
        (
            lambda: corpus(numbered(calm=2, loud=2), loud="loud"),
            "mine.csv describes loud by no article and adjective.\n  As in: an angry",
        ),
        (
            lambda: corpus(numbered(calm=3, loud=4)).split(),
            "cannot split the corpus mine: calm has 3.\n  Give at least 4 sentences a style.",
        ),
    ],
)
def test_unusable_corpora_are_refused(make, expected: str):
    with pytest.raises(DataError) as caught:
        make()
    assert str(caught.value) == expected


def test_unusable_sizes_are_refused():
    whole = corpus(numbered(calm=4, loud=4))
    with pytest.raises(ConfigError, match=r"^held_out must be above 0 and below 1, got 1\.0"):
        whole.split(held_out=1.0)
    with pytest.raises(ConfigError) as caught:
        whole.take(1)
    assert str(caught.value) == "cannot take 1 sentences a style from mine.\n  Expected at least 2."


def test_a_trait_of_aligned_styles_never_sets_a_sentence_against_another_row():
    found = corpus(numbered(calm=6, loud=6, odd=6), parallel=True)
    trait = style_trait(found, "calm", questions=[], n_exemplars=6)
    assert [e.pos.split()[-1] for e in trait.exemplars] == [e.neg.split()[-1] for e in trait.exemplars]
    assert [e.neg.split()[0] for e in trait.exemplars] == 3 * ["loud", "odd"]
