"""The neutral questions: short, different, and of no set on which anything is measured."""

from persona_interp.data.neutral_prompts import neutral_prompts
from persona_interp.data.styles import factual_prompts, subjective_prompts
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.judges.factual import load_factual_questions


def test_questions_are_sixteen_short_and_different():
    prompts = neutral_prompts()
    assert len(prompts) == 16 and len({prompt[:12] for prompt in prompts}) >= 15
    assert all(prompt.endswith("?") and 5 <= len(prompt.split()) <= 16 for prompt in prompts)
    assert not any(word in prompt.lower().split() for prompt in prompts for word in ("you", "your", "feel", "think"))


def test_nothing_is_measured_on_them():
    traits = [load_trait(name) for name in list_traits()]
    known = load_factual_questions()
    others = {*factual_prompts(), *subjective_prompts(), *known.unanswerable, *known.known}
    others |= {question for trait in traits for question in (*trait.questions, *trait.eval_questions)}
    others |= {exemplar.question for trait in traits for exemplar in trait.exemplars}
    assert not set(neutral_prompts()) & others
