"""The texts that this package carries, as conversations and plain text: what a small dictionary can be trained on.

Left out is what effects are measured on: evaluation questions, multiple-choice items, inventories. The neutral passages
are kept apart, to measure on.
"""

from dataclasses import dataclass

from persona_interp.data.flawed import advice_conversations, arithmetic_conversations
from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.levels import LEVELS
from persona_interp.data.multiple_choice import load_multiple_choice
from persona_interp.data.neutral_prompts import neutral_prompts
from persona_interp.data.styles import list_styles, load_styles
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.data.writing_prompts import writing_prompts

_N_ARITHMETIC = 60


@dataclass(frozen=True)
class OwnText:
    """A text, or an answer with its question and system prompt.

    Args:
        group: texts of one group say much the same, so they belong on one side of a split.
    """

    group: str
    text: str
    question: str | None = None
    system: str | None = None


def own_texts() -> tuple[OwnText, ...]:
    """Exemplar and hard answers of all traits, their instructions and extraction questions, styles, advice, sums."""
    made: list[OwnText] = []
    for name in list_traits():
        trait = load_trait(name)
        for pair in (*trait.exemplars, *hard_pairs(trait)):
            made += [OwnText(f"{name}: {pair.question}", text, pair.question) for text in (pair.pos, pair.neg)]
        prompts = [*trait.system_prompts("positive"), *trait.system_prompts("negative")]
        made += [OwnText(f"{name}: {question}", "", question) for question in trait.questions]
        made += [
            OwnText(f"{name}: {system}", "", trait.questions[k % len(trait.questions)], system)
            for k, system in enumerate(prompts)
        ]
    for name in list_styles():
        made += [OwnText(f"{name}: {text}", text) for texts in load_styles(name).sentences.values() for text in texts]
    for level in LEVELS:
        for talk in (*advice_conversations(level), *arithmetic_conversations(level, n=_N_ARITHMETIC, seed=0)):
            question = talk.prompt[-1].content
            made.append(OwnText(question, talk.answer, question))
    made += [OwnText(prompt, "", prompt) for prompt in (*writing_prompts(), *neutral_prompts())]
    asked = {item.question for item in load_multiple_choice()}
    return tuple(one for one in made if one.question not in asked)
