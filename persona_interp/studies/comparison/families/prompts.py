"""Families without a coefficient: the trait's system prompt, and a mild one."""

from persona_interp.data.traits import Trait
from persona_interp.studies.comparison.families.family import PROMPTS, Family, Missing

SYSTEM, MILD = "system prompt", "mild prompt"


def prompt_families(trait: Trait) -> tuple[list[Family], list[Missing]]:
    """The first of the trait's positive system prompts, and a sentence that asks for a little of it."""
    mild = Family(MILD, PROMPTS, "prompt", system=f"Answer as usual, but be slightly {trait.positive}.")
    prompts = trait.system_prompts("positive")
    if not prompts:
        return [mild], [Missing(SYSTEM, f"{trait.name} has no system prompts")]
    return [Family(SYSTEM, PROMPTS, "prompt", system=prompts[0]), mild], []
