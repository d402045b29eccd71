"""Graded system prompts and many-shot contexts, and how they are rendered."""

import pandas as pd
import pytest

from persona_interp.data.traits import list_traits, load_trait
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.models.tokens import render_chat
from persona_interp.rollouts.contexts import condition_turns, graded_system_prompts, many_shot_contexts
from tests.contract.tiny import make_tokenizer
from tests.small import TRAIT


@pytest.mark.parametrize("name", list_traits())
def test_every_trait_has_eight_graded_prompts(name: str) -> None:
    trait = load_trait(name)
    made = graded_system_prompts(trait)
    texts = [condition.contexts[0][0].content for condition in made]
    assert len(set(texts)) == len(made) == 8 and made == graded_system_prompts(trait)
    levels = [condition.level for condition in made]
    assert levels == sorted(levels) and levels == [-level for level in reversed(levels)] and levels[-1] == 1
    assert trait.instructions[-1].neg in texts[0] and trait.instructions[-1].pos in texts[-1]
    assert not any(pair.pos in text for pair in trait.instructions[:-1] for text in texts)
    assert all(trait.positive in text or trait.negative in text for text in texts)


def answers(n: int) -> pd.DataFrame:
    rows = [{"question": f"q{i}?", "answer": f"a{i}.{k}"} for i in range(n) for k in range(2)]
    return pd.DataFrame(rows)


def test_shots_are_nested_drawn_once_and_never_the_evaluated_question() -> None:
    asked = ["q0?", "new?"]
    made = many_shot_contexts(answers(9), questions=asked, counts=(0, 3, 8), n_draws=3, seed=1)
    assert [condition.name for condition in made] == ["0 shots", "3 shots", "8 shots"]
    assert made == many_shot_contexts(answers(9), questions=asked, counts=(0, 3, 8), n_draws=3, seed=1)
    assert made != many_shot_contexts(answers(9), questions=asked, counts=(0, 3, 8), n_draws=3, seed=2)
    for few, many in zip(made[1].contexts, made[2].contexts, strict=True):
        assert many[-len(few) :] == few, "the larger context ends as the smaller one"
        shown = [turn.content for turn in many if turn.role == "user"]
        assert len(set(shown)) == 8 and not set(shown) & set(asked)
        for user, assistant in zip(many[::2], many[1::2], strict=True):
            assert assistant.content.startswith(user.content.replace("q", "a")[:-1] + ".")
    assert len(set(made[2].contexts)) == 3
    turns = condition_turns(made[1], [*asked, "x?", "y?"])
    assert [t[-1].content for t in turns] == [*asked, "x?", "y?"]
    assert turns[0][:-1] == turns[3][:-1] == list(made[1].contexts[0])


def test_too_few_answers_for_the_shots_are_refused() -> None:
    with pytest.raises(EmptySelectionError) as caught:
        many_shot_contexts(answers(9), questions=["q0?"], counts=(0, 9))
    assert str(caught.value).startswith("9 shots need as many answered questions that are not evaluated, got 8.")
    with pytest.raises(ConfigError, match=r"counts\[0\] must be 0 to 1000000, got -1"):
        many_shot_contexts(answers(9), questions=[], counts=(-1,))


def test_a_base_model_gets_plain_dialogue() -> None:
    turns = condition_turns(many_shot_contexts(answers(2), questions=[], counts=(1,), n_draws=1)[0], ["Why?"])[0]
    text = render_chat(make_tokenizer(), turns)
    assert text == f"Question: {turns[0].content}\nAnswer: {turns[1].content}\n\nQuestion: Why?\nAnswer:"


TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_a_template_without_a_system_turn_gets_it_before_the_users_words() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    turns = condition_turns(graded_system_prompts(TRAIT)[6], ["Why?"])[0]
    assert render_chat(tokenizer, turns) == ("<user>You are a loud assistant. Yell.\n\nWhy?</><assistant>")
    with pytest.raises(ConfigError, match=r"the chat template refuses this conversation \(system\): no system"):
        render_chat(tokenizer, turns[:1])
    with pytest.raises(ConfigError, match="without a turn"):
        render_chat(tokenizer, [])
