"""The style corpora and prompts written here, and styles as traits."""

import json
from statistics import median

import pytest

from persona_interp.data.style_corpus import same_text
from persona_interp.data.styles import factual_prompts, list_styles, load_styles, style_trait, subjective_prompts
from persona_interp.data.traits import trait_to_dict
from persona_interp.errors import DataError

STYLES = {
    "emotion": ("anger", "disgust", "fear", "joy", "sadness", "surprise"),
    "formality": ("formal", "casual"),
    "sentiment": ("positive", "negative"),
    "shakespeare": ("shakespeare", "modern"),
}


def test_packaged_corpora_are_known():
    assert list_styles() == sorted(STYLES)
    for name, styles in STYLES.items():
        assert load_styles(name).styles == styles
        assert load_styles(name).source == "written for this project"
    assert [name for name in STYLES if load_styles(name).parallel] == ["formality", "shakespeare"]


@pytest.mark.parametrize("name", STYLES)
def test_packaged_classes_are_large_distinct_and_of_like_length(name: str):
    sentences = load_styles(name).sentences
    everything = [same_text(text) for texts in sentences.values() for text in texts]
    assert min(len(texts) for texts in sentences.values()) >= 64
    assert len(set(everything)) == len(everything)
    assert all(5 <= len(text.split()) <= 25 for text in everything)
    medians = [median(len(text.split()) for text in texts) for texts in sentences.values()]
    assert max(medians) <= 1.25 * min(medians)


@pytest.mark.parametrize("name", STYLES)
def test_packaged_classes_are_described_and_instructed(name: str):
    found = load_styles(name)
    for style in found.styles:
        assert found.descriptions[style].split()[0] in ("a", "an")
        pairs = found.instructions[style]
        assert len(pairs) == 5
        assert len({pair.pos for pair in pairs} | {pair.neg for pair in pairs}) == 10
        assert all(0.6 < len(pair.pos) / len(pair.neg) < 1.7 for pair in pairs)


@pytest.mark.parametrize("name", STYLES)
def test_packaged_sentences_of_one_row_speak_of_the_same_matter_or_say_the_same(name: str):
    assert len({len(texts) for texts in load_styles(name).sentences.values()}) == 1


def test_no_punctuation_mark_gives_an_emotion_away():
    sentences = load_styles("emotion").sentences
    for mark in "!?":
        assert max(sum(mark in text for text in texts) / len(texts) for texts in sentences.values()) < 0.2


def test_evaluation_prompts_are_many_short_and_different():
    prompts = factual_prompts() + subjective_prompts()
    assert len(factual_prompts()) >= 52
    assert len(subjective_prompts()) >= 52
    assert len({same_text(prompt) for prompt in prompts}) == len(prompts)
    assert all(4 <= len(prompt.split()) <= 20 for prompt in prompts)


@pytest.mark.parametrize("name", STYLES)
def test_sentences_of_one_row_stay_on_one_side(name: str):
    whole = load_styles(name)
    rows = list(zip(*whole.sentences.values(), strict=True))
    for part in (*whole.split(seed=3), whole.take(20, seed=4)):
        assert set(zip(*part.sentences.values(), strict=True)) < set(rows)


def test_a_trait_of_two_styles_sets_one_against_the_other():
    found = load_styles("shakespeare")
    trait = style_trait(found, "shakespeare", questions=["How are you?"], n_exemplars=5)
    rows = set(zip(found.sentences["shakespeare"], found.sentences["modern"], strict=True))
    assert (trait.name, trait.positive, trait.negative) == ("shakespeare", "Shakespearean", "modern English")
    assert {(e.pos, e.neg) for e in trait.exemplars} < rows
    assert len(trait.exemplars) == 5
    assert {e.question for e in trait.exemplars} == {""}
    assert (trait.questions, trait.eval_questions) == ((), ("How are you?",))
    assert trait.instructions == found.instructions["shakespeare"]
    assert trait.description == "The answer is written in a Shakespearean manner."
    assert "written in a Shakespearean manner" in trait.eval_prompt.format(question="Why?", answer="Marry, so.")
    json.dumps(trait_to_dict(trait))


def test_a_trait_of_many_styles_sets_one_against_all_others_in_turn():
    found = load_styles("emotion")
    trait = style_trait(found, "anger", questions=[])
    against = [style for e in trait.exemplars for style, texts in found.sentences.items() if e.neg in texts]
    assert against == 2 * ["disgust", "fear", "joy", "sadness", "surprise"] + ["disgust", "fear"]
    assert all(e.pos in found.sentences["anger"] for e in trait.exemplars)
    assert (trait.positive, trait.negative) == ("angry", "neutral")
    assert trait.system_prompts("positive")[0].startswith("You are an angry assistant. ")


def test_a_trait_of_an_unknown_style_is_refused():
    with pytest.raises(DataError) as caught:
        style_trait(load_styles("sentiment"), "joy", questions=[])
    assert str(caught.value) == "the corpus sentiment has no style 'joy'.\n  Styles: positive, negative."
